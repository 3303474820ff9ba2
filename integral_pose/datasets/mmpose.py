"""mmpose's Human3.6M: .npz with metres in camera axes, cameras.pkl, and uncropped pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from integral_pose.datasets.conversion import ConversionSummary, Request, convert
from integral_pose.datasets.human36m_pictures import CameraTable, recordings_of_table
from integral_pose.datasets.recording import PictureRecording
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera
from integral_pose.io.notices import notify
from integral_pose.io.readers import read_npz, read_pickle, require_shape
from integral_pose.io.untrusted import inside
from integral_pose.skeleton import HUMAN36M

MM = 1000.0  # in a metre


def convert_mmpose(source: Path, request: Request) -> ConversionSummary:
    """Write the data set of a folder that holds *train*.npz and *test*.npz, cameras.pkl and the pictures."""
    recordings: list[PictureRecording] = []
    for split, word in (("train", "train"), ("valid", "test")):
        path = _find(source, f"*{word}*.npz", _holds_poses)
        if path is not None:
            recordings += _read(path, split, source)
    if not recordings:
        raise DataError(f"{source}: has no .npz file with 'train' or 'test' in its name, as mmpose's annotations have")
    return convert(recordings, request, {"from": str(source.resolve())})


def _find(source: Path, pattern: str, is_right: Callable[[Path], bool] = Path.exists) -> Path | None:
    found = sorted(source.rglob(pattern))
    if len(found) > 1:  # mmpose keeps every frame (fps50) beside every fifth (fps10), which papers train on
        found = [path for path in found if "fps10" in path.parts] or found
    if len(found) > 1:  # its test data have those of body meshes and of whole bodies beside these
        right = [path for path in found if is_right(path)]
        for path in set(found) - set(right) if right else ():
            notify(f"{path}: passed over, since it does not hold the {HUMAN36M.num_joints} joints")
        found = right or found
    if len(found) > 1:
        shown = ", ".join(str(path) for path in found[:4])
        raise DataError(f"{source}: has {len(found)} files {pattern} ({shown}); leave one")
    return found[0] if found else None


def _holds_poses(path: Path) -> bool:
    joints = read_npz(path).get("S")
    return joints is not None and joints.shape[1:] == (HUMAN36M.num_joints, 4)


def _read(path: Path, split: str, source: Path) -> list[PictureRecording]:
    content = read_npz(path)
    missing = [key for key in ("imgname", "S", "part") if key not in content]
    if missing:
        raise DataError(f"{path}: has no '{missing[0]}'; it has: {', '.join(content)}")
    if content["S"].ndim == 3 and content["S"].shape[1] == 24:
        raise DataError(f"{path}: has 24 joints, as SPIN's files for body meshes have; take mmpose's annotation_body3d")
    require_shape(content["S"], (None, 17, 4), f"{path}: 'S'")
    require_shape(content["part"], (len(content["S"]), 17, 3), f"{path}: 'part'")
    images, names = _pictures(source, [str(name) for name in content["imgname"]])
    return recordings_of_table(
        source=path,
        split=split,
        names=names,
        images=images,
        joints_camera_mm=content["S"][..., :3].astype(np.float64) * MM,
        joints_image_px=content["part"][..., :2].astype(np.float64),
        cameras=read_cameras(_find(source, "cameras.pkl")),
    )


def _pictures(source: Path, names: list[str]) -> tuple[Path, list[str]]:
    """The folder of the pictures and their paths in it: those of mmpose's test data lie in no folders of their own."""
    for names_there in (names, [name.rpartition("/")[2] for name in names]):
        for folder in (source / "images", source):
            if not names or inside(folder, names_there[0], source).exists():
                return folder, names_there
    raise DataError(f"{source}: the picture {names[0]} is neither there nor in {source / 'images'}")


def read_cameras(path: Path | None) -> CameraTable:
    """The cameras of mmpose's pickle; none without one. R turns camera axes into world axes, T is the centre in m."""
    content = read_pickle(path) if path else {}
    cameras = {}
    try:
        for key, entry in content.items():
            numbers = {
                name: np.asarray(entry[name], dtype=np.float64).reshape(-1) for name in ("T", "f", "c", "k", "p")
            }
            cameras[key] = Camera(
                rotation=np.asarray(entry["R"], dtype=np.float64).reshape(3, 3).T,
                center_world_mm=numbers["T"].reshape(3) * MM,
                focal_px=numbers["f"].reshape(2),
                principal_px=numbers["c"].reshape(2),
                radial=numbers["k"].reshape(3),
                tangential=numbers["p"].reshape(2),
                width_px=int(entry["w"]),
                height_px=int(entry["h"]),
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: does not hold cameras as mmpose writes them: {error!r}") from None
    return cameras
