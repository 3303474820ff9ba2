"""Alignment of predicted poses to true ones. What is fitted is said by the arguments, never assumed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def align_scale(predicted_mm: Array, true_mm: Array) -> Array:
    """Root-relative (N, J, 3) poses, each multiplied by the one factor that brings it nearest to the truth.

    A pose that is all zero stays so.
    """
    dot = np.sum(predicted_mm * true_mm, axis=(-2, -1), keepdims=True)
    square = np.sum(predicted_mm * predicted_mm, axis=(-2, -1), keepdims=True)
    return predicted_mm * np.divide(dot, square, out=np.ones_like(dot), where=square > 0)


def align_procrustes(
    predicted_mm: Array, true_mm: Array, *, scale: bool, reflection: bool = False
) -> Array:
    """(N, J, 3) poses, each turned and moved (and scaled) to the least squared distance from the truth.

    Schoenemann 1966 with Umeyama's correction (1991): unless `reflection` is allowed, the determinant of the
    rotation is +1, so that a mirrored pose is not forgiven.
    """
    predicted_mean = predicted_mm.mean(axis=-2, keepdims=True)
    true_mean = true_mm.mean(axis=-2, keepdims=True)
    predicted, true = predicted_mm - predicted_mean, true_mm - true_mean
    u, singular, vt = np.linalg.svd(np.swapaxes(predicted, -1, -2) @ true)
    sign = np.ones_like(singular)
    if not reflection:
        sign[..., -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt
    aligned = predicted @ rotation
    if scale:
        square = np.sum(predicted * predicted, axis=(-2, -1))
        factor = np.divide((singular * sign).sum(-1), square, out=np.ones_like(square), where=square > 0)
        aligned = aligned * factor[..., None, None]
    aligned_mm: Array = aligned + true_mean
    return aligned_mm
