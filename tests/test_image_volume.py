"""The image volume from the data to the score, on rendered people and on data that lack what lifting needs."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from integral_pose import experiment
from integral_pose.config.loading import load_config
from integral_pose.contracts import SampleKey
from integral_pose.data.augmentation import build_augmentation, build_device_augmentation
from integral_pose.data.course import read_test, read_train
from integral_pose.data.loader import PoseImages
from integral_pose.errors import ConfigError, DataError
from integral_pose.experiment.scoring import build_scorer
from integral_pose.geometry.coordinates import ImageVolume
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.io.distributed import Processes
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.dataset import render_dataset

OVERRIDES = ["model.volume=image", "data.augmentation.backend=device", "data.augmentation.flip=0.5"]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people") / "set"
    render_dataset(root, num_train=8, num_valid=4, seed=1, workers=1, show_progress=False)
    return root


def configure(tiny_yaml, root, *overrides, stored_size=256):
    return load_config(str(tiny_yaml), [f"data.root={root}", f"data.stored_size={stored_size}", *overrides]).config


@pytest.mark.parametrize("backend", ["none", "imgaug", "device"])
@pytest.mark.parametrize("scale_depth", ["false", "true"])
def test_labels_and_views_of_a_batch_agree(backend, scale_depth, people, tiny_yaml):
    """Encoding and lifting the labels of an augmented batch gives its labels in mm: pixels, views and axes fit."""
    more = {"imgaug": ["flip=0.5"], "device": ["flip=0.5", "rotation=[-30.0,30.0]"]}.get(backend, [])
    config = configure(
        tiny_yaml, people, "model.volume=image", f"data.augmentation.backend={backend}",
        f"data.augmentation.scale_depth={scale_depth}", *(f"data.augmentation.{change}" for change in more),
    )  # fmt: skip
    on_device = build_device_augmentation(config.data.augmentation, 0, HUMAN36M.flip_order)
    images = PoseImages(
        read_train(people), 256, (64, 96), build_augmentation(config.data.augmentation, 0, HUMAN36M.flip_order),
        on_device=on_device,
    )  # fmt: skip
    batch = images.__getitems__([SampleKey(0, row) for row in range(8)])
    if on_device:
        plain_px = read_train(people).joints_crop_px[:8] * images.px_per_stored_px
        assert (batch.joints_crop_px - torch.from_numpy(plain_px)).abs().max() > 1
    space = ImageVolume(2000.0, 64, 96, HUMAN36M.root)
    found_mm = space.decode(space.encode(batch.joints_camera_mm, batch.joints_crop_px), batch.views)
    assert (found_mm - batch.joints_camera_mm).abs().max() < 0.1


def test_trains_and_tests_on_rendered_people(people, tiny_yaml, tmp_path):
    config = configure(
        tiny_yaml, people, *OVERRIDES, f"run_dir={tmp_path / 'run'}", "data.val_subjects=[S8]", "evaluation.flip=true",
        "trainer.batch_size=2", "stages.0.weights.heatmap=0.01",
    )  # fmt: skip
    result = experiment.test(experiment.train(config), [])
    assert result.scores is not None
    assert np.isfinite(result.scores.mpjpe_mm)
    assert result.scores.num_samples == 4


def test_a_perfect_network_scores_zero(people, tiny_yaml, monkeypatch):
    """The whole way of a test with the truth for a prediction: what is left is the rounding of the labels."""
    config = configure(tiny_yaml, people, "model.volume=image")
    table = read_test(people)
    predictions_of = build_scorer(config, table, torch.device("cpu"), Processes())
    space = ImageVolume(2000.0, 64, 64, HUMAN36M.root)
    norm = space.encode(torch.from_numpy(table.joints_camera_mm), torch.from_numpy(table.joints_crop_px) / 4)

    class Truth(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.space = space

        def forward(self, images):
            return Coordinates(norm)

    found = predictions_of(Truth())
    assert np.abs(found.joints_camera_mm - table.joints_camera_mm).max() < 0.05


def test_data_without_views(course_root, tiny_yaml, tmp_path):
    trains = configure(tiny_yaml, course_root, *OVERRIDES, f"run_dir={tmp_path / 'a'}", stored_size=64)
    folder = experiment.train(trains)
    with pytest.raises(DataError, match=r"model\.volume image: poses in mm need the camera, .* lacks some of 'camera', "
                       r"'crop_to_image', 'root_camera_mm'\. Write it with integral-pose prepare"):  # fmt: skip
        experiment.test(folder, [])
    held_out = configure(tiny_yaml, course_root, *OVERRIDES, "data.val_subjects=[S8]", stored_size=64)
    with pytest.raises(DataError, match="training alone does without"):
        experiment.train(held_out)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.augmentation.scale_depth=true"], "data.augmentation.scale_depth is for model.volume 'image'"),
        (["model.volume=image", "model.head=regression"], "model.volume is 'image', but model.head 'regression'"),
    ],
)
def test_settings_that_contradict_each_other(overrides, message, tiny_yaml):
    with pytest.raises(ConfigError, match=message):
        load_config(str(tiny_yaml), overrides)


def test_damaged_views(own_course_root):
    with h5py.File(own_course_root / "annot/train.h5", "a") as file:
        file["camera"], file["crop_to_image"] = np.ones((10, 9)), np.ones((10, 3))
        file["root_camera_mm"] = np.ones((9, 3))
    with pytest.raises(DataError, match=r"'root_camera_mm' has 9 rows, but .*train_images\.txt lists 10 images"):
        read_train(own_course_root)
    with h5py.File(own_course_root / "annot/train.h5", "a") as file:
        del file["root_camera_mm"]
        file["root_camera_mm"] = np.full((10, 3), np.nan)
    with pytest.raises(DataError, match="'root_camera_mm' is NaN or infinite in 10 rows, the first is row 0"):
        read_train(own_course_root)


def test_a_continued_run_with_changes_on_the_device_is_the_same(course_root, tiny_yaml, tmp_path):
    """Epochs, rows and the seed say what is drawn: stopping and other workers make no difference to any bit."""
    settings = [*OVERRIDES, "data.augmentation.erase=0.5", "data.augmentation.rotation=[-30.0,30.0]"]
    whole, cut = ([*settings, f"run_dir={tmp_path / name}", "trainer.batch_size=4"] for name in ("whole", "cut"))
    found = []
    for overrides in (whole, [*cut, "trainer.max_steps=3"], [*cut, "data.workers=1"]):
        folder = experiment.train(configure(tiny_yaml, course_root, *overrides, stored_size=64))
        found.append(torch.load(folder / "last.pt", weights_only=True)["model"])
    assert all(torch.equal(found[0][name], found[2][name]) for name in found[0])
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])
