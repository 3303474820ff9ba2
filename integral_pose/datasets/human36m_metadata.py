"""Human3.6M's own metadata.xml: the calibrated cameras. The same numbers are packaged with `geometry.camera`."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from integral_pose.contracts import Array
from integral_pose.errors import DataError
from integral_pose.geometry.camera import CAMERA_IDS, Camera
from integral_pose.io.readers import optional

_NUM_SUBJECTS = 11
_NUM_NUMBERS = 300
_FIRST_INTRINSIC = 6 * _NUM_SUBJECTS * len(CAMERA_IDS)  # 264: six numbers a camera and subject come before
_SIZE_ROW = 34  # of the table `mapping`
_FIRST_SUBJECT_COLUMN = 2


def read_cameras(path: Path) -> dict[tuple[str, str], Camera]:
    """(subject, camera id) -> camera. Raises DataError naming the file if it is not what it should be."""
    try:
        root = ET.parse(path).getroot()
        numbers = np.array((root.findtext("w0") or "").strip(" []").split(), dtype=np.float64)
        size_cells = root.findall("mapping/tr")[_SIZE_ROW].findall("td")[_FIRST_SUBJECT_COLUMN:]
        sizes = [_sizes(cell.text or "") for cell in size_cells]
    except (ET.ParseError, OSError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: is not Human3.6M's metadata.xml ({error}); remove it to use the packaged cameras"
        ) from None
    if len(numbers) != _NUM_NUMBERS or len(sizes) != _NUM_SUBJECTS:
        raise DataError(
            f"{path}: has {len(numbers)} camera numbers and sizes of {len(sizes)} subjects, expected {_NUM_NUMBERS} "
            f"and {_NUM_SUBJECTS}; remove it to use the packaged cameras"
        )
    return {
        (f"S{subject + 1}", camera_id): _camera(numbers, subject, at, sizes[subject][at])
        for subject in range(_NUM_SUBJECTS)
        for at, camera_id in enumerate(CAMERA_IDS)
    }


def _camera(numbers: Array, subject: int, at: int, size: tuple[int, int]) -> Camera:
    extrinsic = numbers[6 * (_NUM_SUBJECTS * at + subject) :][:6]
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = numbers[_FIRST_INTRINSIC + 9 * at :][:9]
    return Camera(
        rotation=optional("scipy.spatial.transform").Rotation.from_euler("XYZ", extrinsic[:3]).as_matrix(),  # Rx Ry Rz
        center_world_mm=extrinsic[3:],
        focal_px=np.array([fx, fy]),
        principal_px=np.array([cx, cy]),
        radial=np.array([k1, k2, k3]),
        tangential=np.array([p1, p2]),
        width_px=size[1],
        height_px=size[0],
    )


def _sizes(text: str) -> list[tuple[int, int]]:
    """'[1002 1000;1000 1000;...]' -> (height, width) a camera."""
    pairs = [pair.split() for pair in text.strip(" []").split(";")]
    if len(pairs) != len(CAMERA_IDS):
        raise ValueError(f"image sizes '{text}'")
    return [(int(height), int(width)) for height, width in pairs]
