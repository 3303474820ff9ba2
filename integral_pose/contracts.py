"""What the rooms hand to each other. Each field's shape, frame and unit is stated here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32] | NDArray[np.float64]


class SampleKey(NamedTuple):
    """Which sample, in which pass over the data. All randomness of a sample follows from it and the seed."""

    epoch: int
    row: int


@dataclass
class PoseSample:
    """One crop and its labels."""

    index: int  # row of the data set
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    joints_camera_mm: NDArray[np.float32]  # (J, 3) root-relative; NaN where the set has no labels
    joints_crop_px: NDArray[np.float32]  # (J, 2) in pixels of this image; NaN where the set has no labels


@dataclass
class PoseBatch:
    """B samples as tensors."""

    indices: torch.Tensor  # (B,) int64, rows of the data set
    images: torch.Tensor  # (B, 3, H, W) uint8 RGB, channels last in memory
    joints_camera_mm: torch.Tensor  # (B, J, 3) float32, root-relative; NaN where the set has no labels
    joints_crop_px: torch.Tensor  # (B, J, 2) float32, pixels of the crop; NaN where the set has no labels

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device) -> PoseBatch:
        """The same batch on another device; asynchronous where the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PoseBatch:
        """The same batch in page-locked memory. Called by the data loader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def split(self, parts: int) -> list[PoseBatch]:
        """`parts` batches of equal length, in order."""
        size = len(self) // parts
        return [self._map(lambda t, at=i: t[at * size : (at + 1) * size]) for i in range(parts)]

    def _map(self, function) -> PoseBatch:  # type: ignore[no-untyped-def]
        return PoseBatch(*(function(getattr(self, name)) for name in PoseBatch.__dataclass_fields__))


class PoseOutput(NamedTuple):
    """What a network says of a batch. Exactly one of the two is set."""

    logits: torch.Tensor | None  # (B, J, D, H, W) heat maps before the softmax, any memory layout
    joints: torch.Tensor | None  # (B, J, 3) in the network's pose space, where it predicts them directly


class LossResult(NamedTuple):
    """A loss to step on, and what to log of it."""

    total: torch.Tensor  # scalar, the weighted sum
    terms: dict[str, torch.Tensor]  # unweighted scalars by name, detached
    mpjpe_mm: torch.Tensor  # scalar, detached: mean distance of the batch's root-relative joints


@dataclass
class Predictions:
    """Poses predicted for a data set, in its order."""

    indices: NDArray[np.int64]  # (N,) rows of the data set, each once
    joints_camera_mm: FloatArray  # (N, J, 3) root-relative


@dataclass
class Scores:
    """Errors of predictions against labels, in mm unless the name says otherwise."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    num_samples: int
    per_joint_mm: dict[str, float] = field(default_factory=dict)
    per_action_mm: dict[str, float] = field(default_factory=dict)
    per_subject_mm: dict[str, float] = field(default_factory=dict)
