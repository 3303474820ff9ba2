"""Sets in which labels are missing: as NaN, in the column `visible`, and, refused, as zeros."""

import h5py
import numpy as np
import pytest

from integral_pose.config.augmentation_section import AugmentationConfig
from integral_pose.config.schema import Config
from integral_pose.contracts import SampleKey
from integral_pose.data.augmentation import build_augmentation, build_device_augmentation
from integral_pose.data.course import labelled_rows, read_test, read_train
from integral_pose.data.joints_in_crop import share_outside
from integral_pose.data.loader import PoseImages
from integral_pose.data.pose_statistics import read_statistics
from integral_pose.errors import DataError
from integral_pose.experiment.assembly import read_training_data
from integral_pose.experiment.training import train
from integral_pose.geometry.body_size import body_length_mm
from integral_pose.geometry.label_axes import axis_evidence
from integral_pose.geometry.sides import side_evidence
from integral_pose.runs.metrics_file import read_metrics
from integral_pose.skeleton import HUMAN36M
from tests.geometry.test_sides import standing

MISSING = [(0, 3), (0, 16), (4, 8)]


def write(root, split="train", **columns):
    with h5py.File(root / f"annot/{split}.h5", "r+") as file:
        for name, values in columns.items():
            if name in file:
                del file[name]
            file[name] = values


def labels(root):
    with h5py.File(root / "annot/train.h5") as file:
        return {name: file[name][...] for name in ("pose2d", "pose3d")}


def without(values, gap, places=tuple(MISSING)):
    values = values.copy()
    for place in places:
        values[place] = gap
    return values


@pytest.mark.parametrize("gap", [0.0, np.nan, np.inf, 1e30])
def test_the_column_visible_and_nan_both_mean_no_label(own_course_root, gap):
    stored = labels(own_course_root)
    write(own_course_root, **{name: without(values, np.nan) for name, values in stored.items()})
    expected = read_train(own_course_root)
    assert not expected.is_complete
    assert np.argwhere(np.isnan(expected.joints_camera_mm).all(-1)).tolist() == [list(place) for place in MISSING]
    visible = without(np.ones((10, 17), np.uint8), 0)
    write(own_course_root, **{name: without(values, gap) for name, values in stored.items()}, visible=visible)
    found = read_train(own_course_root)
    np.testing.assert_array_equal(found.joints_camera_mm, expected.joints_camera_mm)
    np.testing.assert_array_equal(found.joints_crop_px, expected.joints_crop_px)


def test_a_coordinate_that_is_missing_takes_its_joint_along(own_course_root):
    poses = labels(own_course_root)["pose3d"]
    poses[2, 5, 1] = np.nan
    write(own_course_root, pose3d=poses)
    table = read_train(own_course_root)
    assert np.isnan(table.joints_camera_mm[2, 5]).all()
    assert not np.isnan(table.joints_crop_px).any()


@pytest.mark.parametrize("key", ["pose2d", "pose3d"])
def test_joints_at_zero_are_refused_with_the_remedy(own_course_root, key):
    write(own_course_root, **{key: without(labels(own_course_root)[key], 0.0)})
    with pytest.raises(DataError, match=rf"train\.h5: LFoot|RFoot is exactly 0 .*'{key}' in row 0; 3 joints of 2 rows"):
        read_train(own_course_root)
    with pytest.raises(DataError, match=r"column 'visible' \(N, J\) of 0 and 1, or write NaN"):
        read_train(own_course_root)


def test_depth_that_is_zero_throughout_is_refused(own_course_root):
    poses = labels(own_course_root)["pose3d"]
    poses[..., 2] = 0
    write(own_course_root, pose3d=poses)
    with pytest.raises(DataError, match="z is exactly 0 throughout 'pose3d'"):
        read_train(own_course_root)


def test_a_root_at_zero_is_the_origin(own_course_root):
    poses = labels(own_course_root)["pose3d"]
    write(own_course_root, pose3d=poses - poses[:, :1])
    assert read_train(own_course_root).is_complete


def test_a_visible_of_another_shape_is_refused(own_course_root):
    write(own_course_root, visible=np.ones((10, 16)))
    with pytest.raises(DataError, match=r"'visible' has the shape \(10, 16\), expected \(10, 17\)"):
        read_train(own_course_root)


def test_poses_without_any_label_are_refused(own_course_root):
    write(own_course_root, pose3d=np.full((10, 17, 3), np.nan))
    with pytest.raises(DataError, match="no joint of any row of 'pose3d' is labelled"):
        read_train(own_course_root)


