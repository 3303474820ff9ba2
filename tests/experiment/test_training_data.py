"""What a training reads at its start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from integral_pose.config.schema import Config
from integral_pose.experiment import train
from integral_pose.io import labels


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    "model",
    [{"head": "regression"}, {"volume": "image", "head_prior": "training"}, {"head_prior": "training"}],
    ids=str,
)
def test_labels_are_read_once(
    model: dict[str, Any],
    tiny_values: dict[str, Any],
    own_course_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savetxt(own_course_root / "annot/mean.txt", np.full(51, 100.0))  # of other data
    np.savetxt(own_course_root / "annot/std.txt", np.full(51, 100.0))
    tiny_values["data"]["root"] = str(own_course_root)
    tiny_values["model"] |= model
    tiny_values["trainer"]["max_steps"] = 1
    read, keys = labels.read_joints, []

    def counting(path: Path, key: str, *rest: Any) -> Any:
        keys.append(key)
        return read(path, key, *rest)

    monkeypatch.setattr(labels, "read_joints", counting)
    train(Config.model_validate(tiny_values))
    assert sorted(keys) == ["pose2d", "pose3d"]
    assert capsys.readouterr().err.count("off the mean pose of train.h5") == 1
