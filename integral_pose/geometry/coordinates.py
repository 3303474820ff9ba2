"""The only file that states how voxels, normalised coordinates, crop pixels and millimetres relate.

    norm      [-0.5, 0.5] over the whole volume or crop, on each axis; 0 is its middle
    voxel     continuous index: the centre of cell i is exactly i
    crop_px   pixel i spans [i, i + 1], so its centre is i + 0.5
    camera_mm root-relative mm in camera axes: x right, y down, z forward

    one axis of n = 4 cells

      norm   -0.5      -0.25       0        0.25      0.5
               |  cell 0 |  cell 1 |  cell 2 |  cell 3 |
      voxel    |    0    |    1    |    2    |    3    |
             -0.5                                     3.5

Coordinates are (x, y, z) on the last axis; volumes are (.., D, H, W) = (z, y, x).
Works on torch tensors and NumPy arrays alike; device and dtype are those of the input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    import torch

    from integral_pose.contracts import CropViews, PoseBatch

Numbers = TypeVar("Numbers", "torch.Tensor", Any)  # tensor or array


def norm_to_voxel(coordinate_norm: Numbers, num_cells: int) -> Numbers:
    """Continuous cell index of a normalised coordinate on an axis of `num_cells` cells."""
    return (coordinate_norm + 0.5) * num_cells - 0.5


def voxel_to_norm(coordinate_voxel: Numbers, num_cells: int) -> Numbers:
    """Normalised coordinate of a continuous cell index."""
    return (coordinate_voxel + 0.5) / num_cells - 0.5


def norm_to_crop_px(coordinate_norm: Numbers, size_px: int) -> Numbers:
    """Crop pixel of a normalised coordinate on an axis of `size_px` pixels."""
    return (coordinate_norm + 0.5) * size_px


def crop_px_to_norm(coordinate_crop_px: Numbers, size_px: int) -> Numbers:
    """Normalised coordinate of a crop pixel."""
    return coordinate_crop_px / size_px - 0.5


def cell_centers_norm(num_cells: int, like: torch.Tensor) -> torch.Tensor:
    """(num_cells,) normalised coordinates of the cell centres, with the device and dtype of `like`."""
    return voxel_to_norm(like.new_ones(num_cells).cumsum(0) - 1, num_cells)


def centred_to_edge_norm(joints_norm: torch.Tensor, volume_shape: Sequence[int]) -> torch.Tensor:
    """Joints (.., 3) read off centred cells -> the same read with cell i of n at i / n - 0.5, its lower edge.

    That is how Sun et al. 2018 and 3DMPPE count, so weights of theirs mean the latter; see `cell_centers_norm`.
    """
    from integral_pose.geometry.constants_on_device import vector_like  # loads torch

    return joints_norm - vector_like(joints_norm, [0.5 / cells for cells in axis_lengths_xyz(volume_shape)])


def axis_lengths_xyz(volume_shape: Sequence[int]) -> tuple[int, int, int]:
    """(D, H, W) -> cells along (x, y, z) = (W, H, D)."""
    depth, height, width = volume_shape
    return width, height, depth


def beyond_reach(joints_norm: torch.Tensor, volume_shape: Sequence[int]) -> torch.Tensor:
    """Which joints (.., 3) norm lie beyond the outermost cell centres on any axis, where no expectation is: (..)."""
    reach = joints_norm.new_tensor([0.5 - 0.5 / cells for cells in axis_lengths_xyz(volume_shape)])
    return (joints_norm.abs() > reach).any(-1)


def joints_norm_to_cell(joints_norm: torch.Tensor, volume_shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The cell that holds each joint, and whether it lies inside the volume.

    joints_norm (.., 3) -> cells (.., 3) int64 in (x, y, z), which may lie outside; inside (..) bool.
    """
    import torch

    from integral_pose.geometry.constants_on_device import vector_like

    lengths = vector_like(joints_norm, axis_lengths_xyz(volume_shape))
    # A joint on the far face belongs to no cell; NaN and huge values are outside, not some odd integer.
    cells = torch.floor((joints_norm + 0.5) * lengths).nan_to_num(nan=-1e6).clamp(-1e6, 1e6).long()
    return cells, ((cells >= 0) & (cells < lengths)).all(-1)


