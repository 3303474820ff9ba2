"""Poses as SVG: over a photograph, from the front and the side, and a skeleton that carries a number a joint.

The colours are classes of the page's style sheet: side-left, side-right, side-middle; truth is thin and dashed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from integral_pose.report.page.markup import Html, element
from integral_pose.skeleton import HUMAN36M, Skeleton

if TYPE_CHECKING:
    from integral_pose.contracts import FloatArray

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
_DRAWN_SIZE = (320, 420)
_NUMBER_OFFSET = {"left": (13, "start"), "middle": (13, "start"), "right": (-13, "end")}


def overlay(
    true_px: FloatArray, predicted_px_by_run: Sequence[FloatArray], size_px: int, skeleton: Skeleton = HUMAN36M
) -> Html:
    """The true joints (J, 2) and each run's over a picture of `size_px`; a run's lines are marked with its number."""
    poses = [_of_run(run, px, skeleton, haloed=True) for run, px in enumerate(predicted_px_by_run)]
    truth = element("g", *_limbs(true_px, skeleton, haloed=True), class_="truth")
    return element("svg", *poses, truth, viewBox=f"0 0 {size_px} {size_px}", class_="over", aria_hidden="true")


def flat_view(
    across: int, true_mm: FloatArray | None, predicted_mm_by_run: Sequence[FloatArray], skeleton: Skeleton = HUMAN36M
) -> Html:
    """Poses (J, 3) mm with y down and axis `across` (0: x, the front view; 2: depth, the side view) to the right.

    One scale for all of them, chosen so that both views of a sample have it too.
    """
    known = [*predicted_mm_by_run, *([] if true_mm is None else [true_mm])]
    points_mm = np.concatenate([np.asarray(pose, dtype=np.float64) for pose in known])
    low, high = points_mm.min(0), points_mm.max(0)
    px_per_mm = VIEW_PX / max(1.0, float((high - low).max()) * _MARGIN)
    middle_mm = ((low + high) / 2)[[across, 1]]

    def place(pose_mm: FloatArray) -> NDArray[np.float64]:
        return (np.asarray(pose_mm, dtype=np.float64)[:, [across, 1]] - middle_mm) * px_per_mm + VIEW_PX / 2

    poses = [_of_run(run, place(pose), skeleton) for run, pose in enumerate(predicted_mm_by_run)]
    if true_mm is not None:
        poses.append(element("g", *_limbs(place(true_mm), skeleton), class_="truth"))
    return element("svg", *poses, viewBox=f"0 0 {VIEW_PX} {VIEW_PX}", class_="flat", aria_hidden="true")


def error_skeleton(errors_mm: Mapping[str, float], highest_mm: float, skeleton: Skeleton = HUMAN36M) -> Html:
    """A standing person with each joint's error as a number, and as a colour from 0 to `highest_mm`."""
    width, height = _DRAWN_SIZE
    bones = [
        element("line", x1=x, y1=y, x2=to_x, y2=to_y)
        for (x, y), (to_x, to_y) in (
            (_PLACES[skeleton.names[child]], _PLACES[skeleton.names[parent]])
            for child, parent in skeleton.bones
            if {skeleton.names[child], skeleton.names[parent]} <= _PLACES.keys()
        )
    ]
    joints = [
        _numbered_joint(name, _PLACES[name], skeleton.side(joint), errors_mm[name], highest_mm)
        for joint, name in enumerate(skeleton.names)
        if name in _PLACES and name in errors_mm
    ]
    label = ", ".join(f"{name} {error:.0f} mm" for name, error in errors_mm.items())
    return element("svg", element("g", *bones, class_="bones"), *joints, viewBox=f"0 0 {width} {height}",
                   class_="errors", role="img", aria_label=f"Error by joint: {label}")  # fmt: skip


def colour_bar(highest_mm: float) -> Html:
    """The colours of `error_skeleton` with their ends."""
    colours = ", ".join(_colour(share) for share in np.linspace(0, 1, 8))
    bar = element("span", class_="bar", style=f"background: linear-gradient(to right, {colours})")
    return element("p", "0 mm ", bar, f" {highest_mm:.0f} mm", class_="scale")


def _numbered_joint(name: str, place: tuple[int, int], side: str, error_mm: float, highest_mm: float) -> Html:
    x, y = place
    offset, anchor = _NUMBER_OFFSET[side]
    disc = element(
        "circle",
        element("title", f"{name}: {error_mm:.1f} mm"),
        cx=x, cy=y, r=8, fill=_colour(error_mm / highest_mm if highest_mm > 0 else 0.0),
    )  # fmt: skip
    return element("g", disc, element("text", f"{error_mm:.0f}", x=x + offset, y=y + 5, text_anchor=anchor))


def _colour(share: float) -> str:
    return to_hex(mpl.colormaps[ERROR_COLOURS](min(1.0, max(0.0, share))))


def _of_run(run: int, joints_px: FloatArray, skeleton: Skeleton, *, haloed: bool = False) -> Html:
    """Lines of one run; the page shows those of one run at a time, at first of the first."""
    limbs = _limbs(joints_px, skeleton, haloed=haloed)
    return element("g", *limbs, data_run=run, style="display:none" if run else None)


def _limbs(joints_px: FloatArray, skeleton: Skeleton, *, haloed: bool = False) -> list[Html]:
    """A path a side of the body, below them one of all bones where they need an edge to stand out."""
    by_side: dict[str, list[str]] = {"middle": [], "right": [], "left": []}
    for child, parent in skeleton.bones:
        (x, y), (to_x, to_y) = joints_px[parent], joints_px[child]
        by_side[skeleton.side(child)].append(f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}")
    every_bone = "".join(bone for bones in by_side.values() for bone in bones)
    paths = [element("path", d=every_bone, class_="halo")] if haloed else []
    return paths + [
        element("path", d="".join(bones), class_=f"side-{side}") for side, bones in by_side.items() if bones
    ]
