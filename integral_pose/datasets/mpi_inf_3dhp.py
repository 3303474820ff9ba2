"""MPI-INF-3DHP: the raw training set (videos, annot.mat) and the test set (pictures, MATLAB 7.3).

Its joints are mapped to Human3.6M's by name. Not quite the same points: its head and head top stand for Neck/Nose
and Head, its neck for the thorax, and its hips lie farther out.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from integral_pose.contracts import Array
from integral_pose.datasets.conversion import ConversionSummary, Request, convert
from integral_pose.datasets.recording import PictureRecording, Recording, VideoRecording, image_name
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.sides import require_official_order
from integral_pose.io.readers import existing, read_all_lines, read_hdf5, read_mat, require_shape
from integral_pose.skeleton import HUMAN36M, joint_order

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
TRAIN_ORDER, TEST_ORDER = (
    joint_order(names, [MEANING[name] for name in HUMAN36M.names]) for names in (TRAIN_NAMES, TEST_NAMES)
)
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)  # at chest height and above, as everybody uses; not the ceiling's
ACTIVITIES = ("StandWalk", "Exercise", "SitOnChair", "ReachCrouch", "OnFloor", "Sports", "Misc")
NUM_FRAMES = {  # annotated frames of sequences 1 and 2; some files go on beyond them
    1: (6416, 12430), 2: (6502, 6081), 3: (12488, 12283), 4: (6171, 6675),
    5: (12820, 12312), 6: (6188, 6145), 7: (6239, 6320), 8: (6468, 6054),
}  # fmt: skip
# Third-party loaders found left and right exchanged in these rows of S4, sequence 2.
SWAPPED = (4, 2, range(3759, 5853))


def convert_mpi_inf_3dhp(source: Path, request: Request, every: int = 5) -> ConversionSummary:
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
            recordings += [_test_recording(source / f"TS{number}", number)]
    if not recordings:
        raise DataError(f"{source}: holds neither S1/Seq1 .. S8/Seq2 nor TS1 .. TS6")
    return convert(recordings, request, {"from": str(source.resolve()), "every": every})


def _train_recordings(folder: Path, subject: int, sequence: int, every: int) -> list[Recording]:
    annotation = existing(folder / "annot.mat", "the poses of the sequence")
    cameras = read_calibration(existing(folder / "camera.calibration", "the cameras of the sequence"))
    every_nth = range(0, NUM_FRAMES[subject][sequence - 1], every)
    rows = [row for row in every_nth if (subject, sequence) != SWAPPED[:2] or row not in SWAPPED[2]]
    videos = {at: folder / f"imageSequence/video_{at}.avi" for at in CAMERAS}
    present = [at for at in CAMERAS if videos[at].exists()]
    if not present:
        raise DataError(f"{folder}/imageSequence: has none of the videos video_{{{','.join(map(str, CAMERAS))}}}.avi")
    missing = [at for at in present if at not in cameras]
    if missing:
        raise DataError(f"{folder}/camera.calibration: has no camera {missing[0]}")
    return [
        TrainingVideo(f"S{subject}_Seq_{sequence}.{at}", "train", videos[at], rows, cameras[at], annotation, at,
                      num_frames=NUM_FRAMES[subject][sequence - 1], num_swapped=len(every_nth) - len(rows))
        for at in present
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrainingVideo(VideoRecording):
    """One camera's view of a training sequence."""

    annotation: Path
    camera_number: int
    num_frames: int  # that are annotated
    num_swapped: int  # frames that are not among `rows`, since left and right are exchanged there

    def read_joints(self, notes: list[str]) -> tuple[Array, Array]:
        """As `VideoRecording` says."""
        content = read_mat(self.annotation)
        try:
            camera_mm, image_px = (
                np.asarray(content[key].reshape(-1)[self.camera_number], np.float64).reshape(-1, len(TRAIN_NAMES), axes)
                for key, axes in (("annot3", 3), ("annot2", 2))
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{self.annotation}: has no annot2 and annot3 of 28 joints a camera: {error!r}") from None
        length = min(len(camera_mm), len(image_px), self.num_frames)
        camera_mm, image_px = camera_mm[:length, TRAIN_ORDER], image_px[:length, TRAIN_ORDER]
        _check_sides(camera_mm, self.annotation)
        residual_px = float(np.abs(self.camera.camera_to_image_px(camera_mm) - image_px).max(initial=0))
        notes.append(f"{self.name}: 3D projected through the camera meets the stored 2D within {residual_px:.2g} px")
        if left_out := self.num_swapped + sum(row >= length for row in self.rows):
            notes.append(f"{self.name}: {left_out} frames left out, without poses or with sides exchanged")
        return camera_mm, image_px


def _test_recording(folder: Path, number: int) -> Recording:
    path = existing(folder / "annot_data.mat", "the poses of the sequence")
    rows, actions, camera_mm, image_px = _read_test_set(path)
    _check_sides(camera_mm, path)
    camera = fit_pinhole(camera_mm, image_px, *((2048, 2048) if number <= 4 else (1920, 1080)))
    residual_px = float(np.abs(camera.camera_to_image_px(camera_mm) - image_px).max(initial=0))
    note = f"TS{number}: no calibration; a pinhole fitted to its joints meets the stored 2D within {residual_px:.2g} px"
    return PictureRecording(
        name=f"TS{number}",
        split="valid",
        paths=[folder / f"imageSequence/{image_name('img', row)}" for row in rows],
        file_names=[image_name(f"TS{number}_{action}.0", row) for action, row in zip(actions, rows, strict=True)],
        joints_image_px=image_px,
        joints_camera_mm=camera_mm,
        camera=camera,
        notes=(note,),
    )


def _read_test_set(path: Path) -> tuple[list[int], list[str], Array, Array]:
    """Of the n frames that count: rows from 0, actions, joints (n, 17, 3) mm and (n, 17, 2) px."""
    keys = ("annot2", "annot3", "valid_frame", "activity_annotation")
    content = read_hdf5(path, keys)
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{path}: has no '{missing[0]}'")
    num_frames = content["valid_frame"].size
    require_shape(content["annot2"], (num_frames, 1, 17, 2), f"{path}: 'annot2'")
    require_shape(content["annot3"], (num_frames, 1, 17, 3), f"{path}: 'annot3'")
    rows = np.flatnonzero(content["valid_frame"].reshape(-1))
    camera_mm, image_px = (content[key][rows, 0][:, TEST_ORDER].astype(np.float64) for key in ("annot3", "annot2"))
    activities = content["activity_annotation"].reshape(-1)[rows].astype(int).tolist()
    if not all(1 <= activity <= len(ACTIVITIES) for activity in activities):
        raise DataError(f"{path}: 'activity_annotation' goes beyond 1 .. {len(ACTIVITIES)}")
    return rows.tolist(), [ACTIVITIES[activity - 1] for activity in activities], camera_mm, image_px


def _check_sides(joints_mm: Array, path: Path) -> None:
    """Raise DataError where left and right are not where the names say."""
    if len(joints_mm):
        require_official_order(joints_mm, str(path))


def read_calibration(path: Path) -> dict[int, Camera]:
    """The cameras of a camera.calibration file; they have no distortion."""
    entries: list[dict[str, list[str]]] = []
    try:
        for line in read_all_lines(path):
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
    plane = joints_camera_mm[..., :2] / joints_camera_mm[..., 2:]
    lines = [np.polyfit(plane[..., axis].ravel(), joints_image_px[..., axis].ravel(), deg=1) for axis in (0, 1)]
    focal_px, principal_px = np.transpose(lines)
    return Camera(np.eye(3), np.zeros(3), focal_px, principal_px, np.zeros(3), np.zeros(2), width_px, height_px)