class PoseSpace(ABC):
    """What a network's three numbers a joint mean: pairs of inverse conversions to millimetres.

    The metric volume and standardised poses need the label in mm alone; the image volume is in pixels of the
    crop, so it needs the label there too, and the views of the crops on the way back.
    """

    needs_views: ClassVar[bool] = False  # whether `decode` cannot do without them
    root: int

    def encode(self, joints_camera_mm: torch.Tensor, joints_crop_px: torch.Tensor | None = None) -> torch.Tensor:
        """(B, J, 3) root-relative mm and (B, J, 2) px of the crop -> (B, J, 3) in the units the network predicts."""
        raise ValueError(f"{type(self).__name__} is read from imported weights, not trained on")

    @abstractmethod
    def decode(self, joints: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, J, 3) in the units the network predicts -> (B, J, 3) mm, predicted root subtracted."""

    def deviation_mm(self, deviation: torch.Tensor) -> torch.Tensor:
        """Standard deviations (B, J, 3) along the axes, in the units of the joints -> (B, J) mm, of all axes alike.

        The root mean square over the axes; the root is the origin of the pose and has 0.
        """
        raise ValueError(f"{type(self).__name__} does not say how many mm its units are")

    def decode_labelled(self, joints: torch.Tensor, batch: PoseBatch) -> torch.Tensor:
        """As `decode` for a batch with labels, from which the image volume takes its scale where there are no views."""
        return self.decode(joints)


@dataclass(frozen=True)
class MetricVolume(PoseSpace):
    """A cube in camera axes with the root joint in its middle; `extent_mm` is the length of its sides."""

    extent_mm: float
    root: int

    def encode(self, joints_camera_mm: torch.Tensor, joints_crop_px: torch.Tensor | None = None) -> torch.Tensor:
        """(B, J, 3) root-relative mm -> (B, J, 3) norm."""
        return joints_camera_mm / self.extent_mm

    def decode(self, joints: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, J, 3) norm -> (B, J, 3) mm, predicted root subtracted."""
        return root_relative(joints * self.extent_mm, self.root)

    def deviation_mm(self, deviation: torch.Tensor) -> torch.Tensor:
        """(B, J, 3) norm -> (B, J) mm."""
        return _deviation_of_joints(deviation * self.extent_mm, self.root)


@dataclass(frozen=True)
class ImageVolume(PoseSpace):
    """The crop, and behind it depth from the root joint over `depth_extent_mm` (Sun et al. 2018)."""

    depth_extent_mm: float
    height_px: int
    width_px: int
    root: int
    undo_lens: bool = True  # False: pixels mean where a pinhole sees the joints, as in labels projected without a lens
    needs_views = True

    def encode(self, joints_camera_mm: torch.Tensor, joints_crop_px: torch.Tensor | None = None) -> torch.Tensor:
        """(B, J, 3) root-relative mm and (B, J, 2) px of the crop -> (B, J, 3) norm."""
        import torch

        if joints_crop_px is None:
            raise ValueError("the image volume needs the joints in pixels of the crop")
        return torch.stack(
            [
                crop_px_to_norm(joints_crop_px[..., 0], self.width_px),
                crop_px_to_norm(joints_crop_px[..., 1], self.height_px),
                joints_camera_mm[..., 2] / self.depth_extent_mm,
            ],
            -1,
        )

    def decode(self, joints: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, J, 3) norm -> (B, J, 3) mm by the views of the crops, predicted root subtracted."""
        from integral_pose.geometry.lifting import lift  # loads torch, which reading labels can do without

        if views is None:
            raise ValueError("the image volume needs the views of the crops to tell millimetres")
        return root_relative(lift(*self.crop_px_and_depth_mm(joints), self._seen(views)), self.root)

    def crop_px_and_depth_mm(self, joints: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, J, 3) norm -> (B, J, 2) px of the crop and (B, J) mm of depth from the root, in the labels' axes."""
        import torch

        crop_px = torch.stack(
            [norm_to_crop_px(joints[..., 0], self.width_px), norm_to_crop_px(joints[..., 1], self.height_px)], -1
        )
        return crop_px, joints[..., 2] * self.depth_extent_mm

    def at_bone_length(
        self,
        joints: torch.Tensor,
        views: CropViews,
        *,
        bones: Sequence[tuple[int, int]],
        total_bone_length_mm: float,
    ) -> CropViews:
        """The views with the roots of joints (B, J, 3) norm as far away as the length of the bones says."""
        from integral_pose.geometry.lifting import at_bone_length

        crop_px, depth_mm = self.crop_px_and_depth_mm(joints)
        placed = at_bone_length(crop_px, depth_mm, self._seen(views), bones, total_bone_length_mm, self.root)
        return replace(views, root_camera_mm=placed.root_camera_mm)

    def _seen(self, views: CropViews) -> CropViews:
        """The views with the lens that the pixels were seen through."""
        from integral_pose.geometry.lifting import without_lens

        return views if self.undo_lens else without_lens(views)

    def decode_labelled(self, joints: torch.Tensor, batch: PoseBatch) -> torch.Tensor:
        """As `decode`; without views each person's own labels say how many mm a pixel is, about."""
        import torch

        if batch.views is not None:
            return self.decode(joints, batch.views)
        true_px, true_mm = root_relative(batch.joints_crop_px, self.root), batch.joints_camera_mm[..., :2]
        if not batch.is_complete:  # of the joints that have both labels
            is_known = torch.isfinite(true_px * true_mm)
            true_px, true_mm = (label.where(is_known, label.new_zeros(())) for label in (true_px, true_mm))
        mm_per_px = (true_mm * true_px).sum((-2, -1)) / (true_px * true_px).sum((-2, -1))
        crop_px, depth_mm = self.crop_px_and_depth_mm(joints)
        joints_mm = torch.cat([crop_px * mm_per_px[:, None, None], depth_mm[..., None]], -1)
        return root_relative(joints_mm, self.root)


