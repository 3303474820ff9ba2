"""Lines and numbers of the page's SVG drawings of poses; templates/poses.html draws them.

The colours of limbs are classes of the page's style sheet: side-left, side-right, side-middle.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from integral_pose.contracts import FloatArray
from integral_pose.evaluation.comparison import Row
from integral_pose.report.page_content import ShownImage
from integral_pose.report.pose_figures import fit_weak_perspective
from integral_pose.skeleton import Skeleton

VIEW_PX = 192  # side of a drawn view
_MARGIN = 1.12  # of a view round the poses in it
ERROR_COLOURS = "viridis"
# Where the joints of a standing person are drawn, who faces the reader: room for a number beside each.
_PLACES = {
    "Head": (160, 22), "Neck/Nose": (160, 58), "Thorax": (160, 96), "Spine": (160, 150), "Hip": (160, 204),
    "RShoulder": (106, 100), "RElbow": (72, 162), "RWrist": (52, 224), "LShoulder": (214, 100), "LElbow": (248, 162),
    "LWrist": (268, 224), "RHip": (122, 226), "RKnee": (112, 310), "RFoot": (104, 394), "LHip": (198, 226),
    "LKnee": (208, 310), "LFoot": (216, 394),
}  # fmt: skip
_NUMBER_OFFSET = {"left": (13, "start"), "middle": (13, "start"), "right": (-13, "end")}

Paths = dict[str, str]  # side of the body -> SVG path of its bones


class DrawnPoses(NamedTuple):
    """Predictions, one a run, and the truth in a square picture."""

    size_px: int
    predicted: list[Paths]
    truth: Paths | None


class PlacedJoint(NamedTuple):
    """A joint of the drawn person that carries a number."""

    name: str
    error_mm: float
    colour: str
    x: int
    y: int
    number_x: int
    anchor: str


def overlay(image: ShownImage, skeleton: Skeleton) -> DrawnPoses:
    """Over the picture of an image whose joints in pixels are known: these, and the predictions fitted to them."""
    assert image.picture is not None, "asked for where there is a picture"
    assert image.true_picture_px is not None, "asked for where pixels are known"
    fitted = [fit_weak_perspective(pose, image.true_picture_px) for pose in image.predicted_mm]
    truth = _limb_paths(image.true_picture_px, skeleton)
    return DrawnPoses(image.picture.shape[1], [_limb_paths(pose, skeleton) for pose in fitted], truth)


def flat_view(image: ShownImage, skeleton: Skeleton, *, across: int) -> DrawnPoses:
    """`across` (0: x, 2: depth) to the right, y down. One scale for all poses, the same in both views of an image."""
    points_mm = np.concatenate([*image.predicted_mm, *([] if image.true_mm is None else [image.true_mm])])
    low, high = np.nanmin(points_mm, axis=0), np.nanmax(points_mm, axis=0)
    px_per_mm = VIEW_PX / max(1.0, float((high - low).max()) * _MARGIN)
    middle_mm = ((low + high) / 2)[[across, 1]]

    def place(pose_mm: FloatArray) -> Paths:
        return _limb_paths((pose_mm[:, [across, 1]] - middle_mm) * px_per_mm + VIEW_PX / 2, skeleton)

    return DrawnPoses(
        VIEW_PX, [place(pose) for pose in image.predicted_mm], None if image.true_mm is None else place(image.true_mm)
    )


front_view, side_view = partial(flat_view, across=0), partial(flat_view, across=2)


def _limb_paths(joints_px: FloatArray, skeleton: Skeleton) -> Paths:
    paths = {"middle": "", "right": "", "left": ""}
    for child, parent in skeleton.bones:
        (x, y), (to_x, to_y) = joints_px[parent], joints_px[child]
        if not np.isfinite([x, y, to_x, to_y]).all():  # one end has no label
            continue
        paths[skeleton.side(child)] += f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"
    return paths


def highest_mm(rows: Sequence[Row]) -> float:
    """Of any row in any run."""
    return max(value.mean for row in rows for value in row.values)


def placed_bones(skeleton: Skeleton) -> list[tuple[int, int, int, int]]:
    """x1, y1, x2, y2 of the drawn person's bones, px of a picture of 320 x 420."""
    names = [(skeleton.names[child], skeleton.names[parent]) for child, parent in skeleton.bones]
    return [(*_PLACES[child], *_PLACES[parent]) for child, parent in names if {child, parent} <= _PLACES.keys()]


def placed_joints(rows: Sequence[Row], run: int, skeleton: Skeleton) -> list[PlacedJoint]:
    """The drawn person's joints with their errors in a run, coloured from 0 to the highest of all runs."""
    highest = highest_mm(rows)
    placed = []
    for row in rows:
        if row.name in _PLACES:
            (x, y), error_mm = _PLACES[row.name], row.values[run].mean
            offset, anchor = _NUMBER_OFFSET[skeleton.side(skeleton.names.index(row.name))]
            colour = _colour(error_mm / highest if highest > 0 else 0.0)
            placed.append(PlacedJoint(row.name, error_mm, colour, x, y, x + offset, anchor))
    return placed


def scale_colours() -> list[str]:
    """The colours of `placed_joints` from 0 to the highest error."""
    return [_colour(share) for share in np.linspace(0, 1, 8)]


def _colour(share: float) -> str:
    return to_hex(mpl.colormaps[ERROR_COLOURS](min(1.0, max(0.0, share))))
