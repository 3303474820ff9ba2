"""MPI-INF-3DHP: the raw training set (videos, annot.mat) and the test set (pictures, MATLAB 7.3).

Its joints are mapped to Human3.6M's by name. Not quite the same points: its head and head top stand for Neck/Nose
and Head, its neck for the thorax, and its hips lie farther out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.conversion import Frame, Recording, Request, Summary, convert
from integral_pose.datasets.stills import Stills
from integral_pose.datasets.video import read_frames
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.sides import order_of_poses
from integral_pose.io.readers import existing, read_hdf5, read_mat, require_shape
from integral_pose.skeleton import HUMAN36M, joint_order

Array = NDArray[np.float64]

TRAIN_NAMES = (
    "spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top", "l_clavicle", "l_shoulder", "l_elbow",
    "l_wrist", "l_hand", "r_clavicle", "r_shoulder", "r_elbow", "r_wrist", "r_hand", "l_hip", "l_knee", "l_ankle",
    "l_foot", "l_toe", "r_hip", "r_knee", "r_ankle", "r_foot", "r_toe",
)  # fmt: skip
TEST_NAMES = (
    "head_top", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist", "r_hip", "r_knee",
    "r_ankle", "l_hip", "l_knee", "l_ankle", "pelvis", "spine", "head",
)  # fmt: skip
MEANING = {
    "Hip": "pelvis", "RHip": "r_hip", "RKnee": "r_knee", "RFoot": "r_ankle", "LHip": "l_hip", "LKnee": "l_knee",
    "LFoot": "l_ankle", "Spine": "spine", "Thorax": "neck", "Neck/Nose": "head", "Head": "head_top",
    "LShoulder": "l_shoulder", "LElbow": "l_elbow", "LWrist": "l_wrist", "RShoulder": "r_shoulder",
    "RElbow": "r_elbow", "RWrist": "r_wrist",
}  # fmt: skip
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)  # at chest height and above, as everybody uses; not the ceiling's
ACTIVITIES = ("StandWalk", "Exercise", "SitOnChair", "ReachCrouch", "OnFloor", "Sports", "Misc")
NUM_FRAMES = {  # annotated frames of sequences 1 and 2; some files go on beyond them
    1: (6416, 12430), 2: (6502, 6081), 3: (12488, 12283), 4: (6171, 6675),
    5: (12820, 12312), 6: (6188, 6145), 7: (6239, 6320), 8: (6468, 6054),
}  # fmt: skip
# Third-party loaders found left and right exchanged in these rows of S4, sequence 2.
SWAPPED = (4, 2, range(3759, 5853))


def convert_mpi_inf_3dhp(source: Path, request: Request, every: int = 5) -> Summary:
    """Write what a folder holds of S1 .. S8 (every so many-th frame) and TS1 .. TS6 (the valid frames)."""
    if every < 1:
        raise ConfigError(f"--every is {every}; it has to be 1 or more")
    recordings: list[Recording] = []
    for subject in range(1, 9):
        for sequence in (1, 2):
            folder = source / f"S{subject}" / f"Seq{sequence}"
            if folder.is_dir():
                recordings += _train_recordings(folder, subject, sequence, every)
    for number in range(1, 7):
        if (source / f"TS{number}").is_dir():
            recordings += _test_recordings(source / f"TS{number}", number)
    if not recordings:
        raise DataError(f"{source}: holds neither S1/Seq1 .. S8/Seq2 nor TS1 .. TS6")
    return convert(recordings, request, {"from": str(source.resolve()), "every": every})


def _train_recordings(folder: Path, subject: int, sequence: int, every: int) -> list[Recording]:
    annotation = existing(folder / "annot.mat", "the poses of the sequence")
    cameras = read_calibration(existing(folder / "camera.calibration", "the cameras of the sequence"))
    rows = range(0, NUM_FRAMES[subject][sequence - 1], every)
    present = [at for at in CAMERAS if (folder / f"imageSequence/video_{at}.avi").exists()]
    if not present:
        raise DataError(f"{folder}/imageSequence: has none of the videos video_{{{','.join(map(str, CAMERAS))}}}.avi")
    missing = [at for at in present if at not in cameras]
    if missing:
        raise DataError(f"{folder}/camera.calibration: has no camera {missing[0]}")
    return [_AviFrames(folder, annotation, subject, sequence, at, cameras[at], rows) for at in present]


@dataclass(frozen=True, eq=False)
class _AviFrames:
    """One camera's view of a training sequence. Implements `conversion.Recording`."""

    folder: Path
    annotation: Path
    subject: int
    sequence: int
    camera_number: int
    camera: Camera
    rows: range

    @property
    def name(self) -> str:
        """`S4_Seq_2.0`, as the images are called."""
        return f"S{self.subject}_Seq_{self.sequence}.{self.camera_number}"

    @property
    def split(self) -> str:
        """Always 'train'."""
        return "train"

    @property
    def num_images(self) -> int:
        """Without the rows that are left out."""
        return len(self._good_rows())

    def _good_rows(self) -> list[int]:
        swapped = SWAPPED[2] if (self.subject, self.sequence) == SWAPPED[:2] else range(0)
        return [row for row in self.rows if row not in swapped]

    def frames(self, notes: list[str]) -> Iterator[Frame]:
        """As `conversion.Recording` says."""
        camera_mm, image_px = self._joints(notes)
        wanted = [row for row in self._good_rows() if row < len(camera_mm)]
        if len(wanted) < len(self.rows):
            notes.append(
                f"{self.name}: {len(self.rows) - len(wanted)} frames left out, without poses or with sides exchanged"
            )
        video, last = self.folder / f"imageSequence/video_{self.camera_number}.avi", -1
        for row, picture in read_frames(video, wanted):
            last = row
            yield Frame(
                file_name=f"{self.name}_{row + 1:06d}.jpg",
                picture=picture,
                joints_image_px=image_px[row],
                joints_camera_mm=camera_mm[row],
                camera=self.camera,
                subject=f"S{self.subject}",
                action="Seq",
                sub_action=self.sequence,
                frame=row + 1,
            )
        missing = sum(row > last for row in wanted)
        if missing:
            notes.append(f"{video}: ends before its poses; stopped there, {missing} images are missing")

    def _joints(self, notes: list[str]) -> tuple[Array, Array]:
        """(n, 17, 3) mm and (n, 17, 2) px."""
        content = read_mat(self.annotation)
        try:
            camera_mm, image_px = (
                np.asarray(content[key].reshape(-1)[self.camera_number], np.float64).reshape(-1, len(TRAIN_NAMES), axes)
                for key, axes in (("annot3", 3), ("annot2", 2))
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{self.annotation}: has no annot2 and annot3 of 28 joints a camera: {error!r}") from None
        length = min(len(camera_mm), len(image_px), NUM_FRAMES[self.subject][self.sequence - 1])
        order = _order(TRAIN_NAMES)
        camera_mm, image_px = camera_mm[:length, order], image_px[:length, order]
        _check_sides(camera_mm, self.annotation)
        residual_px = float(np.abs(self.camera.camera_to_image_px(camera_mm) - image_px).max(initial=0))
        notes.append(f"{self.name}: 3D projected through the camera meets the stored 2D within {residual_px:.2g} px")
        return camera_mm, image_px


def _test_recordings(folder: Path, number: int) -> list[Recording]:
    path = existing(folder / "annot_data.mat", "the poses of the sequence")
    content = read_hdf5(path, ("annot2", "annot3", "valid_frame", "activity_annotation"))
    missing = [key for key in ("annot2", "annot3", "valid_frame", "activity_annotation") if key not in content]
    if missing:
        raise DataError(f"{path}: has no '{missing[0]}'")
    num_frames = content["valid_frame"].size
    require_shape(content["annot2"], (num_frames, 1, 17, 2), f"{path}: 'annot2'")
    require_shape(content["annot3"], (num_frames, 1, 17, 3), f"{path}: 'annot3'")
    rows = np.flatnonzero(content["valid_frame"].reshape(-1))
    order = _order(TEST_NAMES)
    camera_mm = content["annot3"][rows, 0][:, order].astype(np.float64)
    image_px = content["annot2"][rows, 0][:, order].astype(np.float64)
    _check_sides(camera_mm, path)
    width_px, height_px = (2048, 2048) if number <= 4 else (1920, 1080)
    camera = fit_pinhole(camera_mm, image_px, width_px, height_px)
    residual_px = float(np.abs(camera.camera_to_image_px(camera_mm) - image_px).max(initial=0))
    activities = content["activity_annotation"].reshape(-1)[rows].astype(int)
    if activities.size and not ((activities >= 1) & (activities <= len(ACTIVITIES))).all():
        raise DataError(f"{path}: 'activity_annotation' goes beyond 1 .. {len(ACTIVITIES)}")
    actions = [ACTIVITIES[activity - 1] for activity in activities]
    note = f"TS{number}: no calibration; a pinhole fitted to its joints meets the stored 2D within {residual_px:.2g} px"
    return [
        Stills(
            name=f"TS{number}",
            split="valid",
            paths=[folder / f"imageSequence/img_{row + 1:06d}.jpg" for row in rows],
            file_names=[f"TS{number}_{action}.0_{row + 1:06d}.jpg" for action, row in zip(actions, rows, strict=True)],
            frame_numbers=[int(row) + 1 for row in rows],
            joints_image_px=image_px,
            joints_camera_mm=camera_mm,
            camera=camera,
            subject=f"TS{number}",
            actions=actions,
            sub_action=0,
            notes=(note,),
        )
    ]


def read_calibration(path: Path) -> dict[int, Camera]:
    """The cameras of a camera.calibration file; they have no distortion."""
    entries: list[dict[str, list[str]]] = []
    try:
        for line in path.read_text("utf-8").splitlines():
            key, *values = line.split() or [""]
            if key == "name":
                entries.append({})
            if entries and key:
                entries[-1][key] = values
        return {int(entry["name"][0]): _calibrated(entry) for entry in entries}
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise DataError(f"{path}: is not a camera.calibration file of MPI-INF-3DHP: {error!r}") from None


def _calibrated(entry: dict[str, list[str]]) -> Camera:
    """x_camera = R x_world + t in mm."""
    intrinsic, extrinsic = (np.array(entry[key], dtype=np.float64).reshape(4, 4) for key in ("intrinsic", "extrinsic"))
    rotation = extrinsic[:3, :3]
    return Camera(
        rotation=rotation,
        center_world_mm=-rotation.T @ extrinsic[:3, 3],
        focal_px=np.array([intrinsic[0, 0], intrinsic[1, 1]]),
        principal_px=intrinsic[:2, 2],
        radial=np.zeros(3),
        tangential=np.zeros(2),
        width_px=int(entry["size"][0]),
        height_px=int(entry["size"][1]),
    )


def fit_pinhole(joints_camera_mm: Array, joints_image_px: Array, width_px: int, height_px: int) -> Camera:
    """The pinhole that maps (n, J, 3) mm to (n, J, 2) px with the least squared distance, axis by axis."""
    focal_px, principal_px = np.zeros(2), np.zeros(2)
    for axis in (0, 1):
        ratio = (joints_camera_mm[..., axis] / joints_camera_mm[..., 2]).reshape(-1)
        terms = np.stack([ratio, np.ones_like(ratio)], axis=1)
        solution = np.linalg.lstsq(terms, joints_image_px[..., axis].reshape(-1), rcond=None)[0]
        focal_px[axis], principal_px[axis] = solution
    return Camera(np.eye(3), np.zeros(3), focal_px, principal_px, np.zeros(3), np.zeros(2), width_px, height_px)


def _order(names: tuple[str, ...]) -> tuple[int, ...]:
    return joint_order(names, [MEANING[name] for name in HUMAN36M.names])


def _check_sides(joints_mm: Array, path: Path) -> None:
    """Raise DataError where left and right are not where the names say."""
    if len(joints_mm):
        order_of_poses(joints_mm, "official", str(path))
