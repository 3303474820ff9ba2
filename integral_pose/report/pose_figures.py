"""Pictures of poses: contact sheets, and people in photographs.

The right of the body is blue, the left vermilion, the middle green; a prediction is a thick solid line, the truth
thin and dashed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.patheffects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from integral_pose.contracts import FloatArray
from integral_pose.evaluation.metrics import joint_errors_mm
from integral_pose.geometry.labelled_means import labelled_mean
from integral_pose.report.canvas import INCH_PX, Picture, new_figure, shortened, to_picture, to_rgba
from integral_pose.report.colours import SIDE_COLOURS
from integral_pose.skeleton import Skeleton

# Azimuth and elevation of the oblique view: from the person's side and above, so that depth is seen.
OBLIQUE_DEGREES = (-50.0, 20.0)
TITLE_LETTERS = 40  # of a line above a picture
LABEL_PX = (11, 40)  # height of letters on a person, at least and at most
_TRUTH_STYLE: dict[str, Any] = {"linewidths": 1.3, "linestyles": (0, (3, 1.5)), "zorder": 3}
_PREDICTION_STYLE: dict[str, Any] = {"linewidths": 2.6, "linestyles": "solid", "zorder": 2, "capstyle": "round"}


@dataclass(frozen=True)
class PoseView:
    """One row of a contact sheet; what is None is not drawn."""

    image: Picture  # (H, W, 3) RGB crop
    predicted_camera_mm: FloatArray | None = None  # (J, 3) root-relative
    true_camera_mm: FloatArray | None = None  # (J, 3) root-relative
    true_crop_px: FloatArray | None = None  # (J, 2) pixels of the crop
    title: str = ""


def draw_poses(views: Sequence[PoseView], skeleton: Skeleton) -> Picture:
    """A contact sheet, one row a sample: the crop, then the poses from the front, the side and obliquely.

    In the front view x points right and y down, as the camera sees; the side view has depth to the right, away
    from the camera. A metric prediction has no pixel coordinates: where the true 2D joints are known, its overlay on
    the crop is fitted to them (`fit_weak_perspective`), and the picture's title says so.
    """
    figure = new_figure(width_px=4 * 270, height_px=270 * len(views) + 36)
    axes = figure.subplots(len(views), 4, squeeze=False)
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=0.01, top=1 - 58 / (270 * len(views) + 36), wspace=0.04, hspace=0.14
    )
    for row, view in zip(axes, views, strict=True):
        _draw_overlay(row[0], view, skeleton)
        _draw_views(row[1:], view, skeleton)
    _draw_legend(figure, with_truth=any(view.true_camera_mm is not None for view in views))
    return to_picture(figure)


def draw_people(
    picture: Picture,
    joints_image_px: Sequence[FloatArray],
    boxes_image_px: Sequence[FloatArray],
    skeleton: Skeleton,
    labels: Sequence[str] = (),
) -> Picture:
    """The picture (H, W, 3) with the skeleton (J, 2), thinly the box x, y, w, h (4,) and the label of each person.

    Every pixel without a line or letter stays as it is. Both are as large as suits the person.
    """
    height, width = picture.shape[:2]
    figure = new_figure(width, height)
    figure.patch.set_alpha(0)
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.set(xlim=(0, width), ylim=(height, 0))  # pixel i spans [i, i + 1]
    axis.set_axis_off()
    for joints, (x, y, box_width, box_height) in zip(joints_image_px, boxes_image_px, strict=True):
        points = max(1.2, 0.012 * max(box_width, box_height)) * 72 / INCH_PX
        frame = Rectangle((x, y), box_width, box_height, fill=False, edgecolor="white", linewidth=points / 3)
        axis.add_patch(frame)
        _draw_limbs(axis, joints, skeleton, {**_PREDICTION_STYLE, "linewidths": points}, outlined=True)
    for label, box in zip(labels, boxes_image_px, strict=False):
        _draw_label(axis, label, box)
    layer = to_rgba(figure)
    opacity = layer[..., 3:].astype(np.float32) / 255
    return np.round(picture + opacity * (layer[..., :3] - picture.astype(np.float32))).astype(np.uint8)


def _draw_label(axis: Axes, label: str, box_image_px: FloatArray) -> None:
    """Above the left corner of a person's box, or in it where the picture ends there."""
    x, y, width, height = box_image_px
    letters_px = float(np.clip(0.06 * max(width, height), *LABEL_PX))
    has_room = y > 1.6 * letters_px
    axis.text(
        max(0.0, x) + 0.3 * letters_px,
        y - 0.3 * letters_px if has_room else max(0.0, y) + 0.3 * letters_px,
        label,
        color="white",
        fontsize=letters_px * 72 / INCH_PX,
        va="bottom" if has_room else "top",
        clip_on=True,
        zorder=5,
        bbox={"facecolor": "black", "edgecolor": "none", "pad": 0.15 * letters_px},
    )


