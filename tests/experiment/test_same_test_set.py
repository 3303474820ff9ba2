"""Runs are compared on the same images and joints alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from integral_pose.errors import ConfigError
from integral_pose.experiment.tested_run import check_same_test_set
from integral_pose.skeleton import HUMAN36M, Skeleton

TWO = Skeleton(("Hip", "Head"), {"Head": "Hip"}, ())


def a_run(folder: Path, images: tuple[str, ...] = ("a.jpg", "b.jpg"), skeleton: Skeleton = HUMAN36M):
    """A run that predicted some images."""
    (folder / "annot").mkdir(parents=True, exist_ok=True)
    (folder / "annot/valid_images.txt").write_text("\n".join(images))
    predicted_mm = np.zeros((len(images), skeleton.num_joints, 3))
    return SimpleNamespace(checkpoint=folder / "best.pt", root=folder, skeleton=skeleton, predicted_mm=predicted_mm)


def test_the_same_set_in_another_place_can_be_compared(tmp_path):
    check_same_test_set([a_run(tmp_path / name) for name in "abc"])


@pytest.mark.parametrize(("other", "message"), [
    ({"images": ("a.jpg",)}, "predicted 1 images, .*a 2; only runs on one test set"),
    ({"images": ("a.jpg", "c.jpg")}, "list other images"),
    ({"skeleton": TWO}, "predicted the joints Hip, Head, .*a Hip, RHip"),
])  # fmt: skip
def test_other_sets_cannot(other, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        check_same_test_set([a_run(tmp_path / "a"), a_run(tmp_path / "b"), a_run(tmp_path / "c", **other)])
