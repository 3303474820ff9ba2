"""mmpose's Human3.6M: .npz with metres in camera axes, cameras.pkl, and uncropped pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from integral_pose.datasets.conversion import Recording, Request, Summary, convert
from integral_pose.datasets.stills import stills_of_human36m
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera, human36m_camera
from integral_pose.io.readers import read_npz, read_pickle, require_shape
from integral_pose.io.untrusted import inside

MM = 1000.0  # in a metre


def convert_mmpose(source: Path, request: Request) -> Summary:
    """Write the data set of a folder that holds *train*.npz and *test*.npz, cameras.pkl and the pictures."""
    recordings: list[Recording] = []
    for split, word in (("train", "train"), ("valid", "test")):
        path = _find(source, f"*{word}*.npz")
        if path is not None:
            recordings += _read(path, split, source)
    if not recordings:
        raise DataError(f"{source}: has no .npz file with 'train' or 'test' in its name, as mmpose's annotations have")
    return convert(recordings, request, {"from": str(source.resolve())})


def _find(source: Path, pattern: str) -> Path | None:
    found = sorted(source.rglob(pattern))
    if len(found) > 1:  # mmpose keeps every frame (fps50) beside every fifth (fps10), which papers train on
        found = [path for path in found if "fps10" in path.parts] or found
    if len(found) > 1:
        shown = ", ".join(str(path) for path in found[:4])
        raise DataError(f"{source}: has {len(found)} files {pattern} ({shown}); leave one")
    return found[0] if found else None


def _read(path: Path, split: str, source: Path) -> list[Recording]:
    content = read_npz(path)
    missing = [key for key in ("imgname", "S", "part") if key not in content]
    if missing:
        raise DataError(f"{path}: has no '{missing[0]}'; it has: {', '.join(content)}")
    num_joints = content["S"].shape[1] if content["S"].ndim == 3 else 17
    if num_joints == 24:
        raise DataError(f"{path}: has 24 joints, as SPIN's files for body meshes have; take mmpose's annotation_body3d")
    require_shape(content["S"], (None, 17, 4), f"{path}: 'S'")
    require_shape(content["part"], (len(content["S"]), 17, 3), f"{path}: 'part'")
    names = [str(name) for name in content["imgname"]]
    return [
        *stills_of_human36m(
            source=path,
            split=split,
            names=names,
            images=_images_folder(source, names[0]) if names else source,
            joints_camera_mm=content["S"][..., :3].astype(np.float64) * MM,
            joints_image_px=content["part"][..., :2].astype(np.float64),
            cameras=Cameras(_find(source, "cameras.pkl")),
        )
    ]


def _images_folder(source: Path, first: str) -> Path:
    for folder in (source / "images", source):
        if inside(folder, first, source).exists():
            return folder
    raise DataError(f"{source}: the picture {first} is neither there nor in {source / 'images'}")


class Cameras:
    """(subject, camera id) -> camera, from the pickle where there is one, else the packaged numbers."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.content = path, read_pickle(path) if path else {}

    def __call__(self, subject: str, camera_id: str) -> Camera:
        """The camera. Raises DataError where neither knows it."""
        entry = self.content.get((subject, camera_id)) if isinstance(self.content, dict) else None
        if entry is not None:
            return _camera(entry, f"{self.path}: {subject} {camera_id}")
        try:
            return human36m_camera(subject, camera_id)
        except KeyError:
            raise DataError(f"{self.path or 'the packaged cameras'}: no camera {camera_id} of {subject}") from None


def _camera(entry: dict[str, Any], what: str) -> Camera:
    """mmpose's numbers: R turns camera axes into world axes, T is the camera's centre in metres."""
    try:
        numbers = {key: np.asarray(entry[key], dtype=np.float64) for key in ("R", "T", "f", "c", "k", "p")}
        rotation = numbers["R"].reshape(3, 3).T
        center_m, focal_px, principal_px = (numbers[key].reshape(n) for key, n in (("T", 3), ("f", 2), ("c", 2)))
        radial, tangential = numbers["k"].reshape(3), numbers["p"].reshape(2)
        width_px, height_px = int(entry["w"]), int(entry["h"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{what}: is not a camera as mmpose writes it: {error!r}") from None
    return Camera(rotation, center_m * MM, focal_px, principal_px, radial, tangential, width_px, height_px)
