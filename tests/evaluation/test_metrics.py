import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from integral_pose.evaluation.metrics import (
    ALIGNMENTS,
    AUC_THRESHOLDS_MM,
    auc,
    axis_errors_mm,
    bone_length_errors_mm,
    joint_errors_mm,
    pck,
    summarise,
    swapped_sides,
)
from integral_pose.skeleton import Skeleton

# B = 2, J = 3; the second pose's root is away from the origin.
TRUE_MM = np.array([[[0, 0, 0], [2, 0, 0], [0, 1, 0]], [[5, 5, 5], [5, 5, 8], [6, 6, 6]]], dtype=np.float64)

seeds = st.integers(0, 2**32 - 1)


def random_poses(generator, joints=17):
    return generator.normal(0, 300, (2, joints, 3))


def random_rotation(generator):
    q, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_mpjpe_by_hand():
    predicted = TRUE_MM.copy()
    predicted[0, 1] += [3, 4, 0]
    predicted[1, 2] += [0, 0, -2]
    predicted[1] += [100, -50, 7]  # the root is subtracted, so moving the whole pose changes nothing
    np.testing.assert_allclose(joint_errors_mm(predicted, TRUE_MM), [[0, 5, 0], [0, 0, 2]], atol=1e-12)


def test_the_root_is_the_joint_that_is_asked_for():
    predicted = TRUE_MM.copy()
    predicted[:, 2] += [0, 3, 4]
    np.testing.assert_allclose(joint_errors_mm(predicted, TRUE_MM, root=2), [[5, 5, 0], [5, 5, 0]])


def test_n_mpjpe_by_hand():
    predicted = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    # The best factor is (2 + 1) / (1 + 1): joints at 1.5, 1.5 against 2, 1.
    errors = joint_errors_mm(predicted, TRUE_MM[:1], "n_mpjpe")
    np.testing.assert_allclose(errors, [[0, 0.5, 0.5]])


def test_a_scaled_pose_is_forgiven_where_scale_is_fitted():
    errors = {name: joint_errors_mm(TRUE_MM * 1.25, TRUE_MM, name).mean() for name in ALIGNMENTS}
    assert errors["mpjpe"] > 0.1
    assert errors["rigid_mpjpe"] > 0.1
    assert errors["n_mpjpe"] == pytest.approx(0, abs=1e-12)
    assert errors["pa_mpjpe"] == pytest.approx(0, abs=1e-12)


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_a_rigid_motion_is_forgiven_by_the_rigid_metrics_alone(seed):
    generator = np.random.default_rng(seed)
    true = random_poses(generator)
    moved = true @ random_rotation(generator) + generator.normal(0, 1000, 3)
    assert joint_errors_mm(moved, true, "rigid_mpjpe").max() < 1e-8
    assert joint_errors_mm(moved, true, "pa_mpjpe").max() < 1e-8


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_rigid_metrics_do_not_see_how_the_prediction_is_turned(seed):
    generator = np.random.default_rng(seed)
    true, predicted = random_poses(generator), random_poses(generator)
    moved = predicted @ random_rotation(generator) + generator.normal(0, 1000, 3)
    for name in ("rigid_mpjpe", "pa_mpjpe"):
        np.testing.assert_allclose(
            joint_errors_mm(moved, true, name), joint_errors_mm(predicted, true, name), atol=1e-7
        )


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_no_metric_forgives_a_mirrored_pose(seed):
    true = random_poses(np.random.default_rng(seed))
    for name in ALIGNMENTS:
        assert joint_errors_mm(true * [-1, 1, 1], true, name).mean() > 1


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_errors_are_least_at_the_truth_and_grow_away_from_it(seed):
    generator = np.random.default_rng(seed)
    true, direction = random_poses(generator), generator.normal(size=(2, 17, 3))
    errors = [joint_errors_mm(true + step * direction, true).mean() for step in (0, 1, 2, 4)]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert errors[2] == pytest.approx(2 * errors[1])


def test_pck_counts_what_lies_below_the_threshold():
    errors = np.array([[0.0, 149.999], [150.0, 151.0]])
    assert pck(errors) == 0.5
    assert pck(errors, 150.5) == 0.75
    assert pck(errors, 0) == 0


def test_auc_is_the_mean_over_31_thresholds():
    assert (len(AUC_THRESHOLDS_MM), AUC_THRESHOLDS_MM[0], AUC_THRESHOLDS_MM[-1]) == (31, 0, 150)
    assert auc(np.array([0.0])) == pytest.approx(30 / 31)
    assert auc(np.array([142.0])) == pytest.approx(2 / 31)  # below 145 and 150
    assert auc(np.array([0.0, 142.0, 150.0, 1000.0])) == pytest.approx((30 + 2) / 31 / 4)


