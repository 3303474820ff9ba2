"""A network with the options of test time: batches of crops -> poses in millimetres."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from integral_pose.contracts import CropViews, NetworkOutput
from integral_pose.geometry.constants_on_device import joints_in_order, vector_like
from integral_pose.geometry.coordinates import PoseSpace
from integral_pose.geometry.lifting import mirror_views
from integral_pose.models.crop_changes import UNCHANGED, CropChange, change_crop
from integral_pose.skeleton import Skeleton

# Joints in the network's units and the views they were found in -> the views with the root's depth set.
PlaceRoot = Callable[[Tensor, CropViews], CropViews]


class CropNetwork(Protocol):
    """A network for crops that knows what its numbers mean."""

    @property
    def space(self) -> PoseSpace:
        """What the three numbers a joint mean."""
        ...

    def __call__(self, images: Tensor) -> NetworkOutput:
        """(B, 3, H, W) RGB 0..255 -> the network's output."""
        ...


def keep_roots(joints: Tensor, views: CropViews) -> CropViews:
    """The roots where the data set has them."""
    return views


@dataclass(frozen=True)
class Predictor:
    """The mean pose over `crops`, with `flip` over their mirror images too.

    `place_root` sets the root's depth before a pose of the image volume is lifted.
    """

    network: CropNetwork
    flip: bool = False
    crops: Sequence[CropChange] = (UNCHANGED,)
    place_root: PlaceRoot = keep_roots
    skeleton: Skeleton = field(kw_only=True)

    def __call__(self, images: Tensor, views: CropViews | None = None) -> tuple[Tensor, NetworkOutput]:
        """(B, 3, H, W) RGB 0..255 -> (B, J, 3) root-relative mm, and the output for the first of the crops."""
        output, poses_mm = self._predict(images, views, self.crops[0])
        for change in self.crops[1:]:
            poses_mm += self._predict(images, views, change)[1]
        return functools.reduce(torch.add, poses_mm) / len(poses_mm), output

    def _predict(
        self, images: Tensor, views: CropViews | None, change: CropChange
    ) -> tuple[NetworkOutput, list[Tensor]]:
        """The output for a changed crop, its pose and, with `flip`, that of its mirror image."""
        images, views = change_crop(images, views, change)
        output = self.network(images)
        poses_mm = [self._decode(output, views)]
        if self.flip:
            poses_mm.append(self._decode_mirrored(images, views))
        if change.depth_scale != 1:
            poses_mm = [pose_mm / vector_like(pose_mm, (1.0, 1.0, change.depth_scale)) for pose_mm in poses_mm]
        return output, poses_mm

    def _decode_mirrored(self, images: Tensor, views: CropViews | None) -> Tensor:
        """Mirroring negates x and swaps left with right, exactly, since the crop's middle is its centre."""
        mirrored_views = None if views is None else mirror_views(views, images.shape[-1])
        mirrored_mm = self._decode(self.network(images.flip(-1)), mirrored_views)
        return joints_in_order(mirrored_mm, self.skeleton.flip_order) * vector_like(mirrored_mm, (-1.0, 1.0, 1.0))

    def _decode(self, output: NetworkOutput, views: CropViews | None) -> Tensor:
        joints = output.joints()
        return self.network.space.decode(joints, views if views is None else self.place_root(joints, views))
