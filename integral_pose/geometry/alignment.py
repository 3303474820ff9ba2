"""Alignment of predicted poses to true ones; the arguments state what is fitted.

NumPy arrays and torch tensors of any float type go in, float64 arrays come out. A true joint that is NaN has no label:
the others are aligned, and the whole predicted pose moves along.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integral_pose.contracts import Array
from integral_pose.geometry.labelled_means import is_labelled


def align_scale(predicted_mm: ArrayLike, true_mm: ArrayLike) -> Array:
    """Root-relative (.., J, 3) poses, each multiplied by the one factor that brings it nearest to the truth.

    The factor is <predicted, true> / <predicted, predicted>; it is negative for a pose more wrong than its
    point reflection. A pose that is all zero stays so.
    """
    predicted, true = as_float64(predicted_mm), as_float64(true_mm)
    known = is_labelled(true)[..., None]
    dot = np.sum(np.where(known, predicted * true, 0), axis=(-2, -1), keepdims=True)
    square = np.sum(np.where(known, predicted * predicted, 0), axis=(-2, -1), keepdims=True)
    return predicted * np.divide(dot, square, out=np.ones_like(dot), where=square > 0)


def align_procrustes(predicted_mm: ArrayLike, true_mm: ArrayLike, *, scale: bool, reflection: bool = False) -> Array:
    """(.., J, 3) poses, each turned and moved (and scaled) to the least squared distance from the truth.

    Schoenemann 1966 with Umeyama's correction (1991): unless `reflection` is allowed, the determinant of the
    rotation is +1, so that a mirrored pose stays wrong. A pose without extent is moved only; one that is flat
    or straight is turned into the truth like any other. Raises ValueError for predictions that are not finite and for
    infinite truths, which the decomposition of a whole batch would fail on.
    """
    predicted, true = as_float64(predicted_mm), as_float64(true_mm)
    if not np.isfinite(predicted).all() or np.isinf(true).any():
        raise ValueError("poses that are aligned must be finite; found NaN or infinity")
    known = is_labelled(true)[..., None]
    true_mean = _mean_joint(true, known)
    predicted = predicted - _mean_joint(predicted, known)
    centred = np.where(known, predicted, 0)
    u, singular, vt = np.linalg.svd(np.swapaxes(centred, -1, -2) @ np.where(known, true - true_mean, 0))
    sign = np.ones_like(singular)
    if not reflection:
        sign[..., -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    aligned = predicted @ ((u * sign[..., None, :]) @ vt)
    if scale:
        square = np.sum(centred * centred, axis=(-2, -1))
        factor = np.divide((singular * sign).sum(-1), square, out=np.ones_like(square), where=square > 0)
        aligned = aligned * factor[..., None, None]
    moved: Array = aligned + true_mean
    return moved


def _mean_joint(joints: Array, known: NDArray[np.bool_]) -> Array:
    """(.., 1, 3) over the `known` (.., J, 1) of joints (.., J, 3); the origin where there are none."""
    total: Array = np.where(known, joints, 0).sum(axis=-2, keepdims=True)
    return total / np.maximum(known.sum(axis=-2, keepdims=True), 1)


def as_float64(values: Any) -> Array:
    """An array or a tensor, on any device and with or without a gradient, as a float64 array."""
    if hasattr(values, "detach"):  # a tensor, told without loading torch; NumPy does not know bfloat16
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
