"""The schema of an experiment: every key, its type and its range. Only `build_*` and `experiment` read it.

A YAML file states what differs from these defaults or from its base; see docs/experiments.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from integral_pose.config.augmentation_section import AugmentationConfig
from integral_pose.config.loss_section import LossConfig, WeightsConfig, why_losses_do_not_fit
from integral_pose.config.section import Section
from integral_pose.config.sources_section import SourceConfig, why_sources_do_not_fit
from integral_pose.config.value_types import (
    AxisTermsName,
    Backbone,
    Channels,
    Crops,
    Duration,
    FilePath,
    ImageSize,
    Interval,
    NonNegative,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    RootDepth,
    seconds,
)


class DataConfig(Section):
    """Where the images and labels are, and how they become batches."""

    root: FilePath
    val_subjects: list[str] = []  # held out of the training file to choose the best epoch by
    val_limit: Positive | None = None  # score at most so many of them, evenly spaced
    epoch_images: Positive | None = None  # images that count as one epoch; null: every image once
    image_size: ImageSize = [256, 256]  # height, width
    stored_size: Positive = 256  # side in px of the images on disk
    joint_order: Literal["auto", "official", "c2f"] = "auto"  # of the files on disk; auto reads it off the poses
    label_axes: Literal["auto", "camera"] = "auto"  # auto: poses in other axes than their pictures' are refused
    workers: NonNegative = 4
    worker_timeout_s: Positive = 300  # a worker that gives no batch for so long counts as hung
    on_bad_image: Literal["error", "skip"] = "error"  # skip: training takes the next image instead, and says so
    augmentation: AugmentationConfig = AugmentationConfig()
    # every batch holds images of each; the first is root, whose passes are the epochs; []: root alone
    sources: list[SourceConfig] = []


class ModelConfig(Section):
    """The network. The volume's height and width are image_size / 32 * 2^(number of deconvolutions).

    The heads 'planes' and 'axes' predict sums of that volume instead; see docs/heads.md.
    """

    backbone: Backbone = "resnet50"  # or timm/NAME: a model of timm that gives feature maps
    backbone_stride: Literal[16, 32] = 32  # of the features: 16 leaves the last stage out
    pretrained: FilePath | None = None  # 'imagenet', or the path of a state dict of the same torchvision or timm model
    # not trained; early: up to features of stride 8, all_but_last: backbone and deconvolutions (docs/fine_tuning.md)
    freeze: Literal["none", "early", "backbone", "all_but_last"] = "none"
    init: FilePath | None = None  # weights of a run folder, checkpoint or model file to start from: docs/models.md
    head: Literal["volumetric", "planes", "axes", "regression"] = "volumetric"
    decoder: Literal["soft_argmax", "debiased"] = "soft_argmax"  # debiased: background taken out (head 'volumetric')
    num_joints: Annotated[int, Field(gt=0, le=256)] = 17  # where it is not stated, as many as the labels in data.root
    deconv_channels: Channels = [256, 256, 256]  # one deconvolution each
    volume_depth: Annotated[int, Field(ge=2, le=4096)] = 64
    cells_per_feature: Annotated[int, Field(gt=0, le=64)] = (
        1  # cells along x and y for each column and row of the features (head 'axes')
    )
    uncertainty: Literal["none", "scale", "flow"] = "none"  # of each joint: `loss.joints` beta_nll, rle; docs/losses.md
    axis_terms: AxisTermsName = "none"  # logits along x, y, z from the pooled features, added to the heat maps
    head_prior: Literal["training", "none"] | None = None  # where heat maps start; null: training with axis_terms
    head_init_std: PositiveFloat = 0.02  # of the last convolution's weights; published code takes 0.001
    volume: Literal["metric", "image"] = "metric"  # image: x and y are the crop's pixels, z is depth from the root
    extent_mm: PositiveFloat = 2200.0  # side of the metric volume
    depth_extent_mm: PositiveFloat = 2000.0  # depth of the image volume

    @model_validator(mode="after")
    def _nothing_ignored(self) -> ModelConfig:
        if self.pretrained and self.init:
            raise ValueError(f"pretrained is {self.pretrained} and init is {self.init}; set one of them to null")
        if self.freeze != "none" and not (self.pretrained or self.init):
            raise ValueError(f"freeze is '{self.freeze}' and the weights would stay random; set pretrained or init too")
        if self.freeze == "all_but_last" and not self.init:
            raise ValueError(
                "freeze is 'all_but_last' and the head's deconvolutions would stay random; set init to a trained "
                "network or freeze to backbone"
            )
        if self.decoder == "debiased" and self.head != "volumetric":
            raise ValueError(
                f"decoder is 'debiased', which takes the background out of a volume, but head '{self.head}' has none; "
                "set decoder to soft_argmax or head to volumetric"
            )
        if self.head not in ("volumetric", "planes"):
            self.refuse_changed(["head_init_std"], f"head '{self.head}'")
        if self.head != "axes":
            self.refuse_changed(["cells_per_feature"], f"head '{self.head}'")
        if self.head == "regression":
            self.refuse_changed(
                ["axis_terms", "head_prior"], "head 'regression', which starts at the mean pose anyway,"
            )
        if self.axis_terms == "gaussian" and not self.has_prior:
            raise ValueError(
                "axis_terms is 'gaussian', which starts at the mean of the training labels, and head_prior is 'none'; "
                "set head_prior to training or axis_terms to linear"
            )
        if self.uncertainty != "none" and self.volume != "metric":
            raise ValueError(
                f"uncertainty is '{self.uncertainty}', a distance in mm, but x and y of volume 'image' are pixels; set "
                "it to none or volume to metric"
            )
        return self

    @property
    def has_prior(self) -> bool:
        """Whether heat maps start round the mean of the training poses."""
        return self.head_prior == "training" or (self.head_prior is None and self.axis_terms != "none")


class StageConfig(Section):
    """A stretch of training with its own loss weights and learning-rate curve."""

    epochs: Positive
    weights: WeightsConfig = WeightsConfig()
    learning_rate: PositiveFloat
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    warmup_steps: NonNegative = 0  # linear from 0
    drop_epochs: list[Positive] = []  # schedule 'steps': the rate is multiplied by drop_factor after these
    drop_factor: PositiveFloat = 0.1
    final_fraction: NonNegativeFloat = 0.0  # schedule 'cosine': ends at this share of the rate

    @model_validator(mode="after")
    def _nothing_ignored(self) -> StageConfig:
        if bool(self.drop_epochs) != (self.schedule == "steps"):
            raise ValueError(
                f"drop_epochs is {self.drop_epochs} with schedule '{self.schedule}'; schedule 'steps' needs them and "
                "the others have none"
            )
        return self


class OptimizerConfig(Section):
    """The optimiser, shared by all stages."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: NonNegativeFloat = 0.0
    momentum: NonNegativeFloat = 0.9  # sgd
    backbone_factor: PositiveFloat = 1.0  # its learning rate is that of the stage times this
    head_factor: PositiveFloat = 1.0  # the same of all that is not the backbone