def test_summary_has_every_metric():
    summary = summarise(TRUE_MM * 2, TRUE_MM, THREE)
    assert list(summary) == [
        "mpjpe_mm", "n_mpjpe_mm", "rigid_mpjpe_mm", "pa_mpjpe_mm", "pck_150", "auc",
        "x_mm", "y_mm", "z_mm", "bone_length_mm", "swapped_sides",
    ]  # fmt: skip
    assert summary["swapped_sides"] == 0
    assert summary["mpjpe_mm"] == pytest.approx((2 + 1 + 3 + np.sqrt(3)) / 6)
    assert summary["pck_150"] == 1


def test_float32_is_worked_in_float64():
    true = (TRUE_MM * 1000 / 3).astype(np.float32)
    errors = joint_errors_mm(true + np.float32(0.25), true)
    assert errors.dtype == np.float64


def test_shapes_and_names_are_checked():
    with pytest.raises(ValueError, match=r"two \(N, J, 3\) arrays, found \(1, 3, 3\) and \(2, 3, 3\)"):
        joint_errors_mm(TRUE_MM[:1], TRUE_MM)
    with pytest.raises(ValueError, match=r"unknown metric 'mpjp'\. Known: mpjpe, n_mpjpe, rigid_mpjpe, pa_mpjpe"):
        joint_errors_mm(TRUE_MM, TRUE_MM, "mpjp")


def test_axes_by_hand():
    predicted = TRUE_MM.copy()
    predicted[0, 1] += [3, -4, 0]
    predicted[1] += 7  # the root goes along
    np.testing.assert_allclose(axis_errors_mm(predicted, TRUE_MM)[0], [[0, 0, 0], [3, 4, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(axis_errors_mm(predicted, TRUE_MM)[1], 0, atol=1e-12)


THREE = Skeleton(("Hip", "LHip", "RHip"), {"LHip": "Hip", "RHip": "LHip"}, (("LHip", "RHip"),))


def test_bones_by_hand():
    true = np.array([[[0, 0, 0], [3, 4, 0], [3, 4, 2]]], dtype=float)
    predicted = np.array([[[9, 9, 9], [9, 9, 12], [9, 10, 12]]], dtype=float)  # lengths 3 and 1 against 5 and 2
    np.testing.assert_allclose(bone_length_errors_mm(predicted, true, THREE), [[2, 1]])


def test_sides_are_swapped_where_the_exchange_is_nearer():
    true = np.array([[[0, 0, 0], [100, 0, 0], [-100, 0, 0]]] * 3, dtype=float)
    predicted = true.copy()
    predicted[1, 1:] = predicted[1, :0:-1]  # exchanged
    predicted[2, 1] = [-90, 0, 0]  # both on one side: 190 + 0 as it is, 10 + 200 exchanged
    assert swapped_sides(predicted, true, THREE)[:, 0].tolist() == [False, True, False]


def test_tensors_give_what_arrays_give():
    generator = np.random.default_rng(3)
    true, predicted = random_poses(generator), random_poses(generator)
    for name in ALIGNMENTS:
        tensors = joint_errors_mm(torch.from_numpy(predicted), torch.from_numpy(true), name)
        np.testing.assert_array_equal(tensors, joint_errors_mm(predicted, true, name))
    by_torch = (torch.from_numpy(predicted - predicted[:, :1]) - torch.from_numpy(true - true[:, :1])).norm(dim=-1)
    np.testing.assert_allclose(by_torch, joint_errors_mm(predicted, true), rtol=1e-12)


@given(seed=seeds)
@settings(deadline=None, max_examples=25)
def test_rigid_alignment_is_that_of_scipy(seed):
    generator = np.random.default_rng(seed)
    true, predicted = random_poses(generator), random_poses(generator)
    for pose, truth, errors in zip(predicted, true, joint_errors_mm(predicted, true, "rigid_mpjpe"), strict=True):
        moved = pose - pose.mean(0)
        rotation, _ = Rotation.align_vectors(truth - truth.mean(0), moved)
        expected = np.linalg.norm(rotation.apply(moved) + truth.mean(0) - truth, axis=-1)
        np.testing.assert_allclose(errors, expected, atol=1e-6)


@given(seed=seeds)
@settings(deadline=None, max_examples=25)
def test_full_alignment_is_that_of_scipy_where_no_reflection_is_better(seed):
    generator = np.random.default_rng(seed)
    true = random_poses(generator)
    predicted = true + generator.normal(0, 50, true.shape)
    for truth, pose, errors in zip(true, predicted, joint_errors_mm(predicted, true, "pa_mpjpe"), strict=True):
        first, second, _ = procrustes(truth, pose)  # both centred and of unit size
        expected = np.linalg.norm(first - second, axis=-1) * np.linalg.norm(truth - truth.mean(0))
        np.testing.assert_allclose(errors, expected, atol=1e-6)
