"""Whether joints in px and joints in mm have the same axes: in a camera's axes, x and y in mm run along those in px.

Perspective bends that a little, so that the correlation is 0.96 to 1 over right sets and at least 0.6 for any single
rendered pose, lying ones and raised feet included. Poses in world axes, with y up or in another order than their
pictures have -1 to 0.3. So may people who lie or crawl along the camera's axis; these are told by a camera that sees
them as the picture does, which poses in other axes do not have.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.geometry.labelled_means import is_labelled

LEAST_CORRELATION = 0.4
CLEAR = 0.6  # an axis that correlates so much is called what it is
MOST_BAD = 0.05  # of the poses may run the wrong way: single rows are for check-data to find
MOST_ROWS = 20_000  # that are looked at, spread over the set
FEW, LEAST_OPPOSED = 10, 3  # poses: fewer refuse nothing unless their axes are clear
LEAST_EXPLAINED = 0.9  # of the variance in px, by a camera
OVERRULED = "data.label_axes is camera"
LEAST_JOINTS = 6  # of a pose that a camera, which has four numbers an axis, is fitted to


class AxisEvidence(NamedTuple):
    """How the axes of joints in px run along those in mm."""

    correlation: NDArray[np.float64]  # (2, 3) of x and y in px with x, y and z in mm, over the poses about their means
    is_opposed: NDArray[np.bool_]  # (N,) poses in which x or y runs the other way
    in_perspective: NDArray[np.bool_]  # (N,) poses that a camera explains although they run so: in neither of the two

    @property
    def finding(self) -> tuple[str, bool] | None:
        """What is wrong and what to change, and whether that is sure.

        None where nothing is, and where the joints in px do not vary.
        """
        along, rest = self.correlation[[0, 1], [0, 1]], len(self.is_opposed) - int(self.in_perspective.sum())
        is_right = along.min() >= LEAST_CORRELATION and self.is_opposed.mean() <= MOST_BAD
        if np.isnan(along).any() or is_right or rest <= MOST_BAD * len(self.is_opposed):
            return None
        found = f"x in px correlates with x in mm by {along[0]:+.2f} and y with y by {along[1]:+.2f}"
        if along.min() >= LEAST_CORRELATION:
            opposed = int(self.is_opposed.sum())
            return (
                f"{found}, but in {opposed:,} of {len(self.is_opposed):,} poses an axis runs the other way: sets of "
                "other axes are mixed; check-data lists the rows"
            ), opposed >= LEAST_OPPOSED
        meaning, is_clear = self._meaning()
        return f"{found}, expected nearly +1 both: {meaning}", is_clear or rest >= FEW

    def _meaning(self) -> tuple[str, bool]:
        """In words, and whether few poses are enough to say so."""
        (x_x, x_y, _), (y_x, y_y, y_z) = self.correlation
        if min(abs(x_x), abs(y_y)) >= CLEAR:
            axes = [axis for axis, value in (("x", x_x), ("y", y_y)) if value < 0]
            return (
                f"{' and '.join(axes)} of the poses in mm point{'s' * (len(axes) == 1)} the other way, as "
                f"{'y up' if axes == ['y'] else 'x to the left'} does. Camera axes are x right, y down, z forward: "
                "change the sign, and that of z too if it points towards the camera"
            ), True
        if min(abs(x_y), abs(y_x)) >= CLEAR:
            return "x follows y and y follows x: two columns are exchanged, in px or in mm", True
        if abs(y_z) >= CLEAR or abs(y_y) >= CLEAR:
            upright = "z" if abs(y_z) >= CLEAR else "y"
            rows = ". Or the rows in px and in mm are of other pictures" if y_y >= CLEAR else ""
            return (
                f"{upright} is upright and x is not the picture's, as in world axes. Turn each pose into the axes of "
                f"its camera (x right, y down, z forward): R (joint - camera centre){rows}"
            ), abs(x_x) < CLEAR
        return "no axis follows; the rows in px and in mm are of other pictures, or the poses in other axes", False


def axis_evidence(joints_px: NDArray[Any], joints_mm: NDArray[Any]) -> AxisEvidence:
    """Of N poses, (N, J, 2) px of any picture and (N, J, 3) mm, of the joints that have both.

    Joints at (0, 0) px were not seen, as many sets say.
    """
    seen: NDArray[np.bool_] = np.any(joints_px, axis=-1) & is_labelled(joints_px) & is_labelled(joints_mm)
    px, mm = _about_mean(joints_px, seen), _about_mean(joints_mm, seen)
    is_opposed: NDArray[np.bool_] = ((px * mm[..., :2]).sum(1) < 0).any(1)
    correlation = _correlation(px, mm)
    rows = np.arange(len(px)) if correlation[[0, 1], [0, 1]].min() < LEAST_CORRELATION else np.flatnonzero(is_opposed)
    in_perspective = np.zeros(len(px), bool)
    in_perspective[rows] = _fits_a_camera(px[rows], mm[rows], seen[rows])
    rest = ~in_perspective
    return AxisEvidence(_correlation(px[rest], mm[rest]), is_opposed & rest, in_perspective)


def _correlation(px: NDArray[np.float64], mm: NDArray[np.float64]) -> NDArray[np.float64]:
    deviations = np.sqrt(np.outer((px**2).sum((0, 1)), (mm**2).sum((0, 1))))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation: NDArray[np.float64] = np.einsum("nja,njb->ab", px, mm) / deviations
    return correlation


def _fits_a_camera(px: NDArray[np.float64], mm: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) Whether a pinhole camera in front of the pose shows it so: u = (a x + b z + c) / (z + d), and v by y.

    a and the depths z + d are above 0 in camera axes. Times z + d the equation is linear in a, b, c and d.
    """
    depth_mm = mm[..., 2]
    fits: NDArray[np.bool_] = seen.sum(1) >= LEAST_JOINTS
    for axis in range(2):
        terms = np.stack([mm[..., axis], depth_mm, seen.astype(np.float64), -px[..., axis]], -1)
        a, b, c, d = (np.linalg.pinv(terms) @ (px[..., axis] * depth_mm)[..., None])[..., 0].T[..., None]
        from_camera_mm = np.where(seen, depth_mm + d, np.inf)
        with np.errstate(invalid="ignore", divide="ignore"):
            shown_px = np.where(seen, (a * mm[..., axis] + b * depth_mm + c) / from_camera_mm, 0.0)
        unexplained = ((px[..., axis] - shown_px) ** 2).sum(1) > (1 - LEAST_EXPLAINED) * (px[..., axis] ** 2).sum(1)
        fits &= (a[:, 0] > 0) & (from_camera_mm.min(1) > 0) & ~unexplained
    return fits


def _about_mean(joints: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, J, axes) less the mean over the seen joints of each pose; 0 for the others."""
    counts = seen[..., None].astype(np.float64)
    mean = np.where(counts, joints, 0.0).sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
    return np.where(counts, joints - mean, 0.0)


def require_camera_axes(
    joints_px: NDArray[Any], joints_mm: NDArray[Any], source: str, setting: str = "auto"
) -> str | None:
    """Raise DataError naming `source` where poses (N, J, 3) are not in the camera axes of their (N, J, 2) px.

    Returns what to tell where that is not sure, or is overruled by the setting 'camera' and the poses are used.
    """
    rows = np.unique(np.linspace(0, len(joints_px) - 1, min(len(joints_px), MOST_ROWS)).round().astype(np.int64))
    finding = axis_evidence(joints_px[rows], joints_mm[rows]).finding
    if finding is None:
        return None
    words, is_sure = finding
    fault = f"{source}: the joints in px and in mm have not the same axes: {words}"
    if is_sure and setting == "auto":
        raise DataError(f"{fault}. If the poses are right, set data.label_axes to camera")
    return f"{fault}. Used as they are, since {'so few poses do not tell' if setting == 'auto' else OVERRULED}"
