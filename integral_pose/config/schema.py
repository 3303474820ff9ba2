"""The schema of an experiment: every key, its type and its range. Only `build_*` and `experiment` read it.

A YAML file is complete in itself; `key.sub=value` on the command line overrides it. See `configs/`.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"holds a NUL, which no path can: {text[:200]!r}")
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]


def _in_order(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"expected the lower bound first; take [{bounds[1]:g}, {bounds[0]:g}]")
    return bounds


_Two = Field(min_length=2, max_length=2)
Range = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], _Two, AfterValidator(_in_order)]
PositiveRange = Annotated[list[PositiveFloat], _Two, AfterValidator(_in_order)]
Share = Annotated[float, Field(ge=0, le=1)]
HueRange = Annotated[list[Annotated[int, Field(ge=-255, le=255)]], _Two, AfterValidator(_in_order)]


def _root_depth(value: Any) -> Any:
    if value in ("labels", "bone_length"):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError("expected labels, bone_length or a depth in mm greater than 0")


def _number_of_crops(number: int) -> int:
    if number not in (1, 5, 7):
        raise ValueError("expected 1, 5 or 7")
    return number


Crops = Annotated[int, AfterValidator(_number_of_crops)]
RootDepth = Annotated[Literal["labels", "bone_length"] | float, PlainValidator(_root_depth)]
SECONDS_OF = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _duration(text: str) -> str:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?[hms]", text, re.ASCII) or float(text[:-1]) == 0:
        raise ValueError(f"expected a number and h, m or s, for example 23h, found {text[:200]!r}")
    return text


Duration = Annotated[str, AfterValidator(_duration)]

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def _backbone(name: str) -> str:
    if name not in RESNETS and not re.fullmatch(r"timm/[\w.]{1,100}", name, re.ASCII):
        raise ValueError(f"expected {', '.join(map(repr, RESNETS))} or timm/NAME")
    return name


Backbone = Annotated[str, AfterValidator(_backbone)]
BACKBONE_STRIDE = 32
BACKEND_OF = {"rotation": "device", "flip": "device", "erase": "device"}  # augmenters that only one backend has
HEAD_INIT_STD = 0.02


class Section(BaseModel):
    """Strict: an unknown key, a text for a number or a 1 for `true` is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class AugmentationConfig(Section):
    """Random changes to the raw training image; each range is drawn from uniformly, per image."""

    backend: Literal["none", "imgaug", "device"] = "imgaug"  # device: whole batches, where the network is
    translate_percent: Range = [-0.05, 0.05]  # of the image side, each axis by itself
    scale: PositiveRange = [0.75, 1.25]  # x and y by themselves
    hue_saturation: HueRange = [-60, 60]  # added, 0..255 scale
    contrast: Range = [0.7, 1.3]  # factor around grey 128
    brightness: PositiveRange = [0.5, 1.5]  # factor, each colour channel by itself
    rotation: Range = [0.0, 0.0]  # degrees, clockwise in the picture; 3D labels turn along (backend device)
    flip: Share = 0.0  # probability of mirroring picture and labels (backend device)
    erase: Share = 0.0  # probability of covering a rectangle (backend device)
    scale_depth: bool = False  # image volume: the labels' depth is scaled with the picture

    @model_validator(mode="after")
    def _nothing_ignored(self) -> AugmentationConfig:
        for name, backend in BACKEND_OF.items():
            value = getattr(self, name)
            if self.backend != backend and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is {value}, which backend '{self.backend}' does not do; set backend to {backend}"
                )
        return self


class DataConfig(Section):
    """Where the images and labels are, and how they become batches."""

    root: Text
    val_subjects: list[str] = []  # held out of the training file to choose the best epoch by
    val_limit: Positive | None = None  # score at most so many of them, evenly spaced
    epoch_images: Positive | None = None  # images that count as one epoch; null: every image once
    image_size: Annotated[list[Positive], Field(min_length=2, max_length=2)] = [256, 256]  # height, width
    stored_size: Positive = 256  # side in px of the images on disk
    joint_order: Literal["auto", "official", "c2f"] = "auto"  # of the files on disk; auto reads it off the poses
    workers: NonNegative = 4
    worker_timeout_s: Positive = 300  # a worker that gives no batch for so long counts as hung
    on_bad_image: Literal["error", "skip"] = "error"  # skip: training takes the next image instead, and says so
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _divisible(self) -> DataConfig:
        for size in self.image_size:
            if size % BACKBONE_STRIDE:
                below = size // BACKBONE_STRIDE * BACKBONE_STRIDE
                near = " or ".join(str(near) for near in (below, below + BACKBONE_STRIDE) if near)
                raise ValueError(
                    f"image_size {self.image_size} is not divisible by the backbone's stride {BACKBONE_STRIDE}; "
                    f"take {near} for {size}"
                )
        return self


