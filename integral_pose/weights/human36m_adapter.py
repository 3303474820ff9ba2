"""Any trained network as one that our data sets can score: square crops in, the 17 joints of Human3.6M out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from integral_pose.contracts import CropViews, PoseOutput
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import ImageVolume, PoseSpace
from integral_pose.geometry.lifting import move_views
from integral_pose.models.heads import RegressionHead
from integral_pose.models.pose_net import PoseNet
from integral_pose.skeleton import HUMAN36M, joint_order
from integral_pose.weights.loading import LoadedNetwork


@dataclass(frozen=True)
class OfficialSpace:
    """What all joints of a network mean, told as the 17 of Human3.6M: `order` are theirs, in our order.

    Views are of the crops as the data set has them; `margins_px` (left, top) is what the network sees beside them.
    """

    inner: PoseSpace
    order: list[int]
    margins_px: tuple[int, int]

    @property
    def needs_views(self) -> bool:
        """As the network's own space."""
        return self.inner.needs_views

    def encode(self, joints_camera_mm: Tensor, joints_crop_px: Tensor | None = None) -> Tensor:
        """Nothing is trained through this."""
        raise ValueError("the joints of another skeleton cannot be told from those of Human3.6M")

    def decode(self, joints: Tensor, views: CropViews | None = None) -> Tensor:
        """(B, J, 3) in the network's units -> (B, 17, 3) mm, predicted root subtracted."""
        return self.inner.decode(joints, None if views is None else self._widened(views))[:, self.order]

    def _widened(self, views: CropViews) -> CropViews:
        left_px, top_px = self.margins_px
        moved = views.crop_to_image.new_tensor([[1.0, 0, left_px], [0, 1, top_px]])
        return move_views(views, moved.expand(len(views.camera), 2, 3))


@dataclass(frozen=True)
class OfficialImageVolume(OfficialSpace):
    """One in which the root can be placed by the length of bones."""

    inner: ImageVolume

    def at_bone_length(
        self, joints: Tensor, views: CropViews, *, bones: Sequence[tuple[int, int]], total_bone_length_mm: float
    ) -> CropViews:
        """As `ImageVolume.at_bone_length`; the bones are pairs of the 17 joints."""
        volume = dataclasses.replace(self.inner, root=HUMAN36M.root)
        placed = volume.at_bone_length(
            joints[:, self.order], self._widened(views), bones=bones, total_bone_length_mm=total_bone_length_mm
        )
        return dataclasses.replace(views, root_camera_mm=placed.root_camera_mm)


class OfficialJoints(nn.Module):
    """Puts black beside or above a crop until it has the network's shape, and brings the joints into our order."""

    def __init__(self, network: PoseNet, order: Sequence[int], aspect: float, image_size: Sequence[int]) -> None:
        super().__init__()
        self.network, self.order, self.aspect = network, list(order), aspect
        margins, inner = margins_px(image_size, aspect), network.space
        self.space = (
            OfficialImageVolume(inner, self.order, margins)
            if isinstance(inner, ImageVolume)
            else OfficialSpace(inner, self.order, margins)
        )

    def forward(self, images: Tensor) -> PoseOutput:
        """(B, 3, S, S) RGB 0..255 -> what the network says of all its joints."""
        left_px, top_px = margins_px(images.shape[-2:], self.aspect)
        output: PoseOutput = self.network(functional.pad(images, (left_px, left_px, top_px, top_px)))
        return output

    def locate(self, output: PoseOutput) -> Tensor:
        """(B, J, 3) of all joints of the network, in its units."""
        return self.network.locate(output)

    def predict_camera_mm(self, images: Tensor, views: CropViews | None = None) -> Tensor:
        """(B, 3, S, S) RGB 0..255 -> (B, 17, 3) mm in camera axes, root-relative."""
        return self.space.decode(self.locate(self(images)), views)


def official_network(loaded: LoadedNetwork, image_size: Sequence[int]) -> PoseNet | OfficialJoints:
    """The network for crops of (height, width) px: itself where it is of our joints and square crops already.

    Raises DataError where its skeleton lacks a joint of Human3.6M.
    """
    network, description = loaded.network, loaded.description
    left_px, top_px = margins_px(image_size, description.crop_aspect)
    head, size_px = network.head, (image_size[0] + 2 * top_px, image_size[1] + 2 * left_px)
    if not isinstance(head, RegressionHead) and isinstance(head.space, ImageVolume):
        head.space = dataclasses.replace(head.space, height_px=size_px[0], width_px=size_px[1])
    if description.skeleton.names == HUMAN36M.names and description.crop_aspect == 1:
        return network
    try:
        order = joint_order(description.skeleton.names, HUMAN36M.names)
    except DataError as error:
        raise DataError(f"{loaded.source}: cannot be scored on the joints of Human3.6M: {error}") from None
    return OfficialJoints(network, order, description.crop_aspect, image_size)


def margins_px(size_px: Sequence[int] | torch.Size, aspect: float) -> tuple[int, int]:
    """(left, top) px to add on both sides of a square crop so that its width is `aspect` times its height."""
    height_px, width_px = size_px
    if aspect == 1:  # a crop that is no square in px shows a square of the picture all the same
        return 0, 0
    return max(0, round((height_px * aspect - width_px) / 2)), max(0, round((width_px / aspect - height_px) / 2))
