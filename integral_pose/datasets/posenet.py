"""Human3.6M as released with 3DMPPE (PoseNet): JSON annotations in world mm, uncropped pictures of every frame."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from integral_pose.contracts import Array
from integral_pose.datasets.conversion import ConversionSummary, Request, convert
from integral_pose.datasets.human36m_table import DRIFT_WORLD_MM, Choice, ChosenFrames, Sequence36M, list_videos
from integral_pose.datasets.recording import PictureRecording, image_name
from integral_pose.errors import DataError
from integral_pose.geometry.camera import CAMERA_IDS, human36m_camera
from integral_pose.geometry.sides import require_official_order
from integral_pose.io.readers import existing, read_json
from integral_pose.io.untrusted import inside

CAMERA_TOLERANCE_MM = 1.0


def convert_posenet(
    source: Path, request: Request, choice: Choice, table: Sequence[Sequence36M] | None = None
) -> ConversionSummary:
    """Write the chosen frames of a folder that holds annotations/ and images/; `table` as for `human36m`.

    The lens distortion that the JSON leaves out comes from the packaged cameras, once they have been found to be
    the same otherwise.
    """
    videos = list_videos(choice, table)
    recordings: list[PictureRecording] = []
    for subject in dict.fromkeys(video.sequence.subject for video in videos):
        annotations = _Annotations(source, subject)
        found = [annotations.recording(v, choice) for v in videos if v.sequence.subject == subject]
        of_subject = [recording for recording in found if recording is not None]
        if of_subject:  # sides are told from many poses, not from one sequence of sitting on the floor
            joints_mm = np.concatenate([recording.joints_camera_mm for recording in of_subject])
            require_official_order(joints_mm, str(annotations.joint_path))
        recordings += of_subject
    settings = {"from": str(source.resolve()), **asdict(choice), "subjects": list(choice.subjects)}
    return convert(recordings, request, settings)


class _Annotations:
    """The three JSON files of a subject."""

    def __init__(self, source: Path, subject: str) -> None:
        self.subject, self.images = subject, source / "images"
        start = f"Human36M_subject{subject[1:]}"
        self.data_path, self.camera_path, self.joint_path = (
            existing(source / "annotations" / f"{start}_{part}.json", f"part of the annotations of {subject}")
            for part in ("data", "camera", "joint_3d")
        )
        self.file_names = self._index_images()
        self.joints: dict[str, Any] = read_json(self.joint_path)
        self._check_cameras()

    def _index_images(self) -> dict[tuple[int, int, int, int], str]:
        """(action, sub-action, camera, frame from 0) -> file name."""
        try:
            return {
                (entry["action_idx"], entry["subaction_idx"], entry["cam_idx"], entry["frame_idx"]): entry["file_name"]
                for entry in read_json(self.data_path)["images"]
            }
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.data_path}: is not 3DMPPE's list of images: {error!r}") from None

    def _check_cameras(self) -> None:
        """Two meanings of 't' are in circulation, -R T in the release and T from its own converter; both are known."""
        cameras = read_json(self.camera_path)
        for at, camera_id in enumerate(CAMERA_IDS, start=1):
            known = human36m_camera(self.subject, camera_id)
            try:
                rotation, t = (np.asarray(cameras[str(at)][key], dtype=np.float64) for key in ("R", "t"))
                fits = np.allclose(rotation, known.rotation, atol=1e-4) and any(
                    np.abs(t.reshape(3) - meaning).max() < CAMERA_TOLERANCE_MM
                    for meaning in (-known.rotation @ known.center_world_mm, known.center_world_mm)
                )
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{self.camera_path}: has no camera {at} with R and t: {error!r}") from None
            if not fits:
                raise DataError(
                    f"{self.camera_path}: camera {at} is not Human3.6M's camera {camera_id} of {self.subject}"
                )

    def recording(self, video: ChosenFrames, choice: Choice) -> PictureRecording | None:
        """The chosen frames of a video; None where the release has none of them."""
        sequence = video.sequence
        key = (sequence.action_id, sequence.sub_action, CAMERA_IDS.index(video.camera_id) + 1)
        rows = [row for row in video.rows if (*key, row) in self.file_names]
        if not rows:
            return None
        camera = human36m_camera(self.subject, video.camera_id)
        world_mm = self._joints_world_mm(sequence, rows)
        if sequence.is_drifted and choice.drifted == "correct":
            world_mm = world_mm + np.array(DRIFT_WORLD_MM)
        camera_mm = camera.world_to_camera(world_mm)
        notes = () if len(rows) == len(video.rows) else (
            f"{self.data_path}: {len(video.rows) - len(rows)} of {len(video.rows)} frames of "
            f"{sequence.base}.{video.camera_id} are not listed; left out",
        )  # fmt: skip
        return PictureRecording(
            name=video.name,
            split=video.split,
            paths=[inside(self.images, self.file_names[(*key, row)], self.data_path) for row in rows],
            file_names=[image_name(video.name, row) for row in rows],
            joints_image_px=camera.camera_to_image_px(camera_mm),
            joints_camera_mm=camera_mm,
            camera=camera,
            notes=notes,
        )

    def _joints_world_mm(self, sequence: Sequence36M, rows: Sequence[int]) -> Array:
        """(n, 17, 3)."""
        try:
            frames = self.joints[str(sequence.action_id)][str(sequence.sub_action)]
            return np.array([frames[str(row)] for row in rows], dtype=np.float64).reshape(len(rows), 17, 3)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.joint_path}: has no 17 joints for a frame of action {sequence.action_id}, sub-action "
                f"{sequence.sub_action}: {error!r}"
            ) from None