@dataclass(frozen=True)
class CropVolume(PoseSpace):
    """The crop with depth in its pixels too; the length of a body says how many mm they are (Sun et al., challenge).

    That is weak perspective: no camera is needed, and everybody is as large as the mean.
    """

    depth_extent_px: float
    height_px: int
    width_px: int
    bone_length_mm: float  # of all `bones` together
    bones: tuple[tuple[int, int], ...]  # (child, parent)
    root: int

    def decode(self, joints: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, J, 3) norm -> (B, J, 3) mm, predicted root subtracted."""
        from integral_pose.geometry.constants_on_device import joints_in_order, vector_like

        # Depth has the root in its middle and pixels of a crop are square, so this is one frame but for its origin.
        joints_px = joints * vector_like(joints, (self.width_px, self.height_px, self.depth_extent_px))
        children, parents = (joints_in_order(joints_px, [bone[end] for bone in self.bones]) for end in (0, 1))
        lengths_px = (children - parents).square().sum(-1).sqrt().sum(-1)
        return root_relative(joints_px * (self.bone_length_mm / lengths_px)[:, None, None], self.root)


@dataclass(frozen=True)
class StandardisedPose(PoseSpace):
    """Each joint and axis with zero mean and unit deviation over the training set; mean_mm, std_mm (J, 3).

    Coordinates that never vary (the root) have deviation 0 in the statistics and are left unscaled.
    """

    mean_mm: torch.Tensor
    std_mm: torch.Tensor
    root: int

    def encode(self, joints_camera_mm: torch.Tensor, joints_crop_px: torch.Tensor | None = None) -> torch.Tensor:
        """(B, J, 3) root-relative mm -> (B, J, 3) standard deviations from the mean pose."""
        mean_mm, scale_mm = self._statistics(joints_camera_mm)
        return (joints_camera_mm - mean_mm) / scale_mm

    def decode(self, joints: torch.Tensor, views: CropViews | None = None) -> torch.Tensor:
        """(B, J, 3) standard deviations from the mean pose -> (B, J, 3) mm, predicted root subtracted."""
        mean_mm, scale_mm = self._statistics(joints)
        return root_relative(joints * scale_mm + mean_mm, self.root)

    def deviation_mm(self, deviation: torch.Tensor) -> torch.Tensor:
        """(B, J, 3) in standard deviations of the poses -> (B, J) mm."""
        return _deviation_of_joints(deviation * self._statistics(deviation)[1], self.root)

    def _statistics(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        std_mm = self.std_mm.to(like)
        return self.mean_mm.to(like), std_mm.where(std_mm > 0, std_mm.new_ones(()))


def root_relative(joints_mm: Numbers, root: int) -> Numbers:
    """(.., J, 3) with the root joint moved to the origin."""
    return joints_mm - joints_mm[..., root : root + 1, :]


def _deviation_of_joints(deviation_mm: torch.Tensor, root: int) -> torch.Tensor:
    """(B, J, 3) mm -> (B, J) mm: the root mean square of the axes, 0 at the root."""
    import torch

    is_root = torch.arange(deviation_mm.shape[1], device=deviation_mm.device) == root
    return deviation_mm.square().mean(-1).sqrt().masked_fill(is_root, 0.0)
