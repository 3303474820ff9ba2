"""Whatever the order of the legs on disk, in memory there is the official one."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from integral_pose.data.course import read_test, read_train
from integral_pose.data.pose_statistics import read_statistics, statistics_of
from integral_pose.errors import DataError
from integral_pose.evaluation.csv_scores import score_csv
from integral_pose.geometry.sides import to_human36m_order
from integral_pose.skeleton import HUMAN36M
from tests.geometry.test_sides import standing


@pytest.fixture
def left_leg_first(tmp_path: Path) -> Path:
    poses_mm = to_human36m_order(standing(), "c2f").astype(np.float32)
    (tmp_path / "annot").mkdir()
    (tmp_path / "images").mkdir()
    names = [f"S1_Walking_1.54138969_{i + 1:06d}.jpg" for i in range(len(poses_mm))]
    for name in names:
        (tmp_path / "images" / name).write_bytes(b"")
    for split in ("train", "valid"):
        with h5py.File(tmp_path / "annot" / f"{split}.h5", "w") as file:
            file["pose2d"], file["pose3d"] = poses_mm[..., :2] + 128, poses_mm
        (tmp_path / "annot" / f"{split}_images.txt").write_text("".join(f"{name}\n" for name in names))
    np.savetxt(tmp_path / "annot/mean.txt", poses_mm.mean(0).reshape(-1) + np.arange(51) / 100)
    np.savetxt(tmp_path / "annot/std.txt", np.arange(51) + 100)
    return tmp_path


@pytest.mark.parametrize("joint_order", ["auto", "c2f"])
def test_poses_and_statistics_are_turned(left_leg_first: Path, joint_order: str) -> None:
    for read in (read_train, read_test):
        table = read(left_leg_first, joint_order=joint_order)
        np.testing.assert_allclose(table.joints_camera_mm, standing(), atol=1e-4)
        np.testing.assert_allclose(table.joints_crop_px, standing()[..., :2] + 128, atol=1e-4)
    statistics = read_statistics(left_leg_first, joint_order=joint_order)
    steps = (statistics.mean_mm - standing().mean(0)) * 100  # what mean.txt adds to the mean pose
    np.testing.assert_allclose(steps[:8, 0], [0, 12, 15, 18, 3, 6, 9, 21], atol=0.1)
    assert statistics.std_mm[:8, 0].tolist() == [100, 112, 115, 118, 103, 106, 109, 121]
    same_written = statistics_of(read_train(left_leg_first, joint_order=joint_order), left_leg_first)
    (left_leg_first / "annot/mean.txt").unlink()
    (left_leg_first / "annot/std.txt").unlink()
    same_computed = statistics_of(read_train(left_leg_first, joint_order=joint_order), left_leg_first)
    computed = read_statistics(left_leg_first, joint_order=joint_order)
    for one, other in ((statistics, same_written), (computed, same_computed)):  # bit for bit
        assert (one.mean_mm.tobytes(), one.std_mm.tobytes()) == (other.mean_mm.tobytes(), other.std_mm.tobytes())


def test_a_contradiction_names_the_file(left_leg_first: Path) -> None:
    for read in (read_train, read_test, read_statistics):
        with pytest.raises(DataError, match=r"(train|valid)\.h5: data.joint_order says 'official'"):
            read(left_leg_first, joint_order="official")


def test_scoring_turns_the_truth(left_leg_first: Path) -> None:
    from integral_pose.evaluation.predictions_csv import write_predictions_csv

    write_predictions_csv(left_leg_first / "predictions.csv", standing(), HUMAN36M)
    files = left_leg_first / "predictions.csv", left_leg_first / "annot/valid.h5"
    for order in ("auto", "c2f"):
        assert score_csv(*files, joint_order=order).mpjpe_mm == pytest.approx(0, abs=1e-3)
    with pytest.raises(DataError, match=r"valid\.h5: .*joint_order.* says 'official'.*score: --joint-order"):
        score_csv(*files, joint_order="official")


def test_poses_that_do_not_tell_are_taken_as_the_setting_says(left_leg_first: Path) -> None:
    from integral_pose.evaluation.predictions_csv import write_predictions_csv

    poses_mm = np.random.default_rng(0).normal(0, 300, (len(standing()), 17, 3)).astype(np.float32)
    with h5py.File(left_leg_first / "annot/valid.h5", "w") as file:
        file["pose2d"], file["pose3d"] = poses_mm[..., :2] + 128, poses_mm
    for order in ("auto", "c2f"):  # `test` writes in the official order what it read in this one; `score` agrees
        table = read_test(left_leg_first, joint_order=order)
        write_predictions_csv(left_leg_first / "p.csv", table.joints_camera_mm, HUMAN36M)
        scores = score_csv(left_leg_first / "p.csv", left_leg_first / "annot/valid.h5", joint_order=order)
        assert scores.mpjpe_mm == pytest.approx(0, abs=1e-3)
