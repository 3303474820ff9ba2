"""Whether joints in px are of the crop that they belong to."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.data.course import PoseTable
from integral_pose.errors import DataError
from integral_pose.geometry.labelled_means import is_labelled

MOST_OUTSIDE = 0.5  # of the joints in px; crops of other projects cut off hands, or legs


def require_inside_crop(table: PoseTable, stored_px: int, root: Path) -> None:
    """Raise DataError where most of the joints in px lie outside of the stored crop, as those of another picture do."""
    outside = share_outside(table.joints_crop_px, stored_px, stored_px)
    if outside > MOST_OUTSIDE:
        low, high = float(np.nanmin(table.joints_crop_px)), float(np.nanmax(table.joints_crop_px))
        raise DataError(
            f"{root}: {outside:.0%} of the joints in 'pose2d', which go from {low:.0f} to {high:.0f}, lie outside of "
            f"the crops of {stored_px} x {stored_px} px (data.stored_size); write them in px of the crop, not of the "
            "picture that it was cut from"
        )


def share_outside(joints_px: NDArray[Any], width_px: int, height_px: int) -> float:
    """The share of joints (N, J, 2) outside of a picture of that size, of those that are labelled."""
    outside = ((joints_px < 0) | (joints_px > [width_px, height_px])).any(-1)
    return float(outside.sum() / max(1, is_labelled(joints_px).sum()))
