"""Tables of Human3.6M pictures whose names say what they show, as most releases have them -> recordings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from integral_pose.contracts import Array
from integral_pose.datasets.recording import PictureRecording
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera, human36m_camera
from integral_pose.geometry.sides import order_of_poses, to_human36m_order
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.io.untrusted import inside

CameraTable = Mapping[tuple[str, str], Camera]  # by subject and camera id

LARGEST_RESIDUAL_PX = 20.0  # a pinhole source is off by 3 near the person; wrong cameras by hundreds


def recordings_of_table(
    source: Path,
    split: str,
    names: Sequence[str],
    images: Path,
    joints_camera_mm: Array,
    joints_image_px: Array | None,
    cameras: CameraTable,
) -> list[PictureRecording]:
    """N named pictures below the folder `images`, one recording a video; joints in the order of the skeleton.

    Where the source has no 2D joints, the 3D is projected. Raises DataError naming `source` where names, poses and
    cameras do not fit together.
    """
    order = order_of_poses(joints_camera_mm, "auto", str(source))
    joints_camera_mm = to_human36m_order(joints_camera_mm, order)
    notes = [f"{source}: joint order {order}" + (", turned to official" if order == "c2f" else "")]
    videos = _rows_by_video(names, source)
    camera_of = {video: find_camera(cameras, *_subject_and_camera(names[rows[0]])) for video, rows in videos.items()}
    projected_px = np.empty((len(names), 17, 2))
    for video, rows in videos.items():
        projected_px[rows] = camera_of[video].camera_to_image_px(joints_camera_mm[rows])
    if joints_image_px is not None:
        joints_image_px = to_human36m_order(joints_image_px, order)
        notes.append(_compare(projected_px, joints_image_px, source))
    return [
        PictureRecording(
            name=video,
            split=split,
            paths=[inside(images, names[row], source) for row in rows],
            file_names=[_file_name(names[row]) for row in rows],
            joints_image_px=(projected_px if joints_image_px is None else joints_image_px)[rows],
            joints_camera_mm=joints_camera_mm[rows],
            camera=camera_of[video],
            notes=() if number else tuple(notes),  # they are of the whole table, and said once
        )
        for number, (video, rows) in enumerate(videos.items())
    ]


def find_camera(cameras: CameraTable, subject: str, camera_id: str) -> Camera:
    """The camera of the table, or else the packaged one. Raises DataError where neither knows it."""
    try:
        return cameras.get((subject, camera_id)) or human36m_camera(subject, camera_id)
    except KeyError:
        raise DataError(f"no calibrated camera {camera_id} of subject {subject} is known for Human3.6M") from None


def _rows_by_video(names: Sequence[str], source: Path) -> dict[str, list[int]]:
    """`S1_Directions_1.54138969` -> its rows: names that differ in the frame number alone."""
    videos: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if parse_frame_name(name) is None:
            raise DataError(
                f"{source}: row {row} is the image '{name}', whose name does not say subject, action, camera and "
                "frame as in S1_Directions_1.54138969_000001.jpg"
            )
        videos.setdefault(_file_name(name).rpartition("_")[0], []).append(row)
    return videos


def _subject_and_camera(name: str) -> tuple[str, str]:
    parsed = parse_frame_name(name)
    assert parsed is not None, "names are parsed when they are sorted by video"
    return parsed.subject, parsed.camera


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]


def _compare(projected_px: Array, stored_px: Array, source: Path) -> str:
    """What to say of the distance between projected 3D and stored 2D joints. Raises DataError where it is large."""
    largest_px = float(np.abs(projected_px - stored_px).max(initial=0))
    if largest_px > LARGEST_RESIDUAL_PX:
        raise DataError(
            f"{source}: the 3D joints projected through the cameras miss the stored 2D joints by up to "
            f"{largest_px:.1f} px; poses and cameras are not of one set, or of other units than mm"
        )
    return f"{source}: 3D projected through the cameras meets the stored 2D within {largest_px:.2g} px"