def fit_weak_perspective(joints_camera_mm: FloatArray, joints_crop_px: FloatArray) -> NDArray[np.float64]:
    """(J, 2) pixels: x and y of a pose (J, 3), scaled and shifted to the least squared distance from 2D joints.

    One scale for both axes and no rotation. It shows whether a pose looks right, not where the model put it. Fitted to
    the joints that are not NaN, of which there must be one.
    """
    flat_mm = np.asarray(joints_camera_mm, dtype=np.float64)[:, :2]
    target_px = np.asarray(joints_crop_px, dtype=np.float64)
    known = np.isfinite(target_px).all(axis=1)
    middle_mm, middle_px = flat_mm[known].mean(axis=0), target_px[known].mean(axis=0)
    square = np.sum((flat_mm[known] - middle_mm) ** 2)
    scale = np.sum((flat_mm[known] - middle_mm) * (target_px[known] - middle_px)) / square if square > 0 else 0.0
    return (flat_mm - middle_mm) * scale + middle_px


def _draw_overlay(axis: Axes, view: PoseView, skeleton: Skeleton) -> None:
    """The crop, the true 2D joints, and the prediction fitted to them."""
    height, width = view.image.shape[:2]
    axis.imshow(view.image, extent=(0, width, height, 0))  # pixel i spans [i, i + 1]
    axis.set_axis_off()
    notes = _error_in_words(view, skeleton)
    if view.true_crop_px is not None and np.isfinite(view.true_crop_px).any():
        if view.predicted_camera_mm is not None:
            fitted_px = fit_weak_perspective(view.predicted_camera_mm, view.true_crop_px)
            _draw_limbs(axis, fitted_px, skeleton, _PREDICTION_STYLE, outlined=True)
            notes.append("overlay fitted to the truth")
        _draw_limbs(axis, view.true_crop_px, skeleton, _TRUTH_STYLE, outlined=True)
    axis.set(xlim=(0, width), ylim=(height, 0))
    lines = [
        *(shortened(line, TITLE_LETTERS) for line in view.title.splitlines()),
        *(["; ".join(notes)] if notes else []),
    ]
    axis.set_title("\n".join(lines), fontsize=8, pad=2)


def _error_in_words(view: PoseView, skeleton: Skeleton) -> list[str]:
    """Over the joints that have a label; [] where none has, or nothing is predicted."""
    predicted_mm, true_mm = view.predicted_camera_mm, view.true_camera_mm
    if predicted_mm is None or true_mm is None:
        return []
    error_mm = labelled_mean(joint_errors_mm(predicted_mm[None], true_mm[None], root=skeleton.root))
    return [] if np.isnan(error_mm) else [f"MPJPE {error_mm:.0f} mm"]