class ModelConfig(Section):
    """The network. The volume's height and width are image_size / 32 * 2^(number of deconvolutions).

    The heads 'planes' and 'axes' say sums of that volume in its place; see docs/heads.md.
    """

    backbone: Backbone = "resnet50"  # or timm/NAME: a model of timm that gives feature maps
    backbone_stride: Literal[16, 32] = 32  # of the features: 16 leaves the last stage out
    pretrained: Text | None = None  # 'imagenet', or the path of a state dict of the same torchvision or timm model
    init: Text | None = None  # start from the weights of a run folder, checkpoint or model file: docs/models.md
    head: Literal["volumetric", "planes", "axes", "regression"] = "volumetric"
    decoder: Literal["soft_argmax", "debiased"] = "soft_argmax"  # debiased: background taken out (head 'volumetric')
    num_joints: Positive = 17
    deconv_channels: list[Positive] = [256, 256, 256]  # one deconvolution each
    volume_depth: Annotated[int, Field(ge=2)] = 64
    cells_per_feature: Positive = 1  # cells along x and y for each column and row of the features (head 'axes')
    head_init_std: PositiveFloat = HEAD_INIT_STD  # of the last convolution's weights; published code takes 0.001
    volume: Literal["metric", "image"] = "metric"  # image: x and y are the crop's pixels, z is depth from the root
    extent_mm: PositiveFloat = 2200.0  # side of the metric volume
    depth_extent_mm: PositiveFloat = 2000.0  # depth of the image volume

    @model_validator(mode="after")
    def _nothing_ignored(self) -> ModelConfig:
        if self.pretrained and self.init:
            raise ValueError(f"pretrained is {self.pretrained} and init is {self.init}; set one of them to null")
        if self.decoder == "debiased" and self.head != "volumetric":
            raise ValueError(
                f"decoder is 'debiased', which takes the background out of a volume, but head '{self.head}' has none; "
                "set decoder to soft_argmax or head to volumetric"
            )
        if self.head_init_std != HEAD_INIT_STD and self.head not in ("volumetric", "planes"):
            raise ValueError(
                f"head_init_std is {self.head_init_std:g}, which head '{self.head}' does not use; leave it at "
                f"{HEAD_INIT_STD:g}"
            )
        if self.cells_per_feature != 1 and self.head != "axes":
            raise ValueError(
                f"cells_per_feature is {self.cells_per_feature}, which only head 'axes' has; with head '{self.head}' "
                "set it to 1"
            )
        return self


class HeatmapConfig(Section):
    """The heat map loss: binary cross-entropy against a Gaussian cube round the true voxel, or a divergence.

    The divergence is that of Jensen and Shannon between the marginals of the heat map and of a Gaussian.
    """

    name: Literal["cross_entropy", "jensen_shannon"] = "cross_entropy"
    target: Literal["gaussian", "one_hot"] = "gaussian"
    peak: Literal["equation", "prose"] = "equation"  # 1 / sqrt(2 pi), or 1
    radius: NonNegative = 5  # the cube has 2 * radius + 1 voxels a side
    reduction: Literal["sum", "mean"] = "sum"  # over the voxels; then the mean over joints and batch
    sigma_cells: PositiveFloat = 1.0  # of the Gaussian (jensen_shannon)

    @model_validator(mode="after")
    def _nothing_ignored(self) -> HeatmapConfig:
        others = ("sigma_cells",) if self.name == "cross_entropy" else ("target", "peak", "radius", "reduction")
        for key in others:
            value, default = getattr(self, key), type(self).model_fields[key].default
            if value != default:
                raise ValueError(f"{key} is {value!r}, which '{self.name}' does not use; leave it at {default!r}")
        return self


class LossConfig(Section):
    """What the weighted terms of the stages mean."""

    joints: Literal["l1", "smooth_l1", "l2", "euclidean"] = "l1"  # of the coordinates; see docs/losses.md
    heatmap: HeatmapConfig = HeatmapConfig()


