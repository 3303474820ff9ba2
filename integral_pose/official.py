"""Any trained network as one that our data sets can score: square crops in, the 17 joints of Human3.6M out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from integral_pose.contracts import CropViews
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import ImageVolume
from integral_pose.geometry.lifting import move_views
from integral_pose.loading import LoadedNetwork
from integral_pose.models.heads import VolumetricHead
from integral_pose.models.pose_net import PoseNet
from integral_pose.skeleton import HUMAN36M, joint_order


class OfficialJoints(nn.Module):
    """Puts black beside or above a crop until it has the network's shape, and brings the joints into our order."""

    def __init__(self, network: PoseNet, order: Sequence[int], aspect: float) -> None:
        super().__init__()
        self.network, self.order, self.aspect = network, list(order), aspect

    def predict_camera_mm(self, images: Tensor, views: CropViews | None = None) -> Tensor:
        """(B, 3, S, S) RGB 0..255 -> (B, 17, 3) mm in camera axes, root-relative."""
        left_px, top_px = margins_px(images.shape[-2:], self.aspect)
        padded = functional.pad(images, (left_px, left_px, top_px, top_px))
        if views is not None:
            moved = views.crop_to_image.new_tensor([[1.0, 0, left_px], [0, 1, top_px]])
            views = move_views(views, moved.expand(len(images), 2, 3))
        return self.network.predict_camera_mm(padded, views)[:, self.order]


def official_network(loaded: LoadedNetwork, image_size: Sequence[int]) -> nn.Module:
    """The network for crops of (height, width) px: itself where it is of our joints and square crops already.

    Raises DataError where its skeleton lacks a joint of Human3.6M.
    """
    network, description = loaded.network, loaded.description
    left_px, top_px = margins_px(image_size, description.crop_aspect)
    head, size_px = network.head, (image_size[0] + 2 * top_px, image_size[1] + 2 * left_px)
    if isinstance(head, VolumetricHead) and isinstance(head.space, ImageVolume):
        head.space = dataclasses.replace(head.space, height_px=size_px[0], width_px=size_px[1])
    if description.skeleton.names == HUMAN36M.names and description.crop_aspect == 1:
        return network
    try:
        order = joint_order(description.skeleton.names, HUMAN36M.names)
    except DataError as error:
        raise DataError(f"{loaded.source}: cannot be scored on the joints of Human3.6M: {error}") from None
    return OfficialJoints(network, order, description.crop_aspect)


def margins_px(size_px: Sequence[int] | torch.Size, aspect: float) -> tuple[int, int]:
    """(left, top) px to add on both sides of a square crop so that its width is `aspect` times its height."""
    height_px, width_px = size_px
    if aspect == 1:  # a crop that is no square in px shows a square of the picture all the same
        return 0, 0
    return max(0, round((height_px * aspect - width_px) / 2)), max(0, round((width_px / aspect - height_px) / 2))
