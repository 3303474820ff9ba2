"""What packages pass to each other. Each field's shape, frame and unit is stated here and nowhere else."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    Marginals = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32] | NDArray[np.float64]


class SampleKey(NamedTuple):
    """A sample in an epoch. All randomness of the sample is a function of this key and the seed."""

    epoch: int
    row: int


@dataclass
class PoseSample:
    """One crop and its labels."""

    index: int  # row of the data set
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    joints_camera_mm: NDArray[np.float32]  # (J, 3) root-relative; NaN: no label
    joints_crop_px: NDArray[np.float32]  # (J, 2) in pixels of this image; NaN: no label
    # (2, 3) px of the original crop -> px of this one; (3, 3) camera axes -> axes of the labels
    moved: NDArray[np.float32] = field(default_factory=lambda: np.eye(2, 3, dtype=np.float32))
    label_axes: NDArray[np.float32] = field(default_factory=lambda: np.eye(3, dtype=np.float32))


@dataclass
class CropViews:
    """Camera views of B crops: what lifting from crop pixels and depths to camera mm needs."""

    camera: torch.Tensor  # (B, 9) fx fy cx cy (px), k1 k2 k3 p1 p2 in the order of Human3.6M's lens model
    crop_to_image: torch.Tensor  # (B, 2, 3) image_px = crop_to_image @ (x, y, 1) in crop px of this batch
    root_camera_mm: torch.Tensor  # (B, 3) position of the root joint in camera axes, from the camera centre
    label_axes: torch.Tensor  # (B, 3, 3) camera axes -> axes of the batch's labels, as augmentation changed them

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> CropViews:
        """The same with `function` applied to every tensor."""
        return CropViews(function(self.camera), function(self.crop_to_image), function(self.root_camera_mm),
                         function(self.label_axes))  # fmt: skip


@dataclass
class PoseBatch:
    """B samples as tensors."""

    indices: torch.Tensor  # (B,) int64, rows of the data set
    images: torch.Tensor  # (B, 3, H, W) uint8 RGB, channels last in memory
    joints_camera_mm: torch.Tensor  # (B, J, 3) float32, root-relative; NaN: no label
    joints_crop_px: torch.Tensor  # (B, J, 2) float32, pixels of the crop; NaN: no label
    changes: torch.Tensor | None = None  # (B, P) float32, how the device is to augment the images; None: not at all
    views: CropViews | None = None  # None: the data set has no camera columns
    is_complete: bool = True  # every joint of the data set is labelled: known without asking the device
    has_mm: bool = True  # some joint of the data set is labelled in mm; False: in px alone, and J are the set's own

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device) -> PoseBatch:
        """The same batch on another device; asynchronous where the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory from being reused before `stream` has finished with it."""

        def record(tensor: torch.Tensor) -> torch.Tensor:
            tensor.record_stream(stream)
            return tensor

        self._map(record)

    def pin_memory(self) -> PoseBatch:
        """The same batch in page-locked memory. Called by the data loader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def split(self, parts: int) -> list[PoseBatch]:
        """`parts` batches of equal length, in order."""
        size = len(self) // parts
        return [self._map(operator.itemgetter(slice(i * size, (i + 1) * size))) for i in range(parts)]

    @property
    def sources(self) -> tuple[PoseBatch, ...]:
        """Itself: all samples are of one source. See MixedBatch."""
        return (self,)

    def map_sources(self, function: Callable[[PoseBatch], PoseBatch]) -> PoseBatch:
        """The function of it."""
        return function(self)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> PoseBatch:
        return PoseBatch(
            indices=function(self.indices),
            images=function(self.images),
            joints_camera_mm=function(self.joints_camera_mm),
            joints_crop_px=function(self.joints_crop_px),
            changes=None if self.changes is None else function(self.changes),
            views=None if self.views is None else self.views.map(function),
            is_complete=self.is_complete,
            has_mm=self.has_mm,
        )


