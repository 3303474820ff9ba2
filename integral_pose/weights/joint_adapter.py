"""Any trained network as one that a data set can score: square crops in, the joints of the set out."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from integral_pose.contracts import CropViews, NetworkOutput
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import ImageVolume, PoseSpace
from integral_pose.geometry.lifting import move_views
from integral_pose.models.pose_net import PoseNet
from integral_pose.skeleton import Skeleton, joint_order
from integral_pose.weights.model_file import ModelDescription
from integral_pose.weights.stored_network import StoredNetwork, Weights

LARGEST_DIFFERENCE = 0.12  # of crops, by their sides: people of all sizes in crops of 2 m vary by as much


@dataclass(frozen=True)
class ChosenJointsSpace(PoseSpace):
    """What all joints of a network mean, told as some of them: `order` are their indices; `root` is one of these.

    Views are of the crops as the data set has them; `margins_px` (left, top) is what the network sees beside them.
    """

    inner: PoseSpace
    order: list[int]
    root: int
    margins_px: tuple[int, int]

    def decode(self, joints: Tensor, views: CropViews | None = None) -> Tensor:
        """(B, J, 3) in the network's units -> (B, len(order), 3) mm, predicted root subtracted."""
        return self.inner.decode(joints, None if views is None else self._widened(views))[:, self.order]

    def deviation_mm(self, deviation: Tensor) -> Tensor:
        """(B, J, 3) of all joints of the network -> (B, len(order)) mm."""
        return self.inner.deviation_mm(deviation)[:, self.order]

    def _widened(self, views: CropViews) -> CropViews:
        left_px, top_px = self.margins_px
        moved = views.crop_to_image.new_tensor([[1.0, 0, left_px], [0, 1, top_px]])
        return move_views(views, moved.expand(len(views.camera), 2, 3))


@dataclass(frozen=True)
class ChosenJointsImageVolume(ChosenJointsSpace):
    """One in which the root can be placed by the length of bones."""

    inner: ImageVolume
    needs_views = True

    def at_bone_length(
        self, joints: Tensor, views: CropViews, *, bones: Sequence[tuple[int, int]], total_bone_length_mm: float
    ) -> CropViews:
        """As `ImageVolume.at_bone_length`; the bones are pairs of the chosen joints."""
        volume = dataclasses.replace(self.inner, root=self.root)
        placed = volume.at_bone_length(
            joints[:, self.order], self._widened(views), bones=bones, total_bone_length_mm=total_bone_length_mm
        )
        return dataclasses.replace(views, root_camera_mm=placed.root_camera_mm)


class ChosenJointsNetwork(nn.Module):
    """Puts black beside or above a crop until it has the network's shape; `order` are the chosen joints of its own."""

    def __init__(
        self, network: PoseNet, order: Sequence[int], root: int, aspect: float, image_size: Sequence[int]
    ) -> None:
        super().__init__()
        self.network, self.order, self.aspect = network, list(order), aspect
        margins, inner = margins_px(image_size, aspect), network.space
        self.space = (
            ChosenJointsImageVolume(inner, self.order, root, margins)
            if isinstance(inner, ImageVolume)
            else ChosenJointsSpace(inner, self.order, root, margins)
        )

    def forward(self, images: Tensor) -> NetworkOutput:
        """(B, 3, S, S) RGB 0..255 -> the output for all joints of the network."""
        left_px, top_px = margins_px(images.shape[-2:], self.aspect)
        output: NetworkOutput = self.network(functional.pad(images, (left_px, left_px, top_px, top_px)))
        return output


def joints_in_common(network: Skeleton, labels: Skeleton, source: Path) -> Skeleton:
    """The joints that a network can be scored on, in the order of the labels: all of either.

    Raises DataError with both lists where each lacks joints of the other, or where they have no root in common.
    """
    common = [name for name in labels.names if name in network.names]
    has_all = len(common) in (labels.num_joints, network.num_joints)
    if not has_all or labels.names[labels.root] not in common or network.names[network.root] not in common:
        raise DataError(
            f"{source}: predicts other joints than the data set has, which are matched by name where one has all of "
            f"the other's. The network: {', '.join(network.names)}. The set: {', '.join(labels.names)}"
        )
    return labels if len(common) == labels.num_joints else labels.of_joints(common)


def build_network_for_joints(
    stored: StoredNetwork, skeleton: Skeleton, image_size: Sequence[int], weights: Weights, decoder: str
) -> PoseNet | ChosenJointsNetwork:
    """The network for joints that it has and crops of (height, width) px: itself where it is of these already.

    Raises DataError where depths are relative to another root.
    """
    description = stored.description
    left_px, top_px = margins_px(image_size, description.crop_aspect)
    network = stored.build(weights, decoder, (image_size[0] + 2 * top_px, image_size[1] + 2 * left_px))
    own = description.skeleton
    if own.names == skeleton.names and description.crop_aspect == 1:
        return network
    own_root, root = own.names[own.root], skeleton.names[skeleton.root]
    if own_root != root and isinstance(network.space, ImageVolume):
        raise DataError(f"{stored.source}: its depths are relative to {own_root}, those of the data set to {root}")
    order = joint_order(own.names, skeleton.names)
    return ChosenJointsNetwork(network, order, skeleton.root, description.crop_aspect, image_size)


def margins_px(size_px: Sequence[int] | torch.Size, aspect: float) -> tuple[int, int]:
    """(left, top) px to add on both sides of a square crop so that its width is `aspect` times its height."""
    height_px, width_px = size_px
    if aspect == 1:  # a crop that is no square in px shows a square of the picture all the same
        return 0, 0
    return max(0, round((height_px * aspect - width_px) / 2)), max(0, round((width_px / aspect - height_px) / 2))


def crop_scale(joints_crop_px: NDArray[np.float32], stored_px: int, aspect: float) -> float:
    """Sides of the crops that a network sees over those of the box of the joints (N, J, 2), as `box_scale`: the median.

    The crops are squares of `stored_px`, padded to the network's aspect.
    """
    width_px, height_px = (joints_crop_px.max(1) - joints_crop_px.min(1)).T
    return float(np.median(stored_px * max(1.0, aspect) / np.maximum(np.maximum(width_px, height_px * aspect), 1e-6)))


def crop_notice(description: ModelDescription, joints_crop_px: NDArray[np.float32], stored_px: int) -> str | None:
    """What to say where a data set's crops are not of the size that a network was trained on; None: they are."""
    found = crop_scale(joints_crop_px, stored_px, description.crop_aspect)
    if abs(found / description.box_scale - 1) <= LARGEST_DIFFERENCE:
        return None
    return (
        f"the crops of this data set are {found:.2f} times the joints' box, the network was trained on about "
        f"{description.box_scale:.2f}: its errors here are larger than they need be. Prepare the data with the --crop "
        "of docs/models.md that is its own"
    )
