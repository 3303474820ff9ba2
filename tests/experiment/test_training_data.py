"""What a training reads at its start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from integral_pose.config.schema import Config
from integral_pose.data.course import PoseTable
from integral_pose.data.pose_statistics import PoseStatistics
from integral_pose.experiment import train
from integral_pose.experiment.assembly import TrainingData
from integral_pose.experiment.training import _mean_pose_level
from integral_pose.io import labels
from integral_pose.skeleton import HUMAN36M


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


def test_the_level_of_the_mean_pose_is_of_held_out_images_where_there_are_any(tmp_path: Path) -> None:
    """By hand: the mean pose is 0, one joint of 17 is 170 mm from it in training, 340 mm where held out."""

    def data(mm: float) -> PoseTable:
        joints_mm = np.zeros((2, 17, 3), np.float32)
        joints_mm[:, 4, 1] = mm
        return PoseTable(
            tmp_path, np.array([b"a", b"b"]), joints_mm, np.zeros((2, 17, 2), np.float32), skeleton=HUMAN36M
        )

    statistics = PoseStatistics(np.zeros((17, 3), np.float32), np.ones((17, 3), np.float32))
    found = [_mean_pose_level(TrainingData(data(170), held, statistics, None)) for held in (data(340), None)]
    assert found == [("mean pose, held out", 20.0), ("mean pose, training images", 10.0)]
    assert _mean_pose_level(TrainingData(data(np.nan), None, statistics, None)) == (
        "mean pose, training images",
        0.0,
    )  # of the joints that have a label
    data_in_px = data(0)
    data_in_px.joints_camera_mm[:] = np.nan
    assert _mean_pose_level(TrainingData(data_in_px, None, statistics, None)) is None