class TrainerConfig(Section):
    """How the steps are made and what is written when."""

    batch_size: Positive = 32  # over all processes and accumulation steps together
    accumulation_steps: Positive = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"  # auto: bf16 where the hardware multiplies in it
    channels_last: bool = True
    compile: Literal["auto", "on", "off"] = "auto"  # the training step; auto: on CUDA
    sync_batch_norm: bool = False  # statistics over all processes (CUDA only)
    deterministic: bool = False  # bit for bit the same on CUDA too, where torch can, and slower; docs/reliability.md
    compress_gradients: bool = False  # processes exchange gradients as bf16, half the bytes
    clip_gradient: PositiveFloat | None = None  # largest norm of the gradient
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0: no moving average of the weights
    max_steps: Positive | None = None  # ends a run early
    checkpoint_every: Interval = "15m"  # or steps; always before a score; time and null: after every epoch too
    keep_checkpoints: Positive = 2  # the newest ones, each verified: last.pt, previous.pt, previous2.pt, ...
    log_every: Positive = 50  # steps
    pictures_every: Positive = 1  # epochs
    max_time: Duration | None = None  # then save and leave with status 75; 23h or 90m
    process_timeout_s: PositiveFloat = 600.0  # a process that is silent for so long counts as hung

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        return None if self.max_time is None else seconds(self.max_time)

    @property
    def checkpoint_seconds(self) -> float | None:
        """`checkpoint_every` in seconds, where it is a duration."""
        return seconds(self.checkpoint_every) if isinstance(self.checkpoint_every, str) else None


