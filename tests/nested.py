"""Bitwise comparison of nested checkpoint contents."""

from __future__ import annotations

from typing import Any

import torch

SPEED = {"images_per_s", "data_wait_share"}  # columns of metrics.jsonl that depend on the clock


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Keys at which two nested contents differ in any bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return [found for key in keys for found in differences(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found for i, pair in enumerate(zip(one, other, strict=True)) for found in differences(*pair, f"{where}.{i}")
        ]
    same = (
        torch.equal(one, other) and one.dtype == other.dtype and one.stride() == other.stride()
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
        else one == other and type(one) is type(other)
    )
    return [] if same else [where]
