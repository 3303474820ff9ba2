"""Sets whose joints are not Human3.6M's."""

import h5py
import numpy as np
import pytest

from integral_pose.config.schema import Config
from integral_pose.data.course import read_test, read_train
from integral_pose.data.fingerprint import find_data_changes, fingerprint
from integral_pose.data.pose_statistics import read_bone_length_mm, read_statistics
from integral_pose.datasets.check import check_data
from integral_pose.errors import DataError
from integral_pose.experiment.assembly import read_training_data
from integral_pose.io.skeleton_file import write_skeleton
from integral_pose.skeleton import HUMAN36M, Skeleton
from tests.conftest import TINY
from tests.people_21 import HUMAN36M_IN_21, PEOPLE_21


@pytest.fixture
def root_21(make_course):
    return make_course(has_21_joints=True)


def test_the_set_says_its_joints_and_poses_are_relative_to_their_root(root_21, course_root):
    table, plain = read_train(root_21), read_train(course_root)
    assert (table.skeleton, plain.skeleton) == (PEOPLE_21, HUMAN36M)
    assert table.take(np.array([3])).skeleton == read_test(root_21).skeleton == PEOPLE_21
    assert not table.joints_camera_mm[:, 20].any()
    np.testing.assert_allclose(table.joints_camera_mm[:, HUMAN36M_IN_21], plain.joints_camera_mm, atol=1e-3)


def test_statistics_bones_and_fingerprint_follow(root_21, course_root):
    mean_mm = read_statistics(root_21).mean_mm
    assert mean_mm.shape == (21, 3)
    np.testing.assert_allclose(mean_mm[HUMAN36M_IN_21], read_statistics(course_root).mean_mm, atol=1e-2)
    # hands and toes are a quarter of forearms and shins
    assert read_bone_length_mm(root_21, PEOPLE_21) > read_bone_length_mm(course_root, HUMAN36M) + 300
    some = PEOPLE_21.of_joints(HUMAN36M.names)
    assert read_bone_length_mm(root_21, some) == pytest.approx(read_bone_length_mm(course_root, HUMAN36M), abs=0.1)
    changes = find_data_changes(fingerprint(read_train(course_root)), fingerprint(read_train(root_21)))
    assert "joints" in [change.part for change in changes]


def test_a_set_without_labels_has_as_many_joints(make_course):
    root = make_course(has_21_joints=True, valid_labels=False)
    assert read_test(root).joints_camera_mm.shape == (5, 21, 3)


def test_joints_of_another_number_than_the_skeleton(own_course_root, root_21):
    write_skeleton(own_course_root / "annot", PEOPLE_21)
    with pytest.raises(DataError, match=r"\(10, 17, 2\), expected \(10, 21, 2\): .*skeleton.yaml names 21 joints"):
        read_train(own_course_root)
    (root_21 / "annot/skeleton.yaml").unlink()
    with pytest.raises(DataError, match=r"these are not Human3.6M's 17 joints, so name them in .*skeleton.yaml"):
        read_train(root_21)


def test_the_order_of_the_coarse_to_fine_release_is_of_human36m_alone(root_21):
    with pytest.raises(DataError, match="data.joint_order is c2f, .*set it to auto"):
        read_train(root_21, joint_order="c2f")


def test_few_bones_are_in_mm_too(tmp_path, own_course_root):
    """Two forearms of 250 mm: less than any body of 16 bones, and yet people's."""
    arms = Skeleton(("LWrist", "LElbow", "RElbow", "RWrist"),
                    {"LWrist": "LElbow", "RWrist": "RElbow", "RElbow": "LElbow"}, (("LElbow", "RElbow"),))  # fmt: skip
    write_skeleton(own_course_root / "annot", arms)
    arms_mm = np.tile(np.array([[0, 250, 1], [0, 0, 0], [400, 0, 0], [400, 250, 1]], np.float32), (10, 1, 1))
    with h5py.File(own_course_root / "annot/train.h5", "w") as file:
        file["pose3d"], file["pose2d"] = arms_mm, arms_mm[..., :2] / 10 + 1
    assert len(read_train(own_course_root)) == 10
    with h5py.File(own_course_root / "annot/train.h5", "a") as file:
        file["pose3d"][...] = arms_mm / 1000
    with pytest.raises(DataError, match="all bones together are 0.9 long, expected 188 to 20,000 mm"):
        read_train(own_course_root)


def test_labels_in_px_alone(own_course_root, tmp_path):
    with h5py.File(own_course_root / "annot/train.h5", "r+") as file:
        crop_px = file["pose2d"][()]
        del file["pose3d"]
    table = read_train(own_course_root)
    np.testing.assert_array_equal(table.joints_crop_px, crop_px)
    assert np.isnan(table.joints_camera_mm).all()
    assert table.joints_camera_mm.shape == (10, 17, 3)
    assert not table.has_labels
    report = check_data(own_course_root, show_progress=False)
    found = {(f.split, f.check): f for f in report.findings}
    assert "in px alone" in found["train", "labels"].result
    assert not [f for f in report.offenders if f.split == "train"]
    write_skeleton(own_course_root / "annot", HUMAN36M.of_joints(["Hip", *HUMAN36M.names[:0:-1]]))
    report = check_data(own_course_root, show_progress=False)
    assert "joints by the network's" in [f.check for f in report.offenders]
    config = Config.model_validate({**TINY, "data": {**TINY["data"], "root": str(own_course_root)}})
    with pytest.raises(DataError, match="train.h5: has no 'pose3d'; labels in px alone teach no depth"):
        read_training_data(config)