class EvaluationConfig(Section):
    """How a model is scored."""

    batch_size: Positive = 64
    flip: bool = False  # average with the prediction of the mirrored image
    precision: Literal["auto", "float32", "bf16"] = "float32"
    every: Positive = 1  # epochs between scores on the held-out subjects
    weights: Literal["averaged", "raw"] = "averaged"  # tested of a last.pt where trainer.ema_decay kept an average
    crops: Crops = 1  # a picture, averaged; see docs/testing.md
    confidence: bool = False  # `test` writes how sure the heat maps are
    root_depth: RootDepth = "labels"  # image volume: how far away people are; labels, bone_length or a number of mm


class Config(Section):
    """A whole experiment."""

    run_dir: FilePath
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    stages: Annotated[list[StageConfig], Field(min_length=1)]
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _head_fits(self) -> Config:
        if reason := why_losses_do_not_fit(self.model, self.loss, [stage.weights for stage in self.stages]):
            raise ValueError(reason)
        if self.model.head == "regression" and self.model.volume == "image":
            raise ValueError("model.volume is 'image', but model.head 'regression' predicts mm; set it to metric")
        if self.evaluation.confidence and self.model.head != "volumetric":
            raise ValueError(
                f"evaluation.confidence is read off volumetric heat maps, which model.head '{self.model.head}' does "
                "not make; set it to false"
            )
        return self

    @model_validator(mode="after")
    def _frozen_has_no_rate(self) -> Config:
        if self.model.freeze in ("backbone", "all_but_last") and self.optimizer.backbone_factor != 1:
            raise ValueError(
                f"optimizer.backbone_factor is {self.optimizer.backbone_factor}, but model.freeze "
                f"'{self.model.freeze}' trains nothing of the backbone; leave it at 1.0"
            )
        return self

    @model_validator(mode="after")
    def _volume_fits(self) -> Config:
        if self.evaluation.root_depth != "labels" and self.model.volume != "image":
            raise ValueError(
                f"evaluation.root_depth is {self.evaluation.root_depth}, which is for model.volume 'image'; with "
                "'metric' the network predicts mm and needs no depth, so leave it at labels"
            )
        if self.data.augmentation.scale_depth and self.model.volume != "image":
            raise ValueError(
                "data.augmentation.scale_depth is for model.volume 'image'; with the metric volume a scaled picture "
                "is the same person, so set it to false"
            )
        return self

    @model_validator(mode="after")
    def _batch_fits(self) -> Config:
        images, batch_size, parts = self.data.epoch_images, self.trainer.batch_size, self.trainer.accumulation_steps
        if images is not None and images < batch_size:
            raise ValueError(
                f"data.epoch_images {images} is less than trainer.batch_size {batch_size}, so an epoch would have no "
                "step; set it to that or more"
            )
        if batch_size % parts:
            raise ValueError(f"trainer.batch_size {batch_size} is not divisible by trainer.accumulation_steps {parts}")
        if reason := why_sources_do_not_fit(self.data.sources, batch_size, parts):
            raise ValueError(reason)
        return self

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the heat maps, or of the volume that they are sums of."""
        height, width = self.data.image_size
        growth = 2 ** len(self.model.deconv_channels) * self.model.cells_per_feature
        stride = self.model.backbone_stride
        return self.model.volume_depth, height // stride * growth, width // stride * growth
