"""A run is continued with the data that it has learnt from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from integral_pose.config.schema import Config
from integral_pose.data.pose_statistics import read_statistics
from integral_pose.errors import CheckpointError
from integral_pose.experiment import train
from integral_pose.experiment.scoring import find_mean_pose
from integral_pose.io.checkpoint_file import load_checkpoint, save_checkpoint
from integral_pose.skeleton import HUMAN36M

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture
def values(tiny_values: dict[str, Any], own_course_root: Path) -> dict[str, Any]:
    """A run that stopped after two steps of six."""
    tiny_values["data"]["root"] = str(own_course_root)
    tiny_values["trainer"]["max_steps"] = 2
    train(Config.model_validate(tiny_values))
    tiny_values["trainer"]["max_steps"] = None
    return tiny_values


def relabel(root: Path) -> None:
    with h5py.File(root / "annot" / "train.h5", "r+") as file:
        file["pose3d"][0, 5] += 10


def test_fewer_images_are_refused_whatever_is_allowed(
    values: dict[str, Any], own_course_root: Path, make_course: Callable[..., Path]
) -> None:
    values["data"]["root"] = str(make_course(num_train=6))
    for allow_change in (False, True):
        with pytest.raises(CheckpointError, match=r"training images: 10 images there, 6 now - not possible: a pass"):
            train(Config.model_validate(values), allow_change=allow_change)


def test_corrected_labels_are_learnt_from_on_request(
    values: dict[str, Any], own_course_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relabel(own_course_root)
    with pytest.raises(CheckpointError, match=r"other labels in mm \('pose3d'\) - possible with --allow-change"):
        train(Config.model_validate(values))
    run = train(Config.model_validate(values), allow_change=True)
    assert "continuing with other training images: other labels in mm" in capsys.readouterr().err
    last = load_checkpoint(run / "last.pt")
    assert [(change["step"], change["key"]) for change in last["history"]] == [(2, "data.train.pose3d")]


def test_held_out_images_stay_the_same(tiny_values: dict[str, Any], own_course_root: Path) -> None:
    tiny_values["data"] |= {"root": str(own_course_root), "val_subjects": ["S1"]}
    tiny_values["trainer"]["max_steps"] = 2
    train(Config.model_validate(tiny_values))
    relabel(own_course_root)  # row 0 is of S1
    with pytest.raises(CheckpointError, match="held-out images: other labels in mm .* not possible: best.pt is chosen"):
        train(Config.model_validate(tiny_values), allow_change=True)


def test_a_checkpoint_without_a_fingerprint_goes_on(values: dict[str, Any], own_course_root: Path) -> None:
    last = Path(values["run_dir"]) / "last.pt"
    content = load_checkpoint(last)
    del content["data"]
    save_checkpoint(last, content)
    relabel(own_course_root)
    assert train(Config.model_validate(values)) == last.parent


def test_the_mean_pose_is_that_of_the_data_learnt_from(
    values: dict[str, Any], make_course: Callable[..., Path]
) -> None:
    own, other = Path(values["data"]["root"]), make_course(seed=5)
    content = load_checkpoint(Path(values["run_dir"]) / "last.pt")
    found = find_mean_pose(content, HUMAN36M, other, "auto", HUMAN36M)
    assert found is not None
    np.testing.assert_array_equal(found[0], read_statistics(own).mean_mm)
    assert found[1] == "mean training pose"
    found = find_mean_pose({}, HUMAN36M, other, "auto", HUMAN36M)  # a model file, or a checkpoint from before
    assert found is not None
    np.testing.assert_array_equal(found[0], read_statistics(other).mean_mm)
    assert found[1] == f"mean pose of {other}"
    (other / "annot/train.h5").unlink()
    assert find_mean_pose({}, HUMAN36M, other, "auto", HUMAN36M) is None
