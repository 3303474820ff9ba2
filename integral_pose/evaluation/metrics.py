"""Distances between predicted and true joints. Each metric is named by the alignment before it.

Poses are arrays of NumPy or tensors of torch, of any float type and device; all is worked in float64, so both give
the same numbers. A true joint that is NaN has no label: its distances are NaN, and no mean counts it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integral_pose.contracts import Array, FloatArray
from integral_pose.geometry.alignment import align_procrustes, align_scale, as_float64
from integral_pose.geometry.coordinates import root_relative
from integral_pose.geometry.labelled_means import is_labelled, labelled_mean
from integral_pose.skeleton import Skeleton

# 0, 5, .., 150 mm: the official MPI-INF-3DHP evaluation (Mehta et al. 2017), which counts 0.
AUC_THRESHOLDS_MM = tuple(range(0, 151, 5))
_ROWS_AT_ONCE = 2048  # what stays in a core's cache takes a third of the time


# From root-relative (N, J, 3) prediction and truth to the prediction whose distances count.
ALIGNMENTS: dict[str, Callable[[Array, Array], Array]] = {
    "mpjpe": lambda predicted_mm, true_mm: predicted_mm,
    "n_mpjpe": align_scale,
    "rigid_mpjpe": partial(align_procrustes, scale=False),
    "pa_mpjpe": partial(align_procrustes, scale=True),
}


def joint_errors_mm(
    predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, alignment: str = "mpjpe", *, root: int
) -> Array:
    """(N, J) distances in mm between (N, J, 3) poses, after the roots of both are moved to the origin.

    `alignment` is a key of ALIGNMENTS: mpjpe aligns nothing more; n_mpjpe the scale; rigid_mpjpe rotation and
    translation; pa_mpjpe rotation, translation and scale. None reflects. The distance of the root, which is 0 in
    the first two, counts among the J.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"unknown metric '{alignment}'. Known: {', '.join(ALIGNMENTS)}.")
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, root)
    return np.linalg.norm(ALIGNMENTS[alignment](predicted_mm, true_mm) - true_mm, axis=-1)


def axis_errors_mm(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, root: int) -> Array:
    """(N, J, 3) distances in mm along x, y and z alone, of root-relative poses; z is what one picture shows least."""
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, root)
    return np.abs(predicted_mm - true_mm)


def bone_length_errors_mm(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, skeleton: Skeleton) -> Array:
    """(N, bones) by how many mm each bone of `skeleton.bones` is too long or too short."""
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, skeleton.root)
    children, parents = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    lengths = [np.linalg.norm(pose[:, children] - pose[:, parents], axis=-1) for pose in (predicted_mm, true_mm)]
    return np.abs(lengths[0] - lengths[1])


def swapped_sides(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, skeleton: Skeleton) -> Array:
    """(N, pairs) 1 where a left and a right joint together lie nearer to each other's place than to their own, else 0.

    NaN where either has no label.
    """
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, skeleton.root)
    left, right = ([skeleton.names.index(pair[side]) for pair in skeleton.mirror_pairs] for side in (0, 1))

    def distance(own: list[int], other: list[int]) -> Array:
        return np.linalg.norm(predicted_mm[:, own] - true_mm[:, other], axis=-1)

    own_mm = distance(left, left) + distance(right, right)
    return np.where(np.isnan(own_mm), np.nan, distance(left, right) + distance(right, left) < own_mm)


def pck(errors_mm: ArrayLike, threshold_mm: float = 150.0) -> float:
    """Share, 0 to 1, of the distances below the threshold (below, not at: the official MPI-INF-3DHP rule).

    Raises ValueError where there is no distance.
    """
    return float(np.mean(_some(errors_mm) < threshold_mm))


def auc(errors_mm: ArrayLike) -> float:
    """Mean of `pck` over AUC_THRESHOLDS_MM, 0 to 1; at most 30/31, since no distance is below 0."""
    thresholds_not_above = np.searchsorted(AUC_THRESHOLDS_MM, _some(errors_mm), side="right")
    return float(1 - thresholds_not_above.mean() / len(AUC_THRESHOLDS_MM))


def frame_values(metric: str, predicted_mm: FloatArray, true_mm: FloatArray, joints: Sequence[int], root: int) -> Array:
    """(N,) of a headline metric frame by frame, a key of `summarise` that is a mean over frames and `joints`."""
    if metric == "pck_150":
        errors_mm = joint_errors_mm(predicted_mm, true_mm, "mpjpe", root=root)[:, joints]
        return labelled_mean(np.where(np.isnan(errors_mm), np.nan, errors_mm < 150.0), axis=1)
    errors_mm = joint_errors_mm(predicted_mm, true_mm, metric.removesuffix("_mm"), root=root)[:, joints]
    return labelled_mean(errors_mm, axis=1)