def _draw_views(axes: Sequence[Axes], view: PoseView, skeleton: Skeleton) -> None:
    """Both poses from three directions at one scale, which holds the largest of the three."""
    given = ((view.predicted_camera_mm, _PREDICTION_STYLE), (view.true_camera_mm, _TRUTH_STYLE))
    poses = [(pose, style) for pose, style in given if pose is not None and np.isfinite(pose).any()]
    points_mm = np.concatenate([pose[np.isfinite(pose).all(1)] for pose, _ in poses]) if poses else np.zeros((1, 3))
    flat_mm = [turned(points_mm) for turned in _VIEWS.values()]
    half_mm = max(1.0, *(float(np.ptp(flat, axis=0).max()) / 2 * 1.08 for flat in flat_mm))
    for axis, (name, turned), flat in zip(axes, _VIEWS.items(), flat_mm, strict=True):
        for pose, style in poses:
            _draw_limbs(axis, turned(pose), skeleton, style)
        x, y = (flat.min(axis=0) + flat.max(axis=0)) / 2
        axis.set(xlim=(x - half_mm, x + half_mm), ylim=(y + half_mm, y - half_mm), xticks=[], yticks=[])
        axis.set(aspect="equal", facecolor="#f6f6f6")
        axis.spines[:].set_color("#cccccc")
        axis.set_title(name, fontsize=8, pad=2)
        _draw_compass(axis, turned(np.eye(3)) * 0.15 * half_mm, np.array([x, y]) + 0.74 * half_mm * _LOWER_LEFT)


def _draw_compass(axis: Axes, directions_mm: FloatArray, origin_mm: FloatArray) -> None:
    """The camera's x, y and z as short lettered lines in a corner; one that points at the viewer is left out."""
    longest = np.linalg.norm(directions_mm, axis=-1).max()
    for letter, direction in zip("xyz", directions_mm, strict=True):
        if np.linalg.norm(direction) < 0.1 * longest:
            continue
        axis.plot(*zip(origin_mm, origin_mm + direction, strict=True), color="#999999", lw=1)
        at_x, at_y = origin_mm + 1.3 * direction
        axis.text(at_x, at_y, letter, color="#777777", fontsize=7, ha="center", va="center")


def _draw_limbs(
    axis: Axes, joints: FloatArray, skeleton: Skeleton, style: Mapping[str, Any], outlined: bool = False
) -> None:
    """A line a bone, coloured by its child joint's side; white-edged for use on photographs."""
    bones = [bone for bone in skeleton.bones if np.isfinite(joints[list(bone)]).all()]
    segments = [(joints[child], joints[parent]) for child, parent in bones]
    colours = [SIDE_COLOURS[skeleton.side(child)] for child, _ in bones]
    limbs = LineCollection(segments, colors=colours, **style)
    if outlined:
        outline = matplotlib.patheffects.withStroke(linewidth=style["linewidths"] + 1.6, foreground="white")
        limbs.set_path_effects([outline])
    axis.add_collection(limbs)


def _draw_legend(figure: Figure, with_truth: bool) -> None:
    handles = [Line2D([], [], color=colour, lw=2.6, label=side) for side, colour in SIDE_COLOURS.items()]
    if with_truth:
        handles += [
            Line2D([], [], color="black", lw=2.6, label="prediction"),
            Line2D([], [], color="black", lw=1.3, linestyle=_TRUTH_STYLE["linestyles"], label="truth"),
        ]
    figure.legend(handles=handles, loc="upper center", ncols=5, frameon=False, fontsize=9)


def _front_view(pose_mm: FloatArray) -> FloatArray:
    """(J, 3) -> (J, 2): x to the right, y down."""
    return pose_mm[:, [0, 1]]


def _side_view(pose_mm: FloatArray) -> FloatArray:
    """(J, 3) -> (J, 2): z (away from the camera) to the right, y down."""
    return pose_mm[:, [2, 1]]


def _oblique_view(pose_mm: FloatArray) -> FloatArray:
    """(J, 3) -> (J, 2): without perspective, from OBLIQUE_DEGREES round and above the camera."""
    azimuth, elevation = np.deg2rad(OBLIQUE_DEGREES)
    x, y, z = pose_mm.T
    across, away = x * np.cos(azimuth) - z * np.sin(azimuth), x * np.sin(azimuth) + z * np.cos(azimuth)
    return np.stack([across, y * np.cos(elevation) - away * np.sin(elevation)], axis=-1)


_VIEWS = {"front": _front_view, "side": _side_view, "oblique": _oblique_view}
_LOWER_LEFT = np.array([-1.0, 1.0])  # with y down
