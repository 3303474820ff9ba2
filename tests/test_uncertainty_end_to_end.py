"""Networks that say how far off they are, and sampled losses: trained, continued, tested, predicted with, exported."""

import importlib
import json

import numpy as np
import pytest
import torch

from integral_pose import experiment, load_model
from integral_pose.config.loading import load_config
from integral_pose.experiment.reporting import write_report
from integral_pose.weights.exporting import METADATA, export
from integral_pose.weights.stored_network import load_network

BETA = ["loss.joints=beta_nll", "model.uncertainty=scale"]
RLE = ["loss.joints=rle", "model.uncertainty=flow"]
pytestmark = pytest.mark.usefixtures("tiny_backbone")


def train(tiny_yaml, run_dir, *overrides):
    config = load_config(str(tiny_yaml), [f"run_dir={run_dir}", *overrides]).config
    return experiment.train(config)


def weights_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)["model"]


@pytest.mark.parametrize("options", [RLE, ["loss.sampled=true"]], ids=["rle", "sampled"])
def test_a_continued_run_ends_at_the_same_weights(options, tiny_yaml, tmp_path):
    whole = train(tiny_yaml, tmp_path / "whole", *options, "trainer.max_steps=4")
    train(tiny_yaml, tmp_path / "parts", *options, "trainer.max_steps=2")
    parts = train(tiny_yaml, tmp_path / "parts", *options, "trainer.max_steps=4")
    expected, found = weights_of(whole), weights_of(parts)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    begun_at_0 = [name for name in found if name in ("uncertainty.linear.weight", "uncertainty.flow.shifts.5.4.weight")]
    assert len(begun_at_0) == (2 if options is RLE else 0)
    assert all(found[name].abs().max() > 0 for name in begun_at_0)


@pytest.mark.filterwarnings("ignore:.*Expected mm")  # after two steps
@pytest.mark.parametrize("options", [BETA, [*RLE, "model.head=regression"]], ids=["beta_nll", "rle"])
def test_sigma_reaches_every_output(options, tiny_yaml, tmp_path):
    folder = train(tiny_yaml, tmp_path / "run", *options, "trainer.max_steps=2")
    result = experiment.test(folder, [])
    rows = np.loadtxt(result.sigma_csv, delimiter=",", skiprows=1)
    assert result.sigma_csv.read_text().startswith("Id,Hip_sigma,RHip_sigma,")
    assert (rows[:, 1] == 0).all()
    assert (rows[:, 2:] > 0).all()
    metrics = json.loads(result.scores_json.read_text())["metrics"]
    assert metrics["sigma_mm"] == pytest.approx(rows[:, 2:].mean(), rel=1e-5)
    assert 0 <= metrics["calibration_error"] <= 0.5
    assert "within 1 sigma" in write_report([folder], [], tmp_path / "report.html").read_text()

    picture = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    pose = load_model(folder).predict(picture)[0]
    assert pose.sigma_mm.shape == (17,)
    assert pose.sigma_mm[0] == 0
    assert pose.sigma_mm[1:].min() > 0


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_exported_files_give_sigma_as_a_second_output(form, tiny_yaml, tmp_path):
    folder = train(tiny_yaml, tmp_path / "run", *RLE, "trainer.max_steps=1")
    done = export(folder, form, tmp_path / f"m.{form}")
    loaded = load_network(folder)
    images = torch.randint(0, 256, (3, 3, *loaded.description.image_size)).float()
    if form == "onnx":
        session = importlib.import_module("onnxruntime").InferenceSession(done.path, providers=["CPUExecutionProvider"])
        assert METADATA in session.get_modelmeta().custom_metadata_map
        joints_mm, sigma_mm = map(torch.from_numpy, session.run(["joints", "sigma"], {"images": images.numpy()}))
    else:
        joints_mm, sigma_mm = torch.export.load(done.path).module()(images)
    with torch.inference_mode():
        output = loaded.network(images)
        torch.testing.assert_close(joints_mm, loaded.network.space.decode(output.joints()), atol=0.05, rtol=0)
        torch.testing.assert_close(sigma_mm, loaded.network.space.deviation_mm(output.deviation), atol=0.05, rtol=0)
    assert done.metadata["sigma"]["unit"] == "mm"
