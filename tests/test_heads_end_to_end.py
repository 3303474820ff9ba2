"""Every head from the data to the score on rendered people: trained, tested, loaded, drawn and continued."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from integral_pose import experiment
from integral_pose.config.loading import load_config
from integral_pose.contracts import SampleKey
from integral_pose.data.course import read_test
from integral_pose.data.loader import PoseImages
from integral_pose.experiment.sample_figures import draw_samples
from integral_pose.heatmaps.marginals import planes_of_volume
from integral_pose.models.predictor import Predictor
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.dataset import render_dataset
from integral_pose.weights.stored_network import load_network
from tests.conftest import build_network_of

CONFIGS = Path(__file__).parent.parent / "configs"
HEADS = {
    "volumetric": [],
    "debiased": ["model.decoder=debiased"],
    "planes": ["model.head=planes"],
    "axes": ["model.head=axes", "model.cells_per_feature=2"],
}
NEW = ["debiased", "planes", "axes"]
DIVERGENCE = ["loss.heatmap.name=jensen_shannon", "stages.0.weights.heatmap=0.5"]
pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people") / "set"
    render_dataset(root, num_train=8, num_valid=4, seed=1, workers=1, show_progress=False)
    return root


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", NEW)
def test_the_shipped_configuration_learns_from_rendered_people(name, people, tmp_path):
    """Two steps, scores with the mirrored images, and the network loaded again says what the test wrote."""
    small = [
        "data.image_size=[64, 96]", "data.workers=0", "trainer.batch_size=2", "trainer.max_steps=2",
        "trainer.device=cpu", "trainer.log_every=1", "evaluation.batch_size=2", "evaluation.flip=true",
        "model.volume_depth=5", f"data.root={people}", f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    if name != "axes":
        small.append("model.deconv_channels=[8, 8]")
    folder = experiment.train(load_config(str(CONFIGS / f"{name}.yaml"), small).config)
    logged = {row["step"]: row for row in rows(folder) if row["group"] == "train"}
    assert 0 < logged[2]["heatmap"] < np.log(2)
    assert logged[2]["integral"] > 0
    if name == "debiased":
        plain = experiment.test(folder, ["model.decoder=soft_argmax"])
    result = experiment.test(folder, [])
    assert result.scores is not None
    if name == "debiased":
        assert plain.scores.mpjpe_mm != result.scores.mpjpe_mm
    assert np.isfinite(result.scores.mpjpe_mm)
    loaded = load_network(folder).network
    images = PoseImages(read_test(people), 256, (64, 96), augmentation=None).__getitems__(
        [SampleKey(0, row) for row in range(4)]
    )
    with torch.inference_mode():
        again_mm = Predictor(loaded, flip=True, skeleton=HUMAN36M)(images.images)[0].numpy()
    written_mm = np.loadtxt(result.predictions_csv, delimiter=",", skiprows=1)[:, 1:].reshape(4, 17, 3)
    assert np.abs(written_mm).max() > 0  # hardly trained, these are far below a millimetre for some heads
    np.testing.assert_allclose(again_mm, written_mm, atol=1e-3 * np.abs(written_mm).max())


@pytest.mark.parametrize("head", NEW)
def test_the_image_volume(head, people, tiny_yaml, tmp_path):
    overrides = [
        f"data.root={people}", "data.stored_size=256", f"run_dir={tmp_path / 'run'}", "model.volume=image",
        "data.augmentation.backend=device", "data.augmentation.flip=0.5", "evaluation.flip=true", "evaluation.every=1",
        "data.val_subjects=[S8]", "trainer.batch_size=2", "trainer.max_steps=3", "trainer.pictures_every=1",
    ]  # fmt: skip
    folder = experiment.train(load_config(str(tiny_yaml), [*overrides, *HEADS[head], *DIVERGENCE]).config)
    assert np.isfinite(experiment.test(folder, []).scores.mpjpe_mm)
    assert {path.name.split("_")[0] for path in (folder / "pictures").iterdir()} == {
        "augmented.png",
        "poses",
        "heatmap",
    }


def test_a_debiased_network_is_trained_as_it_is_used(course_root, tiny_yaml, tmp_path):
    """The same weights in the first step, another loss."""
    found = []
    for decoder in ("soft_argmax", "debiased"):
        overrides = [f"model.decoder={decoder}", f"run_dir={tmp_path / decoder}", "trainer.max_steps=1"]
        folder = experiment.train(load_config(str(tiny_yaml), overrides).config)
        found += [row["integral"] for row in rows(folder) if row["group"] == "train"]
    assert found[0] != found[1]


@pytest.mark.parametrize("head", NEW)
def test_a_continued_run_is_the_same(head, course_root, tiny_yaml, tmp_path):
    found = []
    for name, more in (("whole", []), ("cut", ["trainer.max_steps=3"]), ("cut", [])):
        overrides = [*HEADS[head], *DIVERGENCE, f"run_dir={tmp_path / name}", "trainer.ema_decay=0.9", *more]
        folder = experiment.train(load_config(str(tiny_yaml), overrides).config)
        found.append(torch.load(folder / "last.pt", weights_only=True)["model"])
    assert all(torch.equal(found[0][name], found[2][name]) for name in found[0])
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("head", [*HEADS, "regression"])
def test_the_picture_of_the_heat_map_marks_what_the_network_says(head, course_root, tiny_yaml, monkeypatch):
    """The ring is where the decoder of the network puts the joint, in cells; without heat maps there is no picture."""
    drawn = []

    def draw(probabilities, expected_voxel, true_voxel, *, title, sides=None):
        assert sides in (None, (1, 1, 1))  # the metric volume is a cube, whatever its cells
        drawn.append((probabilities, expected_voxel, title))
        return np.zeros((1, 1, 3), np.uint8)

    for name in ("draw_planes", "draw_axes"):
        monkeypatch.setattr(f"integral_pose.experiment.sample_figures.{name}", draw)
    config = load_config(str(tiny_yaml), HEADS.get(head, ["model.head=regression"])).config
    model = build_network_of(config).eval()
    images = PoseImages(read_test(course_root), 64, (64, 64), augmentation=None)
    pictures = draw_samples(model, images, torch.device("cpu"))
    if head == "regression":
        assert pictures.keys() == {"poses"}
        return
    (probabilities, expected_voxel, title), joint = drawn[0], 13
    assert title == f"Heat map of LWrist in {images.table.name(0)}"
    depth, height, width = config.volume_shape
    shapes = [(width,), (height,), (depth,)] if head == "axes" else [(height, width), (depth, height), (depth, width)]
    assert [probability.shape for probability in probabilities] == shapes
    with torch.inference_mode():
        batch = images.__getitems__([SampleKey(0, row) for row in range(len(images))])
        output = model(batch.images[:1])
        x, y, z = output.joints()[0, joint].tolist()
    marginals = output.marginals if head in ("planes", "axes") else planes_of_volume(output.logits)
    for probability, logits in zip(probabilities, marginals, strict=True):
        np.testing.assert_allclose(probability.ravel(), logits[0, joint].flatten().softmax(0).numpy(), atol=1e-6)
    expected = [(coordinate + 0.5) * n - 0.5 for coordinate, n in ((x, width), (y, height), (z, depth))]
    assert expected_voxel == pytest.approx(expected, abs=1e-4)