def labelled_frames(true_camera_mm: ArrayLike, root: int, joints: Sequence[int]) -> NDArray[np.intp]:
    """The rows of (N, J, 3) that say where any of the joints is, the root's own zero aside."""
    known = is_labelled(root_relative(as_float64(true_camera_mm), root))[:, joints]
    moving = [joint != root for joint in joints]
    return np.flatnonzero(known[:, moving if any(moving) else slice(None)].any(1))


def summarise(
    predicted_camera_mm: FloatArray,
    true_camera_mm: FloatArray,
    skeleton: Skeleton,
    joints: Sequence[int] | None = None,
) -> dict[str, float]:
    """Every metric over all poses: one `.._mm` a key of ALIGNMENTS, then the other metrics of this file.

    Of `joints` where given, though poses are aligned by all. Bones and sides are always of the whole skeleton, and
    left out where it has none. Raises ValueError for no labelled pose at all, NaN predictions and infinity.
    """
    if len(predicted_camera_mm) != len(true_camera_mm):
        raise ValueError(
            f"expected as many poses as labels, found {len(predicted_camera_mm)} and {len(true_camera_mm)}"
        )
    counted = list(range(skeleton.num_joints)) if joints is None else list(joints)
    rows = labelled_frames(true_camera_mm, skeleton.root, counted)
    if len(rows) == 0:
        raise ValueError("there is no pose to measure")
    if len(rows) < len(true_camera_mm):
        predicted_camera_mm, true_camera_mm = predicted_camera_mm[rows], true_camera_mm[rows]
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(true_camera_mm), _ROWS_AT_ONCE)]
    found = [_means(predicted_camera_mm[rows], true_camera_mm[rows], skeleton, counted) for rows in parts]
    return {name: _joined([means[name] for means in found]) for name in found[0]}


class _Mean(NamedTuple):
    value: float
    rows: float  # labelled values over the values of a row: the number of rows, where all is labelled


def _means(predicted_mm: FloatArray, true_mm: FloatArray, skeleton: Skeleton, joints: list[int]) -> dict[str, _Mean]:
    errors_mm = {
        name: joint_errors_mm(predicted_mm, true_mm, name, root=skeleton.root)[:, joints] for name in ALIGNMENTS
    }
    axes_mm = axis_errors_mm(predicted_mm, true_mm, skeleton.root)[:, joints]
    means = {f"{name}_mm": _mean(errors) for name, errors in errors_mm.items()}
    rows = means["mpjpe_mm"].rows
    known_mm = errors_mm["mpjpe"][~np.isnan(errors_mm["mpjpe"])]
    means |= {"pck_150": _Mean(pck(known_mm), rows), "auc": _Mean(auc(known_mm), rows)}
    along = labelled_mean(axes_mm.reshape(-1, 3), axis=0) if np.isnan(axes_mm).any() else axes_mm.mean((0, 1))
    means |= {f"{axis}_mm": _Mean(float(error), rows) for axis, error in zip("xyz", along, strict=True)}
    if skeleton.bones:
        means["bone_length_mm"] = _mean(bone_length_errors_mm(predicted_mm, true_mm, skeleton))
    if skeleton.mirror_pairs:
        means["swapped_sides"] = _mean(swapped_sides(predicted_mm, true_mm, skeleton))
    return means


def _mean(values: Array) -> _Mean:
    """Over what is not NaN in values (N, ...)."""
    known = np.count_nonzero(~np.isnan(values))
    return _Mean(float(labelled_mean(values)), known / (values.size / len(values)))


def _joined(means: Sequence[_Mean]) -> float:
    """The mean over several parts; NaN where no part has any."""
    some = [mean for mean in means if mean.rows]
    return float(np.average([mean.value for mean in some], weights=[mean.rows for mean in some])) if some else np.nan


def _some(errors_mm: ArrayLike) -> Array:
    errors_mm = as_float64(errors_mm)
    if errors_mm.size == 0:
        raise ValueError("there is no distance to compare with a threshold")
    return errors_mm


def _root_relative_pair(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, root: int) -> tuple[Array, Array]:
    predicted_mm, true_mm = as_float64(predicted_camera_mm), as_float64(true_camera_mm)
    if predicted_mm.shape != true_mm.shape or predicted_mm.ndim != 3 or predicted_mm.shape[-1] != 3:
        raise ValueError(f"expected two (N, J, 3) arrays, found {predicted_mm.shape} and {true_mm.shape}")
    return root_relative(predicted_mm, root), root_relative(true_mm, root)
