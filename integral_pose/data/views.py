"""How the crops of a table were seen by their cameras: optional columns of the .h5, needed by the image volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from integral_pose.contracts import CropViews
from integral_pose.io.labels import read_rows, stored_names

COLUMNS = {"camera": 9, "crop_to_image": 3, "root_camera_mm": 3}


@dataclass(frozen=True, eq=False)
class ViewTable:
    """Of N stored crops; what the columns mean is said in `CropViews` and, for the crop, here."""

    camera: NDArray[np.float32]  # (N, 9)
    crop_to_image: NDArray[np.float32]  # (N, 3) left, top, scale: image_px = (left, top) + scale * crop_px
    root_camera_mm: NDArray[np.float32]  # (N, 3); NaN where the set does not say it

    @property
    def has_roots(self) -> bool:
        """Whether it is known where the root joints are."""
        return bool(np.isfinite(self.root_camera_mm).all())

    def take(self, rows: NDArray[np.int64]) -> ViewTable:
        """The table of some rows, in their order."""
        return ViewTable(self.camera[rows], self.crop_to_image[rows], self.root_camera_mm[rows])

    def batch(self, rows: NDArray[np.int64], px_per_stored_px: NDArray[np.float32]) -> CropViews:
        """The views of some rows; px_per_stored_px (2,) is how the crops were resized, x and y."""
        left_top_scale = torch.from_numpy(self.crop_to_image[rows])
        crop_to_image = torch.zeros(len(rows), 2, 3)
        crop_to_image[:, :, 2] = left_top_scale[:, :2]
        for axis in range(2):
            crop_to_image[:, axis, axis] = left_top_scale[:, 2] / float(px_per_stored_px[axis])
        return CropViews(
            camera=torch.from_numpy(self.camera[rows]),
            crop_to_image=crop_to_image,
            root_camera_mm=torch.from_numpy(self.root_camera_mm[rows]),
            label_axes=torch.eye(3).repeat(len(rows), 1, 1),
        )


def read_views(label_path: Path, num_images: int, *, root_needed: bool = True) -> ViewTable | None:
    """The views of a label file, or None where it lacks any of their columns. Raises DataError where they are bad.

    Unless `root_needed`, root_camera_mm may be missing.
    """
    missing = COLUMNS.keys() - stored_names(label_path)
    if missing - (set() if root_needed else {"root_camera_mm"}):
        return None
    columns = [
        np.full((num_images, width), np.nan, np.float32)
        if name in missing
        else read_rows(label_path, name, (width,), num_images)
        for name, width in COLUMNS.items()
    ]
    return ViewTable(*columns)