class WeightsConfig(Section):
    """Weights of the loss terms; a term of weight 0 is not computed."""

    integral: NonNegativeFloat = 1.0
    heatmap: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _something_to_learn(self) -> WeightsConfig:
        if self.integral == self.heatmap == 0:
            raise ValueError("both weights are 0, so there is nothing to learn; set at least one")
        return self


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


class TrainerConfig(Section):
    """How the steps are made and what is written when."""

    batch_size: Positive = 32  # over all processes and accumulation steps together
    accumulation_steps: Positive = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"  # auto: bf16 where the hardware multiplies in it
    channels_last: bool = True
    compile: Literal["auto", "on", "off"] = "auto"  # the training step; auto: on CUDA
    sync_batch_norm: bool = False  # statistics over all processes (CUDA only)
    compress_gradients: bool = False  # processes exchange gradients as bf16, half the bytes
    clip_gradient: PositiveFloat | None = None  # largest norm of the gradient
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0: no moving average of the weights
    max_steps: Positive | None = None  # ends a run early
    checkpoint_every: Positive | None = None  # steps; null: at the end of every epoch
    keep_checkpoints: Positive = 2  # the newest ones, each verified: last.pt, previous.pt, previous2.pt, ...
    log_every: Positive = 50  # steps
    pictures_every: Positive = 1  # epochs
    max_time: Duration | None = None  # then save and leave with status 75; 23h or 90m
    process_timeout_s: PositiveFloat = 600.0  # a process that is silent for so long counts as hung

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        return None if self.max_time is None else float(self.max_time[:-1]) * SECONDS_OF[self.max_time[-1]]


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

    run_dir: Text
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    stages: Annotated[list[StageConfig], Field(min_length=1)]
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        for i, stage in enumerate(self.stages):
            self._check_heatmap_weight(f"stages.{i}.weights.heatmap is {stage.weights.heatmap:g}", stage.weights)
        if self.model.head == "regression" and self.model.volume == "image":
            raise ValueError("model.volume is 'image', but model.head 'regression' predicts mm; set it to metric")
        if self.evaluation.confidence and self.model.head != "volumetric":
            raise ValueError(
                f"evaluation.confidence is read off volumetric heat maps, which model.head '{self.model.head}' does "
                "not make; set it to false"
            )
        if self.evaluation.root_depth != "labels" and self.model.volume != "image":
            raise ValueError(
                f"evaluation.root_depth is {self.evaluation.root_depth}, which is for model.volume 'image'; with "
                "'metric' the network says mm and no depth is asked for, so leave it at labels"
            )
        if self.data.augmentation.scale_depth and self.model.volume != "image":
            raise ValueError(
                "data.augmentation.scale_depth is for model.volume 'image'; with the metric volume a scaled picture "
                "is the same person, so set it to false"
            )
        if self.data.epoch_images is not None and self.data.epoch_images < self.trainer.batch_size:
            raise ValueError(
                f"data.epoch_images {self.data.epoch_images} is less than trainer.batch_size "
                f"{self.trainer.batch_size}, so an epoch would have no step; set it to that or more"
            )
        if self.trainer.batch_size % self.trainer.accumulation_steps:
            raise ValueError(
                f"trainer.batch_size {self.trainer.batch_size} is not divisible by "
                f"trainer.accumulation_steps {self.trainer.accumulation_steps}"
            )
        return self

    def _check_heatmap_weight(self, found: str, weights: WeightsConfig) -> None:
        head = self.model.head
        if weights.heatmap == 0 or head == "volumetric":
            return
        if head == "regression":
            raise ValueError(
                f"{found}, but model.head 'regression' makes no heat maps; set it to 0 or take model.head 'volumetric'"
            )
        if self.loss.heatmap.name == "cross_entropy":
            raise ValueError(
                f"{found}, but loss.heatmap.name 'cross_entropy' is on a volume, which model.head '{head}' does not "
                "make; set loss.heatmap.name to jensen_shannon or the weight to 0"
            )

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the heat maps, or of the volume that they are sums of."""
        height, width = self.data.image_size
        growth = 2 ** len(self.model.deconv_channels) * self.model.cells_per_feature
        return (
            self.model.volume_depth,
            height // self.model.backbone_stride * growth,
            width // self.model.backbone_stride * growth,
        )
