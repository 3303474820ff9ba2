"""Where poses go: poses.json, poses.csv, overlays and figures of a folder, each there whole or not at all."""

import csv
import io
import json
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from integral_pose.geometry.crop import rectangle_round_box
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.resampling import resample_rectangle
from integral_pose.predict.pose_model import PersonPose
from integral_pose.predict.sources import NamedPicture
from integral_pose.predict.videos import OverlayVideo
from integral_pose.report.canvas import Picture, write_png
from integral_pose.report.pose_figures import PoseView, draw_people, draw_poses
from integral_pose.skeleton import Skeleton
from integral_pose.weights.model_file import ModelDescription

COLUMNS = (
    "file", "frame", "person", "joint", "x_mm", "y_mm", "z_mm", "x_px", "y_px", "confidence", "entropy",
    "camera_x_mm", "camera_y_mm", "camera_z_mm", "box_x", "box_y", "box_w", "box_h", "placement", "sigma_mm",
    "time_s",
)  # fmt: skip
PEOPLE_A_FIGURE = 20  # a row each
FIGURE_CROP_PX = 256


class ResultFolder:
    """Takes pictures with their poses one by one; `write` makes the tables. A video's overlay ends with the stack."""

    def __init__(
        self, out: Path, description: ModelDescription, stack: ExitStack, rate: Fraction | None, with_pictures: bool
    ) -> None:
        self.out, self.skeleton = out, description.skeleton
        self._stack, self._rate, self._with_pictures = stack, rate, with_pictures
        self._overlay: OverlayVideo | None = None
        self._images: list[dict[str, Any]] = []
        self.num_people = 0

    @property
    def num_images(self) -> int:
        """How many pictures were added."""
        return len(self._images)

    def add(self, picture: NamedPicture, poses: Sequence[PersonPose], boxes_from: str) -> None:
        """Keep the poses of a picture for the tables and draw them."""
        height_px, width_px = picture.pixels.shape[:2]
        entry: dict[str, Any] = {"file": picture.name}
        if picture.number is not None:
            entry["frame"] = picture.number
            entry["time_s"] = None if picture.time_s is None else round(picture.time_s, 6)
        entry |= {"width_px": width_px, "height_px": height_px, "boxes_from": boxes_from}
        self._images.append({**entry, "people": [_as_json(pose) for pose in poses]})
        self.num_people += len(poses)
        if self._with_pictures:
            self._draw(picture, poses)

    def write(self, source: str, model: str, faults: Sequence[str]) -> None:
        """poses.json and poses.csv."""
        content = {
            "model": model,
            "source": source,
            "axes": "camera: x right, y down, z forward; joints_camera_mm are from the root joint",
            "joints": list(self.skeleton.names),
            "parents": self.skeleton.parent_names,
            "images": self._images,
            "not_read": list(faults),
        }
        write_text_atomic(self.out / "poses.json", json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in self._images:
            for number, person in enumerate(entry["people"], start=1):
                writer.writerows(_rows(entry, number, person, self.skeleton))
        write_text_atomic(self.out / "poses.csv", table.getvalue())

    def _draw(self, picture: NamedPicture, poses: Sequence[PersonPose]) -> None:
        overlay = draw_people(
            picture.pixels,
            [pose.joints_image_px for pose in poses],
            [pose.box_image_px for pose in poses],
            self.skeleton,
            [_label(number, pose) for number, pose in enumerate(poses, start=1)],
        )
        name = picture.name.removeprefix("./")
        if self._rate is None:
            write_png(self.out / "overlays" / f"{name}.png", overlay)
            self._draw_figure(self.out / "figures" / f"{name}.png", overlay, poses)
            return
        if self._overlay is None:
            path = self.out / "overlays" / f"{Path(name).stem}.mp4"
            self._overlay = self._stack.enter_context(OverlayVideo.writing(path, self._rate))
        self._overlay.add(overlay)
        assert picture.number is not None, "frames of a video are numbered"
        if picture.number % max(1, round(self._rate)) == 0:
            self._draw_figure(self.out / "figures" / f"{name}.{picture.number:06d}.png", overlay, poses)

    def _draw_figure(self, path: Path, overlay: Picture, poses: Sequence[PersonPose]) -> None:
        views = []
        for number, pose in enumerate(poses[:PEOPLE_A_FIGURE], start=1):
            around = rectangle_round_box(pose.box_image_px, 1.2, 1.0)
            confidence = "" if pose.confidence is None else f", mean confidence {pose.confidence.mean():.2f}"
            title = f"person {number}{confidence}\nplaced by: {pose.placement}"
            image = resample_rectangle(overlay, around, FIGURE_CROP_PX, FIGURE_CROP_PX)
            views.append(PoseView(image, predicted_camera_mm=pose.joints_camera_mm, title=title))
        if views:
            write_png(path, draw_poses(views, self.skeleton))


def _label(number: int, pose: PersonPose) -> str:
    """The person's number in the tables, and how sure the network is, where it says so."""
    return str(number) if pose.confidence is None else f"{number}: {pose.confidence.mean():.2f}"


def _as_json(pose: PersonPose) -> dict[str, Any]:
    def rounded(values: Any, places: int) -> Any:
        return None if values is None else np.round(values, places).tolist()

    return {
        "box_px": rounded(pose.box_image_px, 3),
        "placement": pose.placement,
        "root_camera_mm": rounded(pose.root_camera_mm, 3),
        "joints_camera_mm": rounded(pose.joints_camera_mm, 3),
        "joints_image_px": rounded(pose.joints_image_px, 3),
        "confidence": rounded(pose.confidence, 4),
        "entropy": rounded(pose.entropy, 4),
        "sigma_mm": rounded(pose.sigma_mm, 3),
    }


def _rows(entry: dict[str, Any], number: int, person: dict[str, Any], skeleton: Skeleton) -> list[list[Any]]:
    rows = []
    root_mm, time_s = person["root_camera_mm"], entry.get("time_s")
    for joint, name in enumerate(skeleton.names):
        relative_mm, joint_px = person["joints_camera_mm"][joint], person["joints_image_px"][joint]
        camera_mm = (
            [""] * 3 if root_mm is None else [round(a + b, 3) for a, b in zip(relative_mm, root_mm, strict=True)]
        )
        certainty, sigma_mm = (
            ["" if person[key] is None else person[key][joint] for key in keys]
            for keys in (("confidence", "entropy"), ("sigma_mm",))
        )
        rows.append([
            entry["file"], entry.get("frame", ""), number, name, *relative_mm, *joint_px, *certainty,
            *camera_mm, *person["box_px"], person["placement"], *sigma_mm, time_s,
        ])  # fmt: skip
    return rows
