"""The coarse-to-fine release of Human3.6M: annot/train.h5 and valid.h5 (or .mat), flat uncropped pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.conversion import Recording, Request, Summary, convert
from integral_pose.datasets.stills import stills_of_human36m
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera, human36m_camera
from integral_pose.io.readers import existing, read_hdf5, read_lines, read_mat, require_shape

Array = NDArray[np.float64]


def convert_c2f(source: Path, request: Request) -> Summary:
    """Write the data set of a folder that holds annot/ and images/."""
    annot = existing(source / "annot", "the folder of train.h5 and valid.h5, or of the .mat files")
    recordings: list[Recording] = [recording for split in ("train", "valid") for recording in _read(annot, split)]
    if not recordings:
        raise DataError(f"{annot}: has neither train.h5, valid.h5, train.mat nor valid.mat")
    return convert(recordings, request, {"from": str(source.resolve())})


def _read(annot: Path, split: str) -> list[Recording]:
    found = _from_hdf5(annot / f"{split}.h5") or _from_mat(annot / f"{split}.mat")
    if found is None:
        if (annot / f"{split}.h5").exists():
            raise DataError(f"{annot / split}.h5: has no 3D poses 'S', and there is no {split}.mat beside it")
        return []
    path, joints_camera_mm, joints_image_px, names = found
    list_path = annot / f"{split}_images.txt"
    if list_path.exists() or not names:
        names = read_lines(list_path)
    if len(names) != len(joints_camera_mm):
        raise DataError(f"{path}: has {len(joints_camera_mm):,} poses, but {len(names):,} images are named")
    return [
        *stills_of_human36m(
            source=path,
            split=split,
            names=names,
            images=existing(annot.parent / "images", "the folder of the uncropped pictures"),
            joints_camera_mm=joints_camera_mm,
            joints_image_px=joints_image_px,
            cameras=_camera,
        )
    ]


_Found = tuple[Path, Array, Array | None, list[str]]


def _from_hdf5(path: Path) -> _Found | None:
    """The public demonstration's valid.h5 has no poses; then the .mat has them."""
    content = read_hdf5(path, ("S", "part")) if path.exists() else {}
    if "S" not in content:
        return None
    require_shape(content["S"], (None, 17, 3), f"{path}: 'S'")
    if "part" in content:
        require_shape(content["part"], (len(content["S"]), 17, 2), f"{path}: 'part'")
        return path, content["S"].astype(np.float64), content["part"].astype(np.float64), []
    return path, content["S"].astype(np.float64), None, []


def _from_mat(path: Path) -> _Found | None:
    if not path.exists():
        return None
    content = read_mat(path)
    try:
        annot = content["annot"][0, 0]
        joints_camera_mm = np.asarray(annot["S"], dtype=np.float64)
        names = [f"{cell.item().removesuffix('.jpg')}.jpg" for cell in annot["imgname"].reshape(-1)]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: has no struct 'annot' with imgname and S: {error!r}") from None
    require_shape(joints_camera_mm, (None, 3, 17), f"{path}: 'annot.S'")
    return path, joints_camera_mm.transpose(0, 2, 1), None, names


def _camera(subject: str, camera_id: str) -> Camera:
    try:
        return human36m_camera(subject, camera_id)
    except KeyError:
        raise DataError(f"no calibrated camera {camera_id} of subject {subject} is known for Human3.6M") from None
