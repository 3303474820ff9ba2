"""Distances between predicted and true joints. Each metric is named by the alignment before it.

Poses are arrays of NumPy or tensors of torch, of any float type and device; all is worked in float64, so both give
the same numbers.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integral_pose.contracts import Array, FloatArray
from integral_pose.geometry.alignment import align_procrustes, align_scale, as_float64
from integral_pose.geometry.coordinates import root_relative
from integral_pose.skeleton import HUMAN36M, Skeleton

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
    predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, alignment: str = "mpjpe", root: int = HUMAN36M.root
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


def axis_errors_mm(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, root: int = HUMAN36M.root) -> Array:
    """(N, J, 3) distances in mm along x, y and z alone, of root-relative poses; z is what one picture shows least."""
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, root)
    return np.abs(predicted_mm - true_mm)


def bone_length_errors_mm(
    predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, skeleton: Skeleton = HUMAN36M
) -> Array:
    """(N, bones) by how many mm each bone of `skeleton.bones` is too long or too short."""
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, skeleton.root)
    children, parents = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    lengths = [np.linalg.norm(pose[:, children] - pose[:, parents], axis=-1) for pose in (predicted_mm, true_mm)]
    return np.abs(lengths[0] - lengths[1])


def swapped_sides(
    predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, skeleton: Skeleton = HUMAN36M
) -> NDArray[np.bool_]:
    """(N, pairs) whether a left and a right joint together lie nearer to each other's place than to their own."""
    predicted_mm, true_mm = _root_relative_pair(predicted_camera_mm, true_camera_mm, skeleton.root)
    left, right = ([skeleton.names.index(pair[side]) for pair in skeleton.mirror_pairs] for side in (0, 1))

    def distance(own: list[int], other: list[int]) -> Array:
        return np.linalg.norm(predicted_mm[:, own] - true_mm[:, other], axis=-1)

    return distance(left, right) + distance(right, left) < distance(left, left) + distance(right, right)


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
        return (joint_errors_mm(predicted_mm, true_mm, "mpjpe", root)[:, joints] < 150.0).mean(1)
    return joint_errors_mm(predicted_mm, true_mm, metric.removesuffix("_mm"), root)[:, joints].mean(1)


def summarise(
    predicted_camera_mm: FloatArray,
    true_camera_mm: FloatArray,
    skeleton: Skeleton = HUMAN36M,
    joints: Sequence[int] | None = None,
) -> dict[str, float]:
    """Every metric over all poses: one `.._mm` a key of ALIGNMENTS, then the other metrics of this file.

    Of `joints` where given, though poses are aligned by all. Bones and sides are always of the whole skeleton, and
    left out where it has none. Raises ValueError for no pose at all, and for NaN and infinity.
    """
    if len(predicted_camera_mm) != len(true_camera_mm):
        raise ValueError(
            f"expected as many poses as labels, found {len(predicted_camera_mm)} and {len(true_camera_mm)}"
        )
    if len(true_camera_mm) == 0:
        raise ValueError("there is no pose to measure")
    counted = list(range(skeleton.num_joints)) if joints is None else list(joints)
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(true_camera_mm), _ROWS_AT_ONCE)]
    found = [_means(predicted_camera_mm[rows], true_camera_mm[rows], skeleton, counted) for rows in parts]
    rows_in = [len(true_camera_mm[rows]) for rows in parts]
    return {name: float(np.average([means[name] for means in found], weights=rows_in)) for name in found[0]}


def _means(predicted_mm: FloatArray, true_mm: FloatArray, skeleton: Skeleton, joints: list[int]) -> dict[str, float]:
    errors_mm = {name: joint_errors_mm(predicted_mm, true_mm, name, skeleton.root)[:, joints] for name in ALIGNMENTS}
    axes_mm = axis_errors_mm(predicted_mm, true_mm, skeleton.root)[:, joints].mean((0, 1))
    means = {f"{name}_mm": float(errors.mean()) for name, errors in errors_mm.items()}
    means |= {"pck_150": pck(errors_mm["mpjpe"]), "auc": auc(errors_mm["mpjpe"])}
    means |= {f"{axis}_mm": float(error) for axis, error in zip("xyz", axes_mm, strict=True)}
    if skeleton.bones:
        means["bone_length_mm"] = float(bone_length_errors_mm(predicted_mm, true_mm, skeleton).mean())
    if skeleton.mirror_pairs:
        means["swapped_sides"] = float(swapped_sides(predicted_mm, true_mm, skeleton).mean())
    return means


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
