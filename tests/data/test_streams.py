"""Every augmenter draws from a stream of its own, in both backends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from integral_pose.contracts import PoseSample, SampleKey
from integral_pose.data import augmentation, device_augmentation, draws
from integral_pose.data.augmentation import ImgaugAugmentation
from integral_pose.data.device_augmentation import DeviceAugmentation
from integral_pose.data.draws import draw_uniform
from integral_pose.skeleton import HUMAN36M

RANGES: dict[str, Any] = {
    "translate_percent": [-0.1, 0.1], "scale": [0.8, 1.2], "hue_saturation": [-20, 20], "contrast": [0.8, 1.2],
    "brightness": [0.8, 1.2], "flip": 0.5, "desaturation": [0.1, 0.5], "blur_px": [0.5, 1.0], "erase": 0.5,
}  # fmt: skip
STREAMS = (
    draws.AFFINE, draws.FLIP, draws.COLOUR, draws.CONTRAST, draws.BRIGHTNESS, draws.DESATURATION, draws.BLUR,
    draws.ERASE, draws.JPEG,
)  # fmt: skip


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The streams that were drawn from, in the order of the draws."""
    found: list[int] = []

    def note(function: Callable[..., Any], at: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            found.append(arguments[at])
            return function(*arguments)

        return call

    monkeypatch.setattr(augmentation, "stream_seed", note(augmentation.stream_seed, 2))
    for module in (augmentation, device_augmentation):
        monkeypatch.setattr(module, "draw_uniform", note(draw_uniform, 3))
    return found


def test_imgaug_augmenters_in_their_order(noted: list[int]) -> None:
    sample = PoseSample(
        0, np.full((64, 64, 3), 120, np.uint8), np.zeros((17, 3), np.float32), np.full((17, 2), 32, np.float32)
    )
    ImgaugAugmentation(seed=0, flip_order=HUMAN36M.flip_order, jpeg=[5, 30], **RANGES)(sample, SampleKey(0, 0))
    assert tuple(noted) == STREAMS


def test_device_augmenters(noted: list[int]) -> None:
    DeviceAugmentation(
        seed=0, flip_order=HUMAN36M.flip_order, rotation=[-20, 20], rotation_share=1.0, scale_depth=False, **RANGES
    ).draw(0, np.arange(4))
    assert sorted(noted) == sorted({*STREAMS, draws.ROTATION} - {draws.JPEG})


def test_streams_are_unrelated() -> None:
    """All pairs of them, and of the seeds of imgaug's generators."""
    assert len({*STREAMS, draws.ROTATION}) == 10
    drawn = [draw_uniform(3, 1, np.arange(2000), stream, 1)[:, 0] for stream in range(10)]
    assert np.abs(np.corrcoef(drawn)[np.triu_indices(10, 1)]).max() < 0.09
    seeds = [augmentation.stream_seed(3, SampleKey(1, 5), stream) for stream in range(10)]
    assert all(one != other for one, other in itertools.combinations(seeds, 2))
