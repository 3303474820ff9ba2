"""The sections `loss` and `stages.*.weights`, and which losses a network can be trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from integral_pose.config.section import Section
from integral_pose.config.value_types import NonNegative, NonNegativeFloat, PositiveFloat

if TYPE_CHECKING:
    from integral_pose.config.schema import ModelConfig

UNCERTAINTY_OF = {"beta_nll": "scale", "rle": "flow"}  # loss.joints -> the model.uncertainty that it trains


class HeatmapConfig(Section):
    """The heat map loss: cross-entropy against a Gaussian cube, or divergence of the marginals; see docs/losses.md."""

    name: Literal["cross_entropy", "jensen_shannon"] = "cross_entropy"
    target: Literal["gaussian", "one_hot"] = "gaussian"
    peak: Literal["equation", "prose"] = "equation"  # 1 / sqrt(2 pi), or 1
    radius: NonNegative = 5  # the cube has 2 * radius + 1 voxels a side
    reduction: Literal["sum", "mean"] = "sum"  # over the voxels; then the mean over joints and batch
    sigma_cells: PositiveFloat = 1.0  # of the Gaussian (jensen_shannon)

    @model_validator(mode="after")
    def _nothing_ignored(self) -> HeatmapConfig:
        others = ["sigma_cells"] if self.name == "cross_entropy" else ["target", "peak", "radius", "reduction"]
        self.refuse_changed(others, f"'{self.name}'")
        return self


class LossConfig(Section):
    """What the weighted terms of the stages mean."""

    # of the coordinates; the last two with model.uncertainty; see docs/losses.md
    joints: Literal["l1", "smooth_l1", "l2", "euclidean", "beta_nll", "rle"] = "l1"
    sampled: bool = False  # of a place drawn from the heat map instead of its expectation (head 'volumetric')
    heatmap: HeatmapConfig = HeatmapConfig()
    variance_sigma_cells: PositiveFloat = 1.0  # how broad heat maps are to be (stages.*.weights.variance)

    @model_validator(mode="after")
    def _nothing_ignored(self) -> LossConfig:
        if self.sampled and self.joints in UNCERTAINTY_OF:
            raise ValueError(
                f"sampled is true, but joints '{self.joints}' is of the expectation, whose error it learns; set it to "
                "false or joints to l1 or euclidean"
            )
        return self


class WeightsConfig(Section):
    """Weights of the loss terms; a term of weight 0 is not computed."""

    integral: NonNegativeFloat = 1.0
    heatmap: NonNegativeFloat = 0.0
    variance: NonNegativeFloat = 0.0  # of heat maps, against loss.variance_sigma_cells

    @model_validator(mode="after")
    def _something_to_learn(self) -> WeightsConfig:
        if self.integral == self.heatmap == 0:
            raise ValueError("integral and heatmap are 0, so there is nothing to learn; set one")
        return self


def why_losses_do_not_fit(model: ModelConfig, loss: LossConfig, weights: Sequence[WeightsConfig]) -> str | None:
    """What cannot be trained, and what to change; `weights` are those of the stages. None: all is well."""
    for i, stage in enumerate(weights):
        if stage.heatmap and (reason := _why_no_heatmap_loss(model, loss)):
            return f"stages.{i}.weights.heatmap is {stage.heatmap:g}, but {reason}"
        if stage.variance and model.head == "regression":
            return (
                f"stages.{i}.weights.variance is {stage.variance:g}, but model.head 'regression' makes no heat maps; "
                "set it to 0 or take model.head 'volumetric'"
            )
    if loss.sampled and (model.head != "volumetric" or model.decoder != "soft_argmax"):
        return (
            f"loss.sampled is true, which draws from a volume that is decoded by soft_argmax, not model.head "
            f"'{model.head}' with model.decoder '{model.decoder}'; set it to false"
        )
    if loss.variance_sigma_cells != 1.0 and not any(stage.variance for stage in weights):
        return (
            f"loss.variance_sigma_cells is {loss.variance_sigma_cells:g}, which no stage uses; leave it at 1.0 or set "
            "stages.*.weights.variance"
        )
    return _why_uncertainty_does_not_fit(model, loss, weights)


def _why_uncertainty_does_not_fit(model: ModelConfig, loss: LossConfig, weights: Sequence[WeightsConfig]) -> str | None:
    wanted = UNCERTAINTY_OF.get(loss.joints, "none")
    if model.uncertainty != wanted:
        return (
            f"model.uncertainty is '{model.uncertainty}', but loss.joints '{loss.joints}' goes with '{wanted}'; "
            "beta_nll trains scale, rle trains flow, and the others neither"
        )
    off = next((i for i, stage in enumerate(weights) if wanted != "none" and not stage.integral), None)
    if off is not None:
        return f"stages.{off}.weights.integral is 0, which would leave model.uncertainty '{wanted}' untrained; raise it"
    return None


def _why_no_heatmap_loss(model: ModelConfig, loss: LossConfig) -> str | None:
    if model.head == "regression":
        return "model.head 'regression' makes no heat maps; set it to 0 or take model.head 'volumetric'"
    if model.head != "volumetric" and loss.heatmap.name == "cross_entropy":
        return (
            f"loss.heatmap.name 'cross_entropy' is on a volume, which model.head '{model.head}' does not make; set "
            "loss.heatmap.name to jensen_shannon or the weight to 0"
        )
    return None
