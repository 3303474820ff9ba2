from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from integral_pose.training.meter import Meter
from integral_pose.training.run_folder import RunFolder, read_metrics


def test_start_explains_the_run_and_drops_rows_beyond_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", writes=True)
    folder.start("seed: 3\n", seed=3, device="cpu", step=0)
    for step in (1, 2, 3):
        folder.log(step, "train", {"loss": step / 2})
    folder.close()
    with folder.metrics.open("a") as file:
        file.write('{"step": 4, "gro')  # a kill in the middle of a line
    folder.start("seed: 3\n", seed=3, device="cpu", step=2)
    folder.log(3, "val", {"mpjpe_mm": 7.0})
    folder.close()
    assert read_metrics(folder.metrics) == [
        {"step": 1, "group": "train", "loss": 0.5},
        {"step": 2, "group": "train", "loss": 1.0},
        {"step": 3, "group": "val", "mpjpe_mm": 7.0},
    ]
    assert (folder.path / "config.yaml").read_text() == "seed: 3\n"
    starts = json.loads((folder.path / "provenance.json").read_text())
    assert [start["start_step"] for start in starts] == [0, 2]
    assert starts[0]["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"command", "time_utc", "git_commit", "python", "seed"} <= starts[0].keys()


def test_pictures_and_scalars_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(tmp_path, writes=True)
    folder.start("", seed=0, device="cpu", step=0)
    folder.log(5, "train", {"loss": 0.25})
    folder.show(5, "poses", np.full((4, 6, 3), 200, np.uint8))
    folder.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(5, 0.25)]
    assert [(image.step, image.width, image.height) for image in board.Images("poses")] == [(5, 6, 4)]
    assert Image.open(tmp_path / "pictures" / "poses_step0000005.png").size == (6, 4)


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", writes=False)
    folder.start("", seed=0, device="cpu", step=0)
    folder.log(1, "train", {"loss": 1.0})
    folder.show(1, "poses", np.zeros((2, 2, 3), np.uint8))
    folder.close()
    assert not (tmp_path / "run").exists()


def test_meter_goes_through_a_checkpoint_unchanged() -> None:
    meter, device = Meter(), torch.device("cpu")
    meter.add({"loss": torch.tensor(0.1), "norm": torch.tensor(3.0)})
    meter.add({"loss": torch.tensor(0.2), "norm": torch.tensor(5.0)})
    other = Meter()
    other.restore(meter.state(), device)
    for both in (meter, other):
        both.add({"loss": torch.tensor(0.6), "norm": torch.tensor(1.0)})
    means = {name: value.item() for name, value in meter.means().items()}
    assert means == {name: value.item() for name, value in other.means().items()}
    assert round(means["loss"], 6) == 0.3
    assert means["norm"] == 3.0
    meter.reset()
    assert meter.state() == {"sums": {}, "count": 0}
