"""Human3.6M's official download -> the course layout: each video decoded once, in parallel over videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from integral_pose.datasets.conversion import (
    Frame,
    Request,
    Summary,
    check_disk_space,
    convert,
    explain,
)
from integral_pose.datasets.human36m_files import Download, Item, look_through, unpack
from integral_pose.datasets.human36m_metadata import read_cameras
from integral_pose.datasets.human36m_table import DRIFT_WORLD_MM, Choice, Sequence36M, Video, list_videos
from integral_pose.datasets.video import read_frames
from integral_pose.errors import DataError
from integral_pose.geometry.camera import Camera, human36m_camera
from integral_pose.io.parallel import as_finished
from integral_pose.io.readers import optional

Array = NDArray[np.float64]

NUM_STORED_JOINTS = 32
# Of the 32 stored joints, the 17 that move on their own, in the official order.
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
LARGEST_RESIDUAL_PX = 1.0  # the official 2D is the projected 3D to 1e-4 px


def convert_human36m(
    source: Path, request: Request, choice: Choice, table: Sequence[Sequence36M] | None = None
) -> Summary:
    """Write the chosen frames of the download in `source`; `table` replaces the packaged list of sequences."""
    request.check()
    videos = list_videos(choice, table)
    download = look_through(source)
    _unpack_archives(download, videos, request)
    cameras = read_cameras(download.metadata) if download.metadata else None
    recordings = [_VideoFrames(video, *_paths(download, video), _camera_of(video, cameras), choice) for video in videos]
    settings = {"from": str(source.resolve()), **asdict(choice), "subjects": list(choice.subjects)}
    return convert(recordings, request, settings)


def _unpack_archives(download: Download, videos: Sequence[Video], request: Request) -> None:
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
        with (
            tqdm(total=len(pending), unit=" archives", desc="unpacking", disable=not request.show_progress) as progress,
            as_finished(_unpack, pending, request.workers) as results,
        ):
            for _ in results:
                progress.update()
    except OSError as error:
        raise explain(error, request.out) from None


def _unpack(task: tuple[Path, str, str, list[str], Path]) -> None:
    unpack(*task)


def _paths(download: Download, video: Video) -> tuple[Path, Path | None, Path]:
    """3D poses, 2D poses and pictures of a video; the 2D poses may be missing."""
    poses, poses_2d, pictures = (
        _find(download, video, kind) for kind in ("D3_Positions_mono", "D2_Positions", "Videos")
    )
    if poses is None or pictures is None:
        kind = "Videos" if poses else "D3_Positions_mono"
        item = Item(video.sequence.subject, kind, video.sequence.base, video.camera_id)
        raise DataError(
            f"{download.files.get(item, download.folder)}: the file {item.file_name} of {item.subject}, {kind}, is "
            "missing; the download is not complete"
        )
    return poses, poses_2d, pictures


def _find(download: Download, video: Video, kind: str) -> Path | None:
    path = download.files.get(Item(video.sequence.subject, kind, video.sequence.base, video.camera_id))
    return path if path is not None and path.exists() else None


def _camera_of(video: Video, cameras: dict[tuple[str, str], Camera] | None) -> Camera:
    key = (video.sequence.subject, video.camera_id)
    return cameras[key] if cameras is not None else human36m_camera(*key)


@dataclass(frozen=True, eq=False)
class _VideoFrames:
    """The chosen frames of a video. Implements `conversion.Recording`."""

    video: Video
    poses: Path
    poses_2d: Path | None
    video_file: Path
    camera: Camera
    choice: Choice

    @property
    def name(self) -> str:
        """`S1_Directions_1.54138969`."""
        return self.video.sequence.image_name(self.video.camera_id, 0).rpartition("_")[0]

    @property
    def split(self) -> str:
        """'train' or 'valid'."""
        return self.video.split

    @property
    def num_images(self) -> int:
        """As the table has it; a shorter video gives fewer."""
        return len(self.video.rows)

    def frames(self, notes: list[str]) -> Iterator[Frame]:
        """As `conversion.Recording` says."""
        joints_camera_mm, joints_image_px = self._joints(notes)
        wanted = [row for row in self.video.rows if row < len(joints_camera_mm)]
        sequence, last = self.video.sequence, -1
        for row, picture in read_frames(self.video_file, wanted):
            last = row
            yield Frame(
                file_name=sequence.image_name(self.video.camera_id, row),
                picture=picture,
                joints_image_px=joints_image_px[row],
                joints_camera_mm=joints_camera_mm[row],
                camera=self.camera,
                subject=sequence.subject,
                action=sequence.action,
                sub_action=sequence.sub_action,
                frame=row + 1,
            )
        missing = sum(row > last for row in wanted)
        if missing:
            notes.append(
                f"{self.video_file}: ends before its poses; stopped there, {missing} of {len(self.video.rows)} images "
                "are missing"
            )

    def _joints(self, notes: list[str]) -> tuple[Array, Array]:
        """(n, 17, 3) mm and (n, 17, 2) px of every pose row, put right where that was asked for."""
        joints_camera_mm = read_poses(self.poses, 3)
        if len(joints_camera_mm) != self.video.sequence.pose_frames:
            notes.append(
                f"{self.poses}: has {len(joints_camera_mm)} poses, {self.video.sequence.pose_frames} are known; "
                "stopped at the shorter"
            )
        if self.video.sequence.is_drifted and self.choice.drifted == "correct":
            moved_mm = self.camera.camera_to_world(joints_camera_mm) + DRIFT_WORLD_MM
            joints_camera_mm = self.camera.world_to_camera(moved_mm)
            notes.append(f"{self.name}: displaced 3D corrected by {DRIFT_WORLD_MM[0]:g} mm along the world's x axis")
            return joints_camera_mm, self.camera.camera_to_image_px(joints_camera_mm)
        if self.video.sequence.is_drifted:
            notes.append(f"{self.name}: its 3D is known to be displaced by about 200 mm; see --drifted")
        projected_px = self.camera.camera_to_image_px(joints_camera_mm)
        if self.poses_2d is None:
            return joints_camera_mm, projected_px
        return self._check_2d(joints_camera_mm, projected_px, read_poses(self.poses_2d, 2))

    def _check_2d(self, joints_camera_mm: Array, projected_px: Array, stored_px: Array) -> tuple[Array, Array]:
        length = min(len(projected_px), len(stored_px))
        residual_px = float(np.abs(projected_px[:length] - stored_px[:length]).max(initial=0))
        if not residual_px <= LARGEST_RESIDUAL_PX:
            raise DataError(
                f"{self.poses_2d}: misses the projected 3D of {self.poses} by up to {residual_px:.1f} px; "
                "the two are not of one recording"
            )
        return joints_camera_mm[:length], stored_px[:length]


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