@dataclass
class MixedBatch:
    """Samples of several sources for one forward pass; what a PoseBatch can do for training."""

    sources: tuple[PoseBatch, ...]  # `indices` count through all sources, laid end to end

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    @property
    def indices(self) -> torch.Tensor:
        """(B,) int64 in the order of the sources."""
        import torch  # heavy, and most who read the contracts do without

        return torch.cat([source.indices for source in self.sources])

    @property
    def images(self) -> torch.Tensor:
        """(B, 3, H, W) uint8 in the order of the sources, channels last in memory."""
        import torch

        return torch.cat([source.images for source in self.sources])

    def to(self, device: torch.device) -> MixedBatch:
        """The same batch on another device."""
        return self.map_sources(lambda source: source.to(device))

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory from being reused before `stream` has finished with it."""
        for source in self.sources:
            source.record_stream(stream)

    def pin_memory(self) -> MixedBatch:
        """The same batch in page-locked memory. Called by the data loader."""
        return self.map_sources(lambda source: source.pin_memory())

    def split(self, parts: int) -> list[MixedBatch]:
        """`parts` batches, each with an equal share of every source."""
        return [MixedBatch(own) for own in zip(*(source.split(parts) for source in self.sources), strict=True)]

    def map_sources(self, function: Callable[[PoseBatch], PoseBatch]) -> MixedBatch:
        """The function of each source's samples."""
        return MixedBatch(tuple(function(source) for source in self.sources))


TrainingBatch = PoseBatch | MixedBatch


class AxisLogits(NamedTuple):
    """Logits along single axes, to be added to a volume's."""

    x: torch.Tensor  # (B, J, W)
    y: torch.Tensor  # (B, J, H)
    z: torch.Tensor  # (B, J, D)


class HeatmapLoss(Protocol):
    """A loss on softmax-normalised heat maps against true joints (B, J, 3) norm: a scalar, the mean over B and J."""

    def of_volume(
        self, logits: torch.Tensor, true_norm: torch.Tensor, axis_logits: AxisLogits | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, J, D, H, W), and what is added to it along x, y, z -> expected joints (B, J, 3) norm and the loss."""
        ...

    def of_marginals(self, marginals: Marginals, true_norm: torch.Tensor) -> torch.Tensor:
        """Three planes or axes a joint -> the loss."""
        ...


class NetworkOutput(Protocol):
    """The output of a network for a batch: volume logits, marginal logits or coordinates (`heatmaps.outputs`)."""

    def joints(self) -> torch.Tensor:
        """(B, J, 3) in the units of the network's pose space, float32 at least."""
        ...

    def joints_and_heatmap_loss(self, true_norm: torch.Tensor, loss: HeatmapLoss) -> tuple[torch.Tensor, torch.Tensor]:
        """`joints()` and the loss against the true joints (B, J, 3) norm; ValueError where there are no heat maps."""
        ...

    def confidence(self, radius_cells: float) -> torch.Tensor | None:
        """(B, J, 2): share of the heat map within the radius of the joint, and entropy; None without volumes."""
        ...

    def probabilities(self, sample: int, joint: int) -> dict[str, torch.Tensor]:
        """Marginals of one joint's heat map by their axes, for pictures; none where there are no heat maps."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """The network's numbers by name, (B, J, ...) each."""
        ...

    def split(self, lengths: Sequence[int]) -> Sequence[NetworkOutput]:
        """The output for consecutive samples of a batch, so many each."""
        ...

    def flat_logits(self) -> torch.Tensor:
        """(B, J, 1, H, W), whose softmax is the heat map summed over z; ValueError where there are no heat maps."""
        ...


class LossResult(NamedTuple):
    """A loss to step on, and what to log of it."""

    total: torch.Tensor  # scalar, the weighted sum
    terms: dict[str, torch.Tensor]  # unweighted scalars by name, detached
    joints: torch.Tensor  # (B, J, 3) predicted, in the units of the network's pose space, detached


@dataclass
class Predictions:
    """Poses predicted for a data set, in its order."""

    indices: NDArray[np.int64]  # (N,) rows of the data set, each once
    joints_camera_mm: FloatArray  # (N, J, 3) root-relative
    confidence: NDArray[np.float32] | None = None  # (N, J, 2) mass 0..1 near the joint, entropy 0..1; None: not asked
    sigma_mm: NDArray[np.float32] | None = None  # (N, J) standard deviation along each axis, root 0; None: not asked


@dataclass
class Scores:
    """Errors of predictions against labels, in mm unless the name says otherwise."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    num_samples: int
    per_joint_mm: dict[str, float] = field(default_factory=dict)
    per_action_mm: dict[str, float] = field(default_factory=dict)
    per_subject_mm: dict[str, float] = field(default_factory=dict)
    per_camera_mm: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # all of evaluation.metrics.summarise
    interval_mm: list[float] | None = None  # MPJPE, 95 %, over sequences; None: sequences unknown
    headline_interval: list[float] | None = None  # as above, of the protocol's headline and in its unit
    num_sequences: int = 0
    protocol: str = "all"
