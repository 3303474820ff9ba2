"""Human3.6M's official download -> the course layout: each video decoded once, in parallel over videos."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from integral_pose.contracts import Array
from integral_pose.datasets.conversion import ConversionSummary, Request, check_disk_space, convert, disk_error
from integral_pose.datasets.human36m_files import OPTIONAL_KINDS, Download, Item, look_through, unpack
from integral_pose.datasets.human36m_metadata import read_cameras
from integral_pose.datasets.human36m_pictures import find_camera
from integral_pose.datasets.human36m_table import DRIFT_WORLD_MM, Choice, ChosenFrames, Sequence36M, list_videos
from integral_pose.datasets.recording import VideoRecording
from integral_pose.errors import DataError
from integral_pose.io.parallel import run_tasks
from integral_pose.io.readers import optional

NUM_STORED_JOINTS = 32
# Of the 32 stored joints the 17 of the skeleton, in its order.
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
LARGEST_RESIDUAL_PX = 1.0  # the stored 2D is the projected 3D to 1e-4 px


def convert_human36m(
    source: Path, request: Request, choice: Choice, table: Sequence[Sequence36M] | None = None
) -> ConversionSummary:
    """Write the chosen frames of the download in `source`; `table` replaces the packaged list of sequences."""
    request.check()
    videos = list_videos(choice, table)
    download = look_through(source)
    _unpack_archives(download, videos, request)
    cameras = read_cameras(download.metadata) if download.metadata else {}
    recordings = []
    for video in videos:
        poses, poses_2d, pictures = _paths(download, video)
        camera = find_camera(cameras, video.sequence.subject, video.camera_id)
        recordings.append(
            Human36MVideo(
                video.name, video.split, pictures, video.rows, camera, video.sequence, poses, poses_2d,
                is_corrected=video.sequence.is_drifted and choice.drifted == "correct",
            )
        )  # fmt: skip
    settings = {"from": str(source.resolve()), **asdict(choice), "subjects": list(choice.subjects)}
    return convert(recordings, request, settings)


def _unpack_archives(download: Download, videos: Sequence[ChosenFrames], request: Request) -> None:
    """Unpack what the videos need beside the unfinished output; later starts find it there."""
    pending = []
    for subject, kind in download.archives_for(dict.fromkeys(video.sequence.subject for video in videos)):
        items = [Item(subject, kind, v.sequence.base, v.camera_id) for v in videos if v.sequence.subject == subject]
        target = request.unfinished / "unpacked" / subject / kind
        download.files |= {item: target / item.file_name for item in items}
        if not target.exists():
            pending.append((download.archives[subject, kind], subject, kind, [i.file_name for i in items], target))
    if not pending:
        return
    try:
        request.unfinished.mkdir(parents=True, exist_ok=True)
        # Videos do not shrink in an archive; poses do, but are small beside them.
        check_disk_space(request.unfinished, sum(archive.stat().st_size for archive, *_ in pending) * 5 // 4)
        run_tasks(_unpack, pending, request.workers, unit="archives", title="unpacking",
                  show_progress=request.show_progress)  # fmt: skip
    except OSError as error:
        raise disk_error(error, request.out) from None


def _unpack(task: tuple[Path, str, str, list[str], Path]) -> None:
    unpack(*task)


def _paths(download: Download, video: ChosenFrames) -> tuple[Path, Path | None, Path]:
    """3D poses, 2D poses and pictures of a video; the 2D poses may be missing."""
    found: dict[str, Path] = {}
    for kind in ("D3_Positions_mono", "D2_Positions", "Videos"):
        item = Item(video.sequence.subject, kind, video.sequence.base, video.camera_id)
        path = download.files.get(item)
        if path and path.exists():
            found[kind] = path
        elif kind not in OPTIONAL_KINDS:
            raise DataError(
                f"{path or download.folder}: the file {item.file_name} of {item.subject}, {kind}, is missing; the "
                "download is not complete"
            )
    return found["D3_Positions_mono"], found.get("D2_Positions"), found["Videos"]


@dataclass(frozen=True, eq=False)
class Human36MVideo(VideoRecording):
    """The chosen frames of a video."""

    sequence: Sequence36M
    poses: Path
    poses_2d: Path | None
    is_corrected: bool  # displaced 3D is moved back

    def read_joints(self, notes: list[str]) -> tuple[Array, Array]:
        """As `VideoRecording` says, with what is known to be wrong corrected where that was asked for."""
        joints_camera_mm = read_poses(self.poses, 3)
        if len(joints_camera_mm) != self.sequence.pose_frames:
            notes.append(
                f"{self.poses}: has {len(joints_camera_mm)} poses, {self.sequence.pose_frames} are known; "
                "stopped at the shorter"
            )
        if self.is_corrected:
            moved_mm = self.camera.camera_to_world(joints_camera_mm) + DRIFT_WORLD_MM
            joints_camera_mm = self.camera.world_to_camera(moved_mm)
            notes.append(f"{self.name}: displaced 3D corrected by {DRIFT_WORLD_MM[0]:g} mm along the world's x axis")
            return joints_camera_mm, self.camera.camera_to_image_px(joints_camera_mm)
        if self.sequence.is_drifted:
            notes.append(f"{self.name}: its 3D is known to be displaced by about 200 mm; see --drifted")
        projected_px = self.camera.camera_to_image_px(joints_camera_mm)
        if self.poses_2d is None:
            return joints_camera_mm, projected_px
        stored_px = self._read_2d(self.poses_2d, projected_px)
        return joints_camera_mm[: len(stored_px)], stored_px

    def _read_2d(self, path: Path, projected_px: Array) -> Array:
        """The stored 2D joints, as far as there is 3D. Raises DataError where they are not the projected 3D."""
        stored_px = read_poses(path, 2)[: len(projected_px)]
        residual_px = float(np.abs(projected_px[: len(stored_px)] - stored_px).max(initial=0))
        if not residual_px <= LARGEST_RESIDUAL_PX:
            raise DataError(
                f"{path}: misses the projected 3D of {self.poses} by up to {residual_px:.1f} px; "
                "the two are not of one recording"
            )
        return stored_px


def read_poses(path: Path, axes: int) -> Array:
    """(n, 17, axes) of a CDF file of Human3.6M: 3 axes in mm, 2 in px. Raises DataError naming the file."""
    try:
        file = optional("cdflib").CDF(path)
        names = file.cdf_info().zVariables + file.cdf_info().rVariables
        poses = np.asarray(file.varget("Pose"), dtype=np.float64) if "Pose" in names else None
    except DataError:
        raise
    except Exception as error:  # cdflib has no errors of its own; damaged files raise anything
        raise DataError(f"{path}: is damaged or no CDF file ({error}); fetch it again") from None
    if poses is None:
        raise DataError(f"{path}: has no variable 'Pose'; it has: {', '.join(names) or 'nothing'}")
    if poses.ndim not in (2, 3) or poses.shape[-1] != NUM_STORED_JOINTS * axes or not np.isfinite(poses).all():
        raise DataError(
            f"{path}: 'Pose' has the shape {poses.shape}, expected finite numbers of shape "
            f"(1, n, {NUM_STORED_JOINTS * axes})"
        )
    return poses.reshape(-1, NUM_STORED_JOINTS, axes)[:, JOINTS]
