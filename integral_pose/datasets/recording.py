"""What a converter hands over to `conversion`: recordings, each a video or a run of pictures, with their joints."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from integral_pose.contracts import Array
from integral_pose.errors import DataError
from integral_pose.geometry.body_size import require_mm
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.label_axes import require_camera_axes
from integral_pose.io.images import Picture, read_picture
from integral_pose.io.notices import notify
from integral_pose.io.readers import optional
from integral_pose.io.strict_video import strict_frames
from integral_pose.skeleton import HUMAN36M

SIZE_TOLERANCE_PX = 3  # some sources say 1000 where a video has 1002 lines


class LabelledFrame(NamedTuple):
    """One person in one picture. Joints are in the order of `skeleton.HUMAN36M`."""

    file_name: str  # of the crop to write; says subject, action and frame number as `io.frame_names` reads them
    picture: Picture  # (H, W, 3) RGB
    joints_image_px: Array  # (17, 2)
    joints_camera_mm: Array  # (17, 3) from the camera's centre
    camera: Camera


class FlatFrame(NamedTuple):
    """One person in one picture, without any depth: joints of any skeleton, NaN where there is no label."""

    file_name: str  # of the crop to write
    picture: Picture  # (H, W, 3) RGB
    joints_image_px: Array  # (J, 2)
    extent_image_px: Array  # (n, 2) points that the crop is to hold


class LabelledCrop(NamedTuple):
    """One person who was cropped already."""

    jpeg: bytes
    columns: dict[str, Any]  # a row of the .h5, with `file_name`


class FlatPerson(NamedTuple):
    """A person in a picture file; the rest as in `FlatFrame`."""

    path: Path
    file_name: str
    joints_image_px: Array
    extent_image_px: Array


@dataclass(frozen=True, eq=False)
class FlatRecording:
    """Some people in picture files, one after the other of each picture."""

    name: str
    split: str
    people: Sequence[FlatPerson]
    notes: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """How many crops there will be."""
        return len(self.people)

    def frames(self, notes: list[str]) -> Iterator[FlatFrame]:
        """The people in order. Raises DataError where a picture cannot be used.

        A picture that is turned by its metadata is not turned: labels are of its pixels as they are stored.
        """
        notes.extend(self.notes)
        read: tuple[Path, Picture] | None = None
        for person in self.people:
            if read is None or read[0] != person.path:
                read = person.path, read_picture(person.path, as_stored=True)
            yield FlatFrame(person.file_name, read[1], person.joints_image_px, person.extent_image_px)


@dataclass(frozen=True, eq=False)
class PictureRecording:
    """n picture files of one camera."""

    name: str
    split: str
    paths: Sequence[Path]
    file_names: Sequence[str]  # of the crops, as in `LabelledFrame`
    joints_image_px: Array  # (n, 17, 2)
    joints_camera_mm: Array  # (n, 17, 3) from the camera's centre
    camera: Camera
    notes: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """How many frames are expected."""
        return len(self.paths)

    def frames(self, notes: list[str]) -> Iterator[LabelledFrame]:
        """The frames in order; what a user should know of them is added to `notes`. Raises DataError."""
        notes.extend(self.notes)
        require_labels(self.joints_image_px, self.joints_camera_mm, self.name)
        rows = zip(self.paths, self.file_names, self.joints_image_px, self.joints_camera_mm, strict=True)
        for path, file_name, joints_image_px, joints_camera_mm in rows:
            picture = read_picture(path)
            self._check_size(path, picture.shape[1], picture.shape[0])
            yield LabelledFrame(file_name, picture, joints_image_px, joints_camera_mm, self.camera)

    def _check_size(self, path: Path, width_px: int, height_px: int) -> None:
        expected = (self.camera.width_px, self.camera.height_px)
        if max(abs(width_px - expected[0]), abs(height_px - expected[1])) > SIZE_TOLERANCE_PX:
            raise DataError(
                f"{path}: is {width_px} x {height_px} px, but its labels are in pixels of a picture of "
                f"{expected[0]} x {expected[1]}; give the uncropped pictures"
            )


@dataclass(frozen=True, eq=False)
class VideoRecording(ABC):
    """Some frames of a video, decoded once. Its joints are read with it, by the process that converts it."""

    name: str  # as the crops are called, without the frame number
    split: str
    video: Path
    rows: Sequence[int]  # of the frames to take, rising from 0; the video may be shorter
    camera: Camera

    @property
    def num_images(self) -> int:
        """How many frames are expected."""
        return len(self.rows)

    @abstractmethod
    def read_joints(self, notes: list[str]) -> tuple[Array, Array]:
        """(n, 17, 3) mm from the camera's centre and (n, 17, 2) px of the picture, a row each frame of the video."""

    def frames(self, notes: list[str]) -> Iterator[LabelledFrame]:
        """The frames in order, up to where joints or video end; notes as above. Raises DataError."""
        joints_camera_mm, joints_image_px = self.read_joints(notes)
        require_labels(joints_image_px, joints_camera_mm, self.name)
        rows, last = [row for row in self.rows if row < len(joints_camera_mm)], -1
        for row, picture in read_frames(self.video, rows):
            last = row
            yield LabelledFrame(
                image_name(self.name, row), picture, joints_image_px[row], joints_camera_mm[row], self.camera
            )
        if missing := sum(row > last for row in rows):
            notes.append(
                f"{self.video}: ends before its poses; stopped there, {missing} of {len(self.rows)} images are missing"
            )


class Recording(Protocol):
    """Some labelled pictures, read or made by the process that writes them."""

    @property
    def name(self) -> str:
        """Unique in its split, and a file name."""

    @property
    def split(self) -> str:
        """'train' or 'valid'."""

    @property
    def num_images(self) -> int:
        """How many frames are expected, for the progress bar and the space on the disk."""

    def frames(self, notes: list[str]) -> Iterator[LabelledFrame | FlatFrame | LabelledCrop]:
        """The frames in order; what a user should know of them is added to `notes`. Raises DataError."""


def require_labels(joints_image_px: Array, joints_camera_mm: Array, name: str) -> None:
    """Raise DataError where joints are not in mm, or not in the axes of the camera that they are seen by."""
    require_mm(joints_camera_mm, HUMAN36M, name)
    if doubt := require_camera_axes(joints_image_px, joints_camera_mm, name):
        notify(doubt)


def image_name(recording: str, row: int) -> str:
    """`S1_Directions_1.54138969_000001.jpg`: the crop of a recording's frame `row`; names count from 1."""
    return f"{recording}_{row + 1:06d}.jpg"


def read_frames(path: Path, rows: Sequence[int]) -> Iterator[tuple[int, Picture]]:
    """Pairs (row, (H, W, 3) RGB) of the wanted frames of a video, counted from 0, in rising order.

    Ends early where the video does. Raises DataError naming the file if it is missing or damaged.
    """
    av = optional("av")
    wanted = iter(rows)
    next_row = next(wanted, None)
    try:
        with av.open(str(path)) as container:
            for row, frame in enumerate(strict_frames(container.streams.video[0])):
                if next_row is None:
                    return
                if row == next_row:
                    yield row, frame.to_ndarray(format="rgb24")
                    next_row = next(wanted, None)
    except (av.FFmpegError, IndexError, OSError) as error:
        where = "cannot be opened" if next_row == next(iter(rows), None) else f"is damaged before frame {next_row}"
        raise DataError(f"{path}: {where} ({error}); fetch it again") from None
