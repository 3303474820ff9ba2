"""A run of pictures on disk with their labels: what every source but the videos is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.conversion import Frame
from integral_pose.datasets.human36m_table import find_sequence
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.sides import order_of_poses, to_human36m_order
from integral_pose.io.frame_names import FrameName, parse_frame_name
from integral_pose.io.images import read_picture
from integral_pose.io.untrusted import inside

Array = NDArray[np.float64]

LARGEST_RESIDUAL_PX = 20.0  # a pinhole source is off by 3 near the person; wrong cameras by hundreds
SIZE_TOLERANCE_PX = 3  # some sources say 1000 where a video has 1002 lines


@dataclass(frozen=True, eq=False)
class Stills:
    """n pictures of one camera. Implements `conversion.Recording`."""

    name: str
    split: str
    paths: Sequence[Path]
    file_names: Sequence[str]
    frame_numbers: Sequence[int]
    joints_image_px: Array  # (n, 17, 2) official order
    joints_camera_mm: Array  # (n, 17, 3) official order, from the camera's centre
    camera: Camera
    subject: str
    actions: Sequence[str]
    sub_action: int
    notes: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """n."""
        return len(self.paths)

    def frames(self, notes: list[str]) -> Iterator[Frame]:
        """As `conversion.Recording` says."""
        notes.extend(self.notes)
        for i, path in enumerate(self.paths):
            picture = read_picture(path)
            self._check_size(path, picture.shape[1], picture.shape[0])
            yield Frame(
                file_name=self.file_names[i],
                picture=picture,
                joints_image_px=self.joints_image_px[i],
                joints_camera_mm=self.joints_camera_mm[i],
                camera=self.camera,
                subject=self.subject,
                action=self.actions[i],
                sub_action=self.sub_action,
                frame=self.frame_numbers[i],
            )

    def _check_size(self, path: Path, width_px: int, height_px: int) -> None:
        expected = (self.camera.width_px, self.camera.height_px)
        if max(abs(width_px - expected[0]), abs(height_px - expected[1])) > SIZE_TOLERANCE_PX:
            raise DataError(
                f"{path}: is {width_px} x {height_px} px, but its labels are in pixels of a picture of "
                f"{expected[0]} x {expected[1]}; give the uncropped pictures"
            )


def group_rows(names: Sequence[str], parse: Callable[[str], FrameName | None], source: Path) -> dict[str, list[int]]:
    """Rows by recording: image names that differ in the frame number alone. Raises DataError for odd names."""
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if parse(name) is None:
            raise DataError(
                f"{source}: row {row} is the image '{name}', whose name does not say subject, action, camera and "
                "frame as in S1_Directions_1.54138969_000001.jpg"
            )
        groups.setdefault(name.rpartition("/")[2].rpartition("_")[0], []).append(row)
    return groups


def stills_of_human36m(
    source: Path,
    split: str,
    names: Sequence[str],
    images: Path,
    joints_camera_mm: Array,
    joints_image_px: Array | None,
    cameras: Callable[[str, str], Camera],
) -> list[Stills]:
    """A table of Human3.6M images (N rows) -> one `Stills` a video, legs turned into the official order.

    `cameras` knows (subject, camera id). Where the source has no 2D joints, the 3D is projected.
    Raises DataError naming `source` where names, poses and cameras do not fit together.
    """
    order = order_of_poses(joints_camera_mm, "auto", str(source))
    joints_camera_mm = to_human36m_order(joints_camera_mm, order)
    notes = [f"{source}: joint order {order}" + (", turned to official" if order == "c2f" else "")]
    if joints_image_px is not None:
        joints_image_px = to_human36m_order(joints_image_px, order)
    stills, worst_px = [], 0.0
    for base, rows in group_rows(names, parse_frame_name, source).items():
        frames = [parse_frame_name(names[row]) for row in rows]
        first = frames[0]
        assert first is not None, "group_rows has parsed the names"
        camera = cameras(first.subject, first.camera)
        projected_px = camera.camera_to_image_px(joints_camera_mm[rows])
        stored_px = projected_px if joints_image_px is None else joints_image_px[rows]
        worst_px = max(worst_px, float(np.abs(projected_px - stored_px).max()))
        stills.append(
            Stills(
                name=base,
                split=split,
                paths=[inside(images, names[row], source) for row in rows],
                file_names=[names[row].rpartition("/")[2] for row in rows],
                frame_numbers=[frame.frame for frame in frames if frame is not None],
                joints_image_px=stored_px,
                joints_camera_mm=joints_camera_mm[rows],
                camera=camera,
                subject=first.subject,
                actions=[first.action] * len(rows),
                sub_action=_take(base, first),
            )
        )
    if worst_px > LARGEST_RESIDUAL_PX:
        raise DataError(
            f"{source}: the 3D joints projected through the cameras miss the stored 2D joints by up to "
            f"{worst_px:.1f} px; poses and cameras are not of one set, or of other units than mm"
        )
    if joints_image_px is not None:
        notes.append(f"{source}: 3D projected through the cameras meets the stored 2D within {worst_px:.2g} px")
    return [replace(stills[0], notes=tuple(notes)), *stills[1:]] if stills else []


def _take(base: str, frame: FrameName) -> int:
    """First or second take of the action, off the table where it knows the recording."""
    sequence = find_sequence(frame.subject, base.partition("_")[2].partition(".")[0])
    return sequence.sub_action if sequence else (frame.sub_action or 0)
