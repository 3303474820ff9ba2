"""Labels -> the annotation files of the course layout. The same labels give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Labels of N pictures, a row each."""

    image_names: list[str]  # paths relative to the folder of images
    joints_crop_px: Array  # (N, 17, 2)
    joints_camera_mm: Array  # (N, 17, 3) root-relative
    camera: Array  # (N, 9) fx fy cx cy (px) k1 k2 k3 p1 p2 in the order of Human3.6M's lens model
    crop_to_image: Array  # (N, 3) left, top, scale: image_px = (left, top) + scale * crop_px
    root_camera_mm: Array  # (N, 3)
    subjects: Sequence[str]
    actions: Sequence[str]
    sub_actions: Sequence[int] | None = None  # 1 or 2: first or second take of the action
    frames: Sequence[int] | None = None  # number of the picture in its video, from 1


@dataclass(frozen=True)
class PackedImages:
    """The N JPEG files of the packed layout, end to end in pieces on disk; `sizes` (N,) are their bytes."""

    pieces: Iterable[Path]
    sizes: NDArray[np.int64]


def write_labels(annot: Path, split: str, labels: Labels, images: PackedImages | None = None) -> None:
    """Write `{split}.h5` and `{split}_images.txt` into the folder `annot`; with `images` the packed layout."""
    columns: dict[str, NDArray[np.generic]] = {
        "pose2d": labels.joints_crop_px.astype(np.float32),
        "pose3d": labels.joints_camera_mm.astype(np.float32),
        "camera": labels.camera,
        "crop_to_image": labels.crop_to_image,
        "root_camera_mm": labels.root_camera_mm,
        "subject": np.array(labels.subjects, dtype="S16"),
        "action": np.array(labels.actions, dtype="S16"),
    }
    if labels.sub_actions is not None:
        columns["sub_action"] = np.array(labels.sub_actions, dtype=np.int32)
    if labels.frames is not None:
        columns["frame"] = np.array(labels.frames, dtype=np.int32)
    # Times of creation and the version of the file format would differ from run to run and machine to machine.
    with h5py.File(annot / f"{split}.h5", "w", libver="v110", track_order=False) as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values, track_times=False)
        if images is not None:
            _write_images(file, images)
    names = "".join(f"{name}\n" for name in labels.image_names)
    (annot / f"{split}_images.txt").write_text(names, "utf-8")


def _write_images(file: h5py.File, images: PackedImages) -> None:
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


def write_statistics(annot: Path, joints_camera_mm: Array) -> None:
    """Write mean.txt and std.txt: 51 numbers each, over the root-relative poses (N, 17, 3) in mm."""
    rows = joints_camera_mm.reshape(len(joints_camera_mm), -1)
    np.savetxt(annot / "mean.txt", rows.mean(axis=0))
    np.savetxt(annot / "std.txt", rows.std(axis=0))
