"""The kernel that augments pixels: against its plain reference in Triton's interpreter, and compiled for a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from integral_pose.data.device_augmentation import DeviceAugmentation, crop_to_changed_crop
from integral_pose.skeleton import HUMAN36M
from tests.ahead_of_time import compiled_launches, resources
from tests.launches import Launches
from tests.triton_interpreter import INTERPRETED, interpreted, run_interpreted_tests

pytest.importorskip("triton")
EVERYTHING = DeviceAugmentation(
    seed=0, translate_percent=(-0.1, 0.1), scale=(0.75, 1.25), hue_saturation=(-60, 60), contrast=(0.7, 1.3),
    brightness=(0.5, 1.5), rotation=(-30, 30), rotation_share=1.0, flip=0.5, desaturation=(0, 1), blur_px=(0, 0),
    erase=0.5, scale_depth=False, flip_order=HUMAN36M.flip_order,
)  # fmt: skip
MOST_LAUNCHES, MOST_MB_AN_IMAGE = 40, 4.0


@pytest.mark.skipif(INTERPRETED, reason="the inner run")
def test_in_the_interpreter() -> None:
    run_interpreted_tests(__file__)


@interpreted
def test_interpreted_agrees_with_the_plain_form() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 40, 52, 3), dtype=np.uint8)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    changes = EVERYTHING.draw(0, np.arange(6))
    moved = crop_to_changed_crop(changes, 40, 52)
    plain = EVERYTHING._pixels_plainly(images, moved, changes).int()
    found = EVERYTHING._pixels_at_once(images, moved, changes)
    assert found.is_contiguous(memory_format=torch.channels_last)
    differences = (found.int() - plain).abs()
    assert (differences > 0).float().mean() < 2e-3
    assert (differences > 2).float().mean() < 5e-4  # a level more or less of a colour moves its hue


@pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler")
def test_it_compiles_in_few_launches_and_bytes(tmp_path: Path) -> None:
    images = torch.empty(8, 256, 256, 3, dtype=torch.uint8, device="meta").permute(0, 3, 1, 2)
    changes = torch.empty(8, 21, device="meta")
    with compiled_launches(90, tmp_path) as kernels, Launches() as launches:
        result = EVERYTHING._pixels_at_once(images, crop_to_changed_crop(changes, 256, 256), changes)
    assert (result.shape, result.stride(), result.dtype) == (images.shape, images.stride(), torch.uint8)
    (kernel,) = kernels.values()
    use = resources(kernel, tmp_path)
    assert use["LOCAL"] == use["STACK"] == 0, use
    assert launches.found.total() + 1 <= MOST_LAUNCHES, launches.found
    read_and_written = 2 * images[0].numel()
    assert launches.num_bytes / 8 + read_and_written <= MOST_MB_AN_IMAGE * 1e6
