"""The coarse-to-fine release of Human3.6M: annot/train.h5 and valid.h5 (or .mat), flat uncropped pictures."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from integral_pose.contracts import Array
from integral_pose.datasets.conversion import ConversionSummary, Request, convert
from integral_pose.datasets.human36m_pictures import recordings_of_table
from integral_pose.datasets.recording import PictureRecording
from integral_pose.errors import DataError
from integral_pose.io.readers import existing, read_hdf5, read_lines, read_mat, require_shape


def convert_c2f(source: Path, request: Request) -> ConversionSummary:
    """Write the data set of a folder that holds annot/ and images/."""
    annot = existing(source / "annot", "the folder of train.h5 and valid.h5, or of the .mat files")
    recordings = [recording for split in ("train", "valid") for recording in _read(annot, split)]
    if not recordings:
        raise DataError(f"{annot}: has neither train.h5, valid.h5, train.mat nor valid.mat")
    return convert(recordings, request, {"from": str(source.resolve())})


class _Poses(NamedTuple):
    """What a file says of N pictures."""

    path: Path
    joints_camera_mm: Array  # (N, 17, 3)
    joints_image_px: Array | None  # (N, 17, 2)
    names: list[str]  # none where they are in a file of their own


def _read(annot: Path, split: str) -> list[PictureRecording]:
    poses = _from_hdf5(annot / f"{split}.h5") or _from_mat(annot / f"{split}.mat")
    if poses is None:
        if (annot / f"{split}.h5").exists():
            raise DataError(f"{annot / split}.h5: has no 3D poses 'S', and there is no {split}.mat beside it")
        return []
    list_path = annot / f"{split}_images.txt"
    names = read_lines(list_path) if list_path.exists() or not poses.names else poses.names
    if len(names) != len(poses.joints_camera_mm):
        raise DataError(f"{poses.path}: has {len(poses.joints_camera_mm):,} poses, but {len(names):,} images are named")
    images = existing(annot.parent / "images", "the folder of the uncropped pictures")
    return recordings_of_table(poses.path, split, names, images, poses.joints_camera_mm, poses.joints_image_px, {})


def _from_hdf5(path: Path) -> _Poses | None:
    """The public demonstration's valid.h5 has no poses; then the .mat has them."""
    content = read_hdf5(path, ("S", "part")) if path.exists() else {}
    if "S" not in content:
        return None
    require_shape(content["S"], (None, 17, 3), f"{path}: 'S'")
    if "part" in content:
        require_shape(content["part"], (len(content["S"]), 17, 2), f"{path}: 'part'")
    image_px = content["part"].astype(np.float64) if "part" in content else None
    return _Poses(path, content["S"].astype(np.float64), image_px, [])


def _from_mat(path: Path) -> _Poses | None:
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
    return _Poses(path, joints_camera_mm.transpose(0, 2, 1), None, names)
