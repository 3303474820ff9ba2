"""The loop seen from outside: an experiment that learns, and one that blows up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from integral_pose.config.loading import load_config
from integral_pose.errors import ConfigError, DataError
from integral_pose.experiment import test as run_test
from integral_pose.experiment import train
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.devices import choose_device, choose_precision
from integral_pose.runs.metrics_file import read_metrics

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def test_overfits_and_tests(tiny_yaml: Path, course_root: Path) -> None:
    overrides = ["stages.0.epochs=60", "stages.0.learning_rate=1e-2", "trainer.log_every=2"]
    overrides += ["trainer.pictures_every=60", "model.deconv_channels=[16,16]", "trainer.checkpoint_every=100"]
    folder = train(load_config(str(tiny_yaml), overrides).config)
    train_mm = [row["mpjpe_mm"] for row in read_metrics(folder / "metrics.jsonl")]
    assert train_mm[-1] < 0.5 * train_mm[0]
    assert {path.name for path in folder.iterdir()} >= {
        "best.pt", "config.yaml", "curves.png", "last.pt", "metrics.jsonl", "pictures", "provenance.json",
        "tensorboard",
    }  # fmt: skip
    assert {path.name.split("_")[0] for path in (folder / "pictures").iterdir()} == {
        "augmented.png",
        "poses",
        "heatmap",
    }
    result = run_test(folder, [])
    assert result.scores is not None
    assert result.predictions_csv.read_text().startswith("Id,Hip_x,Hip_y,Hip_z,RHip_x")
    assert len(result.predictions_csv.read_text().splitlines()) == 6
    assert (folder / "scores.json").exists()


def test_plain_state_dict_is_under_model(tiny_yaml: Path) -> None:
    folder = train(load_config(str(tiny_yaml), ["trainer.max_steps=1"]).config)
    weights = load_checkpoint(folder / "best.pt")["model"]
    assert "head.to_volume.weight" in weights
    assert all(isinstance(value, torch.Tensor) for value in weights.values())


def test_best_is_of_the_lowest_score(tiny_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from integral_pose.experiment import scoring

    scored = iter([3.0, 1.0, 2.0])
    original = scoring.score_predictions

    def scripted(*arguments: Any, **named: Any) -> Any:
        scores = original(*arguments, **named)
        scores.mpjpe_mm = next(scored)
        return scores

    monkeypatch.setattr(scoring, "score_predictions", scripted)
    overrides = ["stages.0.epochs=3", "evaluation.every=1", "data.val_subjects=[S8]"]
    folder = train(load_config(str(tiny_yaml), overrides).config)
    best = load_checkpoint(folder / "best.pt")
    assert (best["progress"]["best_mm"], best["progress"]["epoch"]) == (1.0, 2)
    assert load_checkpoint(folder / "last.pt")["progress"]["best_mm"] == 1.0


def test_faults_are_found_before_the_first_step(tiny_yaml: Path) -> None:
    with pytest.raises(DataError, match="8 training images are fewer than trainer.batch_size 16"):
        train(load_config(str(tiny_yaml), ["data.val_subjects=[S8]", "trainer.batch_size=16"]).config)
    with pytest.raises(ConfigError, match=r"model\.num_joints is 18, but the labels in .* are of 17 joints"):
        train(load_config(str(tiny_yaml), ["model.num_joints=18"]).config)
    assert not (Path(load_config(str(tiny_yaml)).config.run_dir) / "last.pt").exists()


def test_regression_standardises_with_the_training_statistics(tiny_yaml: Path, course_root: Path) -> None:
    import h5py

    folder = train(load_config(str(tiny_yaml), ["model.head=regression", "trainer.max_steps=1"]).config)
    with h5py.File(course_root / "annot" / "train.h5") as file:
        poses = file["pose3d"][()].astype(np.float64)
    expected_mm = (poses - poses[:, :1]).mean(0)
    weights = load_checkpoint(folder / "best.pt")["model"]
    np.testing.assert_allclose(weights["head.mean_mm"], expected_mm, atol=1e-2)
    assert weights["head.std_mm"][0].tolist() == [0, 0, 0]


def test_hardware_choices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_precision("bf16", torch.device("cpu"), torch.nn.Identity()) == torch.bfloat16
    assert choose_precision("float32", torch.device("cpu"), torch.nn.Identity()) == torch.float32
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(ConfigError, match="finds no CUDA device here. To work on the CPU, say so: tra"):
            choose_device("cuda")
