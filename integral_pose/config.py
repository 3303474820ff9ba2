"""The schema of an experiment: every key, its type and its range. Only `build_*` and `experiment` read it.

A YAML file is complete in itself; `key.sub=value` on the command line overrides it. See `configs/`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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

SECONDS_OF = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _duration(text: str) -> str:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?[hms]", text, re.ASCII) or float(text[:-1]) == 0:
        raise ValueError(f"expected a number and h, m or s, for example 23h, found {text[:200]!r}")
    return text


Duration = Annotated[str, AfterValidator(_duration)]

BACKBONE_STRIDE = 32


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
        if self.backend != "device" and (self.rotation != [0, 0] or self.flip or self.erase):
            name = "rotation" if self.rotation != [0, 0] else "flip" if self.flip else "erase"
            raise ValueError(
                f"{name} is {getattr(self, name)}, which backend '{self.backend}' does not do; set backend to device"
            )
        return self


class DataConfig(Section):
    """Where the images and labels are, and how they become batches."""

    root: Text
    val_subjects: list[str] = []  # held out of the training file to choose the best epoch by
    val_limit: Positive | None = None  # score at most so many of them, evenly spaced
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
    """The network. The volume's height and width are image_size / 32 * 2^(number of deconvolutions)."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    pretrained: Text | None = None  # 'imagenet', or the path of a torchvision ResNet state dict
    head: Literal["volumetric", "regression"] = "volumetric"
    num_joints: Positive = 17
    deconv_channels: list[Positive] = [256, 256, 256]  # one deconvolution each
    volume_depth: Annotated[int, Field(ge=2)] = 64
    volume: Literal["metric", "image"] = "metric"  # image: x and y are the crop's pixels, z is depth from the root
    extent_mm: PositiveFloat = 2200.0  # side of the metric volume
    depth_extent_mm: PositiveFloat = 2000.0  # depth of the image volume


class HeatmapConfig(Section):
    """The heat map loss: binary cross-entropy against a Gaussian cube round the true voxel."""

    target: Literal["gaussian", "one_hot"] = "gaussian"
    peak: Literal["equation", "prose"] = "equation"  # 1 / sqrt(2 pi), or 1
    radius: NonNegative = 5  # the cube has 2 * radius + 1 voxels a side
    reduction: Literal["sum", "mean"] = "sum"  # over the voxels; then the mean over joints and batch


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
        if self.model.head == "regression":
            for i, stage in enumerate(self.stages):
                if stage.weights.heatmap > 0:
                    raise ValueError(
                        f"stages.{i}.weights.heatmap is {stage.weights.heatmap:g}, but model.head 'regression' "
                        "makes no heat maps; set it to 0 or take model.head 'volumetric'"
                    )
        if self.model.head == "regression" and self.model.volume == "image":
            raise ValueError("model.volume is 'image', but model.head 'regression' predicts mm; set it to metric")
        if self.data.augmentation.scale_depth and self.model.volume != "image":
            raise ValueError(
                "data.augmentation.scale_depth is for model.volume 'image'; with the metric volume a scaled picture "
                "is the same person, so set it to false"
            )
        if self.trainer.batch_size % self.trainer.accumulation_steps:
            raise ValueError(
                f"trainer.batch_size {self.trainer.batch_size} is not divisible by "
                f"trainer.accumulation_steps {self.trainer.accumulation_steps}"
            )
        return self

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the heat maps."""
        height, width = self.data.image_size
        growth = 2 ** len(self.model.deconv_channels)
        return (
            self.model.volume_depth,
            height // BACKBONE_STRIDE * growth,
            width // BACKBONE_STRIDE * growth,
        )
