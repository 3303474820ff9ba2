"""Distances between predicted and true joints. Each metric is named by what it forgives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integral_pose.geometry.alignment import align_procrustes, align_scale
from integral_pose.geometry.coordinates import root_relative
from integral_pose.skeleton import HUMAN36M

Array = NDArray[np.float64]

# 0, 5, .., 150 mm: the official MPI-INF-3DHP evaluation (Mehta et al. 2017), which counts 0.
AUC_THRESHOLDS_MM = tuple(range(0, 151, 5))


def _unaligned(predicted_mm: Array, true_mm: Array) -> Array:
    """The prediction as it is."""
    return predicted_mm


# From root-relative (N, J, 3) prediction and truth to the prediction whose distances count.
ALIGNMENTS: dict[str, Callable[[Array, Array], Array]] = {
    "mpjpe": _unaligned,
    "n_mpjpe": align_scale,
    "rigid_mpjpe": partial(align_procrustes, scale=False),
    "pa_mpjpe": partial(align_procrustes, scale=True),
}


def joint_errors_mm(
    predicted_camera_mm: ArrayLike,
    true_camera_mm: ArrayLike,
    alignment: str = "mpjpe",
    root: int = HUMAN36M.root,
) -> Array:
    """(N, J) distances in mm between (N, J, 3) poses, after the roots of both are moved to the origin.

    `alignment` is a key of ALIGNMENTS: mpjpe forgives nothing more; n_mpjpe a factor; rigid_mpjpe a rotation
    and translation; pa_mpjpe a rotation, translation and factor. None forgives a reflection. The distance of
    the root, which is 0 in the first two, counts among the J.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"unknown metric '{alignment}'. Known: {', '.join(ALIGNMENTS)}.")
    predicted_mm = np.asarray(predicted_camera_mm, dtype=np.float64)
    true_mm = np.asarray(true_camera_mm, dtype=np.float64)
    if predicted_mm.shape != true_mm.shape or predicted_mm.ndim != 3 or predicted_mm.shape[-1] != 3:
        raise ValueError(f"expected two (N, J, 3) arrays, found {predicted_mm.shape} and {true_mm.shape}")
    predicted_mm, true_mm = root_relative(predicted_mm, root), root_relative(true_mm, root)
    distances: Array = np.linalg.norm(ALIGNMENTS[alignment](predicted_mm, true_mm) - true_mm, axis=-1)
    return distances


def pck(errors_mm: Array, threshold_mm: float = 150.0) -> float:
    """Share, 0 to 1, of the distances below the threshold (below, not at: the official MPI-INF-3DHP rule)."""
    return float(np.mean(errors_mm < threshold_mm))


def auc(errors_mm: Array) -> float:
    """Mean of `pck` over AUC_THRESHOLDS_MM, 0 to 1; at most 30/31, since no distance is below 0."""
    return float(np.mean([pck(errors_mm, threshold) for threshold in AUC_THRESHOLDS_MM]))


def summarise(predicted_camera_mm: ArrayLike, true_camera_mm: ArrayLike, root: int = HUMAN36M.root) -> dict[str, float]:
    """Every metric over all poses and joints: one `.._mm` a key of ALIGNMENTS, and `pck_150` and `auc`."""
    errors_mm = {name: joint_errors_mm(predicted_camera_mm, true_camera_mm, name, root) for name in ALIGNMENTS}
    means = {f"{name}_mm": float(errors.mean()) for name, errors in errors_mm.items()}
    return means | {"pck_150": pck(errors_mm["mpjpe"]), "auc": auc(errors_mm["mpjpe"])}
