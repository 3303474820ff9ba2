"""Labels -> the annotation files of the course layout. The same labels give the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from integral_pose.contracts import Array
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import Crop
from integral_pose.geometry.labelled_means import mean_and_deviation
from integral_pose.skeleton import HUMAN36M

# Columns of the .h5 in the order in which they are written: type, and shape of a row.
COLUMNS: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {
    "pose2d": (np.float32, (-1, 2)),  # of J joints; px of the crop, NaN where there is no label
    "pose3d": (np.float32, (-1, 3)),  # root-relative mm in camera axes
    "visible": (np.uint8, (-1,)),  # 0: no label
    "camera": (np.float64, (9,)),  # fx fy cx cy (px) k1 k2 k3 p1 p2 in the order of Human3.6M's lens model
    "crop_to_image": (np.float64, (3,)),  # left, top, scale: image_px = (left, top) + scale * crop_px
    "root_camera_mm": (np.float64, (3,)),
    "subject": ("S16", ()),
    "action": ("S16", ()),
    "sub_action": (np.int32, ()),  # 1 or 2: first or second take of the action; may be missing
    "frame": (np.int32, ()),  # number of the picture in its video, from 1; may be missing
}


def label_row(joints_image_px: Array, joints_camera_mm: Array, camera: Camera, crop: Crop) -> dict[str, Array]:
    """The columns that follow from the joints (17, 2) and (17, 3), from the camera's centre, and how they are seen."""
    return {
        "pose2d": crop.image_px_to_crop_px(joints_image_px),
        "pose3d": joints_camera_mm - joints_camera_mm[0],
        "camera": np.concatenate([camera.focal_px, camera.principal_px, camera.radial, camera.tangential]),
        "crop_to_image": np.array([crop.left_px, crop.top_px, crop.scale]),
        "root_camera_mm": joints_camera_mm[0],
    }


def camera_of_row(numbers: Array) -> Camera:
    """The camera of a row of the column `camera` (9,), at the origin; the size of its picture is not known."""
    focal_px, principal_px, radial, tangential = np.split(numbers, [2, 4, 7])
    return Camera(np.eye(3), np.zeros(3), focal_px, principal_px, radial, tangential, width_px=0, height_px=0)


class JpegFiles(NamedTuple):
    """The N JPEG files of the packed layout, end to end in a few files on disk; `sizes` (N,) are their bytes."""

    pieces: Sequence[Path]
    sizes: NDArray[np.int64]


def write_split(
    annot: Path, split: str, image_names: Sequence[str], columns: Mapping[str, Any], images: JpegFiles | None = None
) -> None:
    """Write `{split}.h5`, `{split}_images.txt` and, of the training set, mean.txt and std.txt into the folder `annot`.

    `columns` are some of COLUMNS, `image_names` relative to the folder of images; with `images` the packed layout.
    """
    # Times of creation and the version of the file format would differ from run to run and machine to machine.
    with h5py.File(annot / f"{split}.h5", "w", libver="v110", track_order=False, locking=False) as file:
        for name, (dtype, row_shape) in COLUMNS.items():
            if name in columns:
                values = np.asarray(columns[name]).astype(dtype)
                if len(image_names):  # of none, no number of joints follows
                    values = values.reshape(len(image_names), *row_shape)
                else:
                    values = values.reshape(0, *(HUMAN36M.num_joints if side < 0 else side for side in row_shape))
                file.create_dataset(name, data=values, track_times=False)
        if images is not None:
            _write_images(file, images)
    (annot / f"{split}_images.txt").write_text("".join(f"{name}\n" for name in image_names), "utf-8")
    if split == "train" and "pose3d" in columns:
        poses_mm = np.asarray(columns["pose3d"], dtype=np.float64).reshape(len(image_names), -1)
        for name, values in zip(("mean.txt", "std.txt"), mean_and_deviation(poses_mm), strict=True):
            np.savetxt(annot / name, values)


def _write_images(file: h5py.File, images: JpegFiles) -> None:
    """`images/bytes` (total,) and `images/offsets` (N + 1,): file i lies at bytes[offsets[i]:offsets[i + 1]]."""
    offsets = np.concatenate([[0], np.cumsum(images.sizes, dtype=np.int64)])
    # Contiguous, not chunked: readers take slices straight from the file at the offset of the data set.
    encoded = file.create_dataset("images/bytes", shape=(int(offsets[-1]),), dtype=np.uint8, track_times=False)
    file.create_dataset("images/offsets", data=offsets, track_times=False)
    position = 0
    for piece in images.pieces:
        content = np.fromfile(piece, dtype=np.uint8)
        encoded[position : position + len(content)] = content
        position += len(content)
    assert position == offsets[-1], f"the pieces hold {position} bytes, their sizes add up to {offsets[-1]}"