def test_rows_without_labels_never_enter_a_batch(own_course_root, tiny_values, capsys):
    poses = labels(own_course_root)["pose3d"]
    poses[[1, 7], 1:] = np.nan  # all but the root
    poses[4] = np.nan
    write(own_course_root, pose3d=poses)
    table = read_train(own_course_root)
    assert labelled_rows(table, from_px=False).name(1) == table.name(2)
    assert len(labelled_rows(table, from_px=True)) == 10
    tiny_values["data"]["root"] = str(own_course_root)
    assert len(read_training_data(Config.model_validate(tiny_values)).train) == 7
    assert "3 of 10 images have no label: left out" in capsys.readouterr().err


def test_statistics_are_of_labelled_joints(own_course_root):
    poses = labels(own_course_root)["pose3d"].astype(np.float64)
    poses -= poses[:, :1]
    poses[:, 7] = np.nan
    poses[2:, 3] = np.nan
    write(own_course_root, pose3d=poses)
    statistics = read_statistics(own_course_root)
    np.testing.assert_allclose(statistics.mean_mm[3], (poses[0, 3] + poses[1, 3]) / 2, rtol=1e-6)
    np.testing.assert_allclose(statistics.std_mm[3], abs(poses[0, 3] - poses[1, 3]) / 2, rtol=1e-5)
    assert not statistics.mean_mm[7].any()
    assert not statistics.std_mm[7].any()


def test_checks_of_poses_pass_over_what_is_missing():
    """A third of all joints at random: bodies keep their size, sides their order, axes their direction."""
    joints_mm = standing(60)
    gone = np.random.default_rng(0).random((60, 17)) < 1 / 3
    gone[:, 0] = False
    seen_mm = np.where(gone[..., None], np.nan, joints_mm)
    assert body_length_mm(seen_mm, HUMAN36M).mean() == pytest.approx(
        body_length_mm(joints_mm, HUMAN36M).mean(), rel=0.02
    )
    assert side_evidence(seen_mm).order == side_evidence(joints_mm).order == "official"
    assert axis_evidence(seen_mm[..., :2] / 5 + 128, seen_mm).finding is None
    assert axis_evidence(seen_mm[..., :2] / -5 + 128, seen_mm).finding is not None
    px = np.array([[[10.0, 10], [300, 10], [np.nan, np.nan], [20, 20]]])
    assert share_outside(px, 256, 256) == pytest.approx(1 / 3)


@pytest.mark.parametrize("backend", ["imgaug", "device"])
def test_augmentation_swaps_gaps_with_their_labels(own_course_root, backend):
    """The left foot is missing: of a mirrored picture it is the right one, and nothing else is lost."""
    stored = labels(own_course_root)
    left_foot = HUMAN36M.names.index("LFoot")
    write(own_course_root, **{name: without(values, np.nan, [(0, left_foot)]) for name, values in stored.items()})
    table = read_train(own_course_root)
    config = AugmentationConfig(backend=backend, flip=1.0)
    images = PoseImages(table, 64, (64, 64), build_augmentation(config, 0, HUMAN36M.flip_order),
                        on_device=build_device_augmentation(config, 0, HUMAN36M.flip_order))  # fmt: skip
    batch = images.__getitems__([SampleKey(0, 0), SampleKey(0, 1)])
    assert not batch.is_complete
    for joints in (batch.joints_camera_mm, batch.joints_crop_px):
        assert joints.isnan().any(-1).nonzero().tolist() == [[0, HUMAN36M.names.index("RFoot")]]


def test_training_and_reading_a_test_set_go_on_without_them(own_course_root, tiny_values):
    stored = labels(own_course_root)
    gone = np.random.default_rng(1).random((10, 17, 1)) < 1 / 3
    gone[:, 0] = False
    write(own_course_root, **{name: np.where(gone, np.nan, values) for name, values in stored.items()})
    tiny_values["data"] |= {"root": str(own_course_root), "val_subjects": []}
    tiny_values["stages"] = [{"epochs": 1, "weights": {"integral": 1.0, "heatmap": 0.1}, "learning_rate": 1e-3}]
    folder = train(Config.model_validate(tiny_values))
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["group"] == "train"]
    assert all(np.isfinite([row["integral"], row["heatmap"], row["mpjpe_mm"]]).all() for row in rows)
    assert rows
    assert read_test(own_course_root).has_labels
