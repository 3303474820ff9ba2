"""Several crops of each picture at test time: the same person a little moved and resized, all poses averaged."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from integral_pose.contracts import CropViews
from integral_pose.geometry.constants_on_device import vector_like
from integral_pose.geometry.lifting import move_views

SHIFT = 0.04  # of the side; training moves by 0.05 at most
SMALLER, LARGER = 0.95, 1.05
NUMBERS_OF_CROPS = (1, 5, 7)


class CropChange(NamedTuple):
    """The picture about its middle times `scale`, then moved by shares of its sides.

    A network that was taught depths that grow with the picture says them times `depth_scale`.
    """

    right: float = 0.0
    down: float = 0.0
    scale: float = 1.0
    depth_scale: float = 1.0


UNCHANGED = CropChange()


def crop_changes(number: int, *, scale_depth: bool = False) -> tuple[CropChange, ...]:
    """The crop as it is; from 5 on moved to the four sides; with 7 smaller and larger too."""
    if number not in NUMBERS_OF_CROPS:
        raise ValueError(f"expected a number of crops of {NUMBERS_OF_CROPS}, found {number}")
    moved = [CropChange(-SHIFT), CropChange(SHIFT), CropChange(down=-SHIFT), CropChange(down=SHIFT)]
    resized = [CropChange(scale=scale, depth_scale=scale if scale_depth else 1.0) for scale in (SMALLER, LARGER)]
    return (UNCHANGED, *moved, *resized)[:number]


def change_crop(images: Tensor, views: CropViews | None, change: CropChange) -> tuple[Tensor, CropViews | None]:
    """Images (B, 3, H, W), bilinear, black from outside, as floats 0..255, and the views of the changed crops."""
    if change == UNCHANGED:
        return images, views
    height, width = images.shape[-2:]
    # Where in the source each pixel's centre lies; both span [-1, 1] over the area.
    across, down = (
        ((torch.arange(pixels, device=images.device) + 0.5) * (2 / pixels) - 1 - 2 * shift) / change.scale
        for pixels, shift in ((width, change.right), (height, change.down))
    )
    grid = torch.stack(torch.broadcast_tensors(across, down[:, None]), -1).expand(len(images), -1, -1, -1)
    changed = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if views is None:
        return changed, None
    like = views.crop_to_image
    sides, shares = vector_like(like, (width, height)), vector_like(like, (change.right, change.down))
    offset = sides * (shares + (1 - change.scale) / 2)
    unmoved = torch.eye(2, device=like.device, dtype=like.dtype)
    moved = torch.cat([change.scale * unmoved, offset[:, None]], -1).expand(len(images), 2, 3)
    axes = torch.diag(vector_like(like, (1, 1, change.depth_scale))).expand(len(images), 3, 3)
    return changed, move_views(views, moved, axes)
