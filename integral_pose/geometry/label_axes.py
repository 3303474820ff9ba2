"""Whether joints in px and joints in mm have the same axes: in a camera's axes, x and y in mm run along those in px.

Perspective bends that a little, so that the correlation is 0.96 to 1 over right sets and at least 0.6 for any single
rendered pose, lying ones and raised feet included. Poses in world axes, with y up or in another order than their
pictures have -1 to 0.3.
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


class AxisEvidence(NamedTuple):
    """How the axes of joints in px run along those in mm."""

    correlation: NDArray[np.float64]  # (2, 3) of x and y in px with x, y and z in mm, over all poses about their means
    is_opposed: NDArray[np.bool_]  # (N,) poses in which x or y runs the other way

    @property
    def fault(self) -> str | None:
        """What is wrong and what to change; None where nothing is, and where the joints in px do not vary."""
        along = self.correlation[[0, 1], [0, 1]]
        if np.isnan(along).any() or (along.min() >= LEAST_CORRELATION and self.is_opposed.mean() <= MOST_BAD):
            return None
        found = f"x in px correlates with x in mm by {along[0]:+.2f} and y with y by {along[1]:+.2f}"
        if along.min() >= LEAST_CORRELATION:
            rows = np.flatnonzero(self.is_opposed)
            return (
                f"{found}, but in {len(rows):,} of {len(self.is_opposed):,} poses an axis runs the other way: sets of "
                "other axes are mixed; check-data lists the rows"
            )
        return f"{found}, expected nearly +1 both: {self._meaning()}"

    def _meaning(self) -> str:
        (x_x, x_y, _), (y_x, y_y, y_z) = self.correlation
        if min(abs(x_x), abs(y_y)) >= CLEAR:
            axes = [axis for axis, value in (("x", x_x), ("y", y_y)) if value < 0]
            return (
                f"{' and '.join(axes)} of the poses in mm point{'s' * (len(axes) == 1)} the other way, as "
                f"{'y up' if axes == ['y'] else 'x to the left'} does. Camera axes are x right, y down, z forward: "
                "change the sign, and that of z too if it points towards the camera"
            )
        if min(abs(x_y), abs(y_x)) >= CLEAR:
            return "x follows y and y follows x: two columns are exchanged, in px or in mm"
        if abs(y_z) >= CLEAR or abs(y_y) >= CLEAR:
            upright = "z" if abs(y_z) >= CLEAR else "y"
            rows = ". Or the rows in px and in mm are of other pictures" if y_y >= CLEAR else ""
            return (
                f"{upright} is upright and x is not the picture's, as in world axes. Turn each pose into the axes of "
                f"its camera (x right, y down, z forward): R (joint - camera centre){rows}"
            )
        return "no axis follows; the rows in px and in mm are of other pictures, or the poses in other axes"


def axis_evidence(joints_px: NDArray[Any], joints_mm: NDArray[Any]) -> AxisEvidence:
    """Of N poses, (N, J, 2) px of any picture and (N, J, 3) mm, of the joints that have both.

    Joints at (0, 0) px were not seen, as many sets say.
    """
    seen: NDArray[np.bool_] = np.any(joints_px, axis=-1) & is_labelled(joints_px) & is_labelled(joints_mm)
    px, mm = _about_mean(joints_px, seen), _about_mean(joints_mm, seen)
    deviations = np.sqrt(np.outer((px**2).sum((0, 1)), (mm**2).sum((0, 1))))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.einsum("nja,njb->ab", px, mm) / deviations
    return AxisEvidence(correlation, ((px * mm[..., :2]).sum(1) < 0).any(1))


def _about_mean(joints: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, J, axes) less the mean over the seen joints of each pose; 0 for the others."""
    counts = seen[..., None].astype(np.float64)
    mean = np.where(counts, joints, 0.0).sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
    return np.where(counts, joints - mean, 0.0)


def require_camera_axes(joints_px: NDArray[Any], joints_mm: NDArray[Any], source: str) -> None:
    """Raise DataError naming `source` where poses (N, J, 3) are not in the camera axes of their (N, J, 2) px."""
    rows = np.unique(np.linspace(0, len(joints_px) - 1, min(len(joints_px), MOST_ROWS)).round().astype(np.int64))
    fault = axis_evidence(joints_px[rows], joints_mm[rows]).fault
    if fault:
        raise DataError(f"{source}: the joints in px and in mm have not the same axes: {fault}")
