from functools import partial

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
from integral_pose.skeleton import HUMAN36M, Skeleton

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
    np.testing.assert_allclose(
        joint_errors_mm(predicted, TRUE_MM, root=HUMAN36M.root), [[0, 5, 0], [0, 0, 2]], atol=1e-12
    )


def test_the_root_is_the_joint_that_is_asked_for():
    predicted = TRUE_MM.copy()
    predicted[:, 2] += [0, 3, 4]
    np.testing.assert_allclose(joint_errors_mm(predicted, TRUE_MM, root=2), [[5, 5, 0], [5, 5, 0]])


def test_n_mpjpe_by_hand():
    predicted = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    # The best factor is (2 + 1) / (1 + 1): joints at 1.5, 1.5 against 2, 1.
    errors = joint_errors_mm(predicted, TRUE_MM[:1], "n_mpjpe", root=HUMAN36M.root)
    np.testing.assert_allclose(errors, [[0, 0.5, 0.5]])


def test_a_scaled_pose_has_no_error_where_scale_is_fitted():
    errors = {name: joint_errors_mm(TRUE_MM * 1.25, TRUE_MM, name, root=HUMAN36M.root).mean() for name in ALIGNMENTS}
    assert errors["mpjpe"] > 0.1
    assert errors["rigid_mpjpe"] > 0.1
    assert errors["n_mpjpe"] == pytest.approx(0, abs=1e-12)
    assert errors["pa_mpjpe"] == pytest.approx(0, abs=1e-12)


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_a_rigid_motion_has_no_error_in_the_rigid_metrics_alone(seed):
    generator = np.random.default_rng(seed)
    true = random_poses(generator)
    moved = true @ random_rotation(generator) + generator.normal(0, 1000, 3)
    assert joint_errors_mm(moved, true, "rigid_mpjpe", root=HUMAN36M.root).max() < 1e-8
    assert joint_errors_mm(moved, true, "pa_mpjpe", root=HUMAN36M.root).max() < 1e-8


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_rigid_metrics_do_not_see_how_the_prediction_is_turned(seed):
    generator = np.random.default_rng(seed)
    true, predicted = random_poses(generator), random_poses(generator)
    moved = predicted @ random_rotation(generator) + generator.normal(0, 1000, 3)
    for name in ("rigid_mpjpe", "pa_mpjpe"):
        np.testing.assert_allclose(
            joint_errors_mm(moved, true, name, root=HUMAN36M.root),
            joint_errors_mm(predicted, true, name, root=HUMAN36M.root),
            atol=1e-7,
        )


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_no_metric_mirrors_a_pose(seed):
    true = random_poses(np.random.default_rng(seed))
    for name in ALIGNMENTS:
        assert joint_errors_mm(true * [-1, 1, 1], true, name, root=HUMAN36M.root).mean() > 1


@given(seed=seeds)
@settings(deadline=None, max_examples=50)
def test_errors_are_least_at_the_truth_and_grow_away_from_it(seed):
    generator = np.random.default_rng(seed)
    true, direction = random_poses(generator), generator.normal(size=(2, 17, 3))
    errors = [joint_errors_mm(true + step * direction, true, root=HUMAN36M.root).mean() for step in (0, 1, 2, 4)]
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
    errors = joint_errors_mm(true + np.float32(0.25), true, root=HUMAN36M.root)
    assert errors.dtype == np.float64


def test_shapes_and_names_are_checked():
    with pytest.raises(ValueError, match=r"two \(N, J, 3\) arrays, found \(1, 3, 3\) and \(2, 3, 3\)"):
        joint_errors_mm(TRUE_MM[:1], TRUE_MM, root=HUMAN36M.root)
    with pytest.raises(ValueError, match=r"unknown metric 'mpjp'\. Known: mpjpe, n_mpjpe, rigid_mpjpe, pa_mpjpe"):
        joint_errors_mm(TRUE_MM, TRUE_MM, "mpjp", root=HUMAN36M.root)


def test_axes_by_hand():
    predicted = TRUE_MM.copy()
    predicted[0, 1] += [3, -4, 0]
    predicted[1] += 7  # the root goes along
    np.testing.assert_allclose(
        axis_errors_mm(predicted, TRUE_MM, HUMAN36M.root)[0], [[0, 0, 0], [3, 4, 0], [0, 0, 0]], atol=1e-12
    )
    np.testing.assert_allclose(axis_errors_mm(predicted, TRUE_MM, HUMAN36M.root)[1], 0, atol=1e-12)


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


EVERY_METRIC = {
    **{name: partial(joint_errors_mm, alignment=name, root=HUMAN36M.root) for name in ALIGNMENTS},
    "axes": partial(axis_errors_mm, root=HUMAN36M.root),
    "bones": partial(bone_length_errors_mm, skeleton=HUMAN36M),
    "sides": partial(swapped_sides, skeleton=HUMAN36M),
    "pck": lambda predicted, true: pck(joint_errors_mm(predicted, true, root=HUMAN36M.root)),
    "auc": lambda predicted, true: auc(joint_errors_mm(predicted, true, root=HUMAN36M.root)),
}


@pytest.mark.parametrize("name", EVERY_METRIC)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_give_what_arrays_give(name, dtype):
    """Bit for bit, of any float type, with and without a gradient."""
    generator, measure = np.random.default_rng(3), EVERY_METRIC[name]
    true, predicted = (torch.from_numpy(random_poses(generator)).to(dtype) for _ in range(2))
    expected = measure(predicted.double().numpy(), true.double().numpy())
    for tensor in (predicted, predicted.clone().requires_grad_()):
        np.testing.assert_array_equal(measure(tensor, true), expected)
        np.testing.assert_array_equal(measure(tensor, true.double().numpy()), expected)


def test_thresholds_take_tensors():
    errors = torch.tensor([[0.0, 149.0], [150.0, 1000.0]], requires_grad=True)
    assert pck(errors) == pck(errors.detach().numpy()) == 0.5
    assert auc(errors) == auc(errors.detach().numpy()) == pytest.approx((30 + 1) / 31 / 4)


def test_the_same_figures_by_torch_alone():
    """Written down once more with torch's own operations, SVD included."""
    generator = np.random.default_rng(3)
    predicted, true = (torch.from_numpy(random_poses(generator)) for _ in range(2))
    predicted, true = predicted - predicted[:, :1], true - true[:, :1]
    np.testing.assert_allclose(
        (predicted - true).norm(dim=-1), joint_errors_mm(predicted, true, root=HUMAN36M.root), rtol=1e-12
    )
    factor = (predicted * true).sum((1, 2), keepdim=True) / (predicted * predicted).sum((1, 2), keepdim=True)
    by_scale = (factor * predicted - true).norm(dim=-1)
    np.testing.assert_allclose(by_scale, joint_errors_mm(predicted, true, "n_mpjpe", root=HUMAN36M.root), rtol=1e-9)
    p, t = (pose - pose.mean(1, keepdim=True) for pose in (predicted, true))
    u, singular, vh = torch.linalg.svd(p.mT @ t)
    signs = torch.ones_like(singular)
    signs[:, 2] = torch.linalg.det(u @ vh).sign()
    turned = p @ (u * signs[:, None] @ vh)
    scaled = turned * ((singular * signs).sum(1) / p.square().sum((1, 2)))[:, None, None]
    for name, found in (("rigid_mpjpe", turned), ("pa_mpjpe", scaled)):
        np.testing.assert_allclose(
            (found - t).norm(dim=-1), joint_errors_mm(predicted, true, name, root=HUMAN36M.root), atol=1e-9
        )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ALIGNMENTS)
def test_poses_without_extent_and_straight_ones(name):
    """A network that says one point for all joints has a finite score, and so has one that says a line."""
    true, point = random_poses(np.random.default_rng(4)), np.full((2, 17, 3), 7.0)
    line = np.linspace(0, 900, 17)[None, :, None] * np.array([1.0, 2, 3]) + np.zeros((2, 1, 1))
    for pose in (point, line):
        errors = joint_errors_mm(pose, true, name, root=HUMAN36M.root)
        assert np.isfinite(errors).all()
        assert errors.mean() > 50
        assert joint_errors_mm(pose, pose, name, root=HUMAN36M.root).max() < 1e-9
    # The point lies at the hip, or where motion is aligned at the mean of the truth.
    middle = true[:, :1] if name in ("mpjpe", "n_mpjpe") else true.mean(1, keepdims=True)
    np.testing.assert_allclose(
        joint_errors_mm(point, true, name, root=HUMAN36M.root), np.linalg.norm(true - middle, axis=-1)
    )


def test_nothing_and_no_numbers():
    pose = random_poses(np.random.default_rng(5))
    assert joint_errors_mm(pose[:0], pose[:0], "pa_mpjpe", root=HUMAN36M.root).shape == (0, 17)
    with pytest.raises(ValueError, match="there is no pose to measure"):
        summarise(pose[:0], pose[:0], HUMAN36M)
    for measure in (pck, auc):
        with pytest.raises(ValueError, match="there is no distance to compare with a threshold"):
            measure(np.zeros((0, 17)))
    for value in (np.nan, np.inf):
        bad = pose.copy()
        bad[1, 3, 0] = value
        errors = joint_errors_mm(bad, pose, root=HUMAN36M.root)
        assert np.isfinite(errors[0]).all()
        assert not np.isfinite(errors[1, 3])
        for name in ("rigid_mpjpe", "pa_mpjpe"):
            with pytest.raises(ValueError, match="poses that are aligned must be finite; found NaN or infinity"):
                joint_errors_mm(bad, pose, name, root=HUMAN36M.root)
    bad[1, 3] = np.inf
    with pytest.raises(ValueError, match="must be finite"):
        joint_errors_mm(pose, bad, "pa_mpjpe", root=HUMAN36M.root)
    assert pck(np.array([np.nan, 0.0])) == 0.5  # NaN is not near


def test_the_decomposition_is_of_whole_batches(monkeypatch):
    """550,000 poses one by one would take minutes: two fits, a call for each some thousand poses."""
    calls, decompose = [], np.linalg.svd

    def count(matrices):
        calls.append(len(matrices))
        return decompose(matrices)

    monkeypatch.setattr(np.linalg, "svd", count)
    pose = np.random.default_rng(6).normal(0, 300, (5000, 17, 3)).astype(np.float32)
    summarise(pose, pose[::-1], HUMAN36M)
    assert sum(calls) == 2 * 5000
    assert len(calls) <= 6


def test_the_summary_of_parts_is_that_of_the_whole():
    """More rows than are worked at once, and a last part that is not full."""
    generator = np.random.default_rng(7)
    true = generator.normal(0, 300, (4500, 17, 3))
    predicted = true + generator.normal(0, 50, true.shape) * np.linspace(0, 3, 4500)[:, None, None]
    summary = summarise(predicted, true, HUMAN36M)
    for name in ALIGNMENTS:
        assert summary[f"{name}_mm"] == pytest.approx(
            joint_errors_mm(predicted, true, name, root=HUMAN36M.root).mean(), rel=1e-12
        )
    errors = joint_errors_mm(predicted, true, root=HUMAN36M.root)
    assert summary["pck_150"] == pytest.approx(np.mean(errors < 150), rel=1e-12)
    assert summary["auc"] == pytest.approx(np.mean([np.mean(errors < t) for t in range(0, 151, 5)]), rel=1e-12)
    assert [summary[f"{axis}_mm"] for axis in "xyz"] == pytest.approx(
        axis_errors_mm(predicted, true, HUMAN36M.root).mean((0, 1))
    )
    assert summary["bone_length_mm"] == pytest.approx(bone_length_errors_mm(predicted, true, HUMAN36M).mean())
    assert summary["swapped_sides"] == pytest.approx(swapped_sides(predicted, true, HUMAN36M).mean())


@given(seed=seeds)
@settings(deadline=None, max_examples=25)
def test_rigid_alignment_is_that_of_scipy(seed):
    generator = np.random.default_rng(seed)
    true, predicted = random_poses(generator), random_poses(generator)
    for pose, truth, errors in zip(
        predicted, true, joint_errors_mm(predicted, true, "rigid_mpjpe", root=HUMAN36M.root), strict=True
    ):
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
    for truth, pose, errors in zip(
        true, predicted, joint_errors_mm(predicted, true, "pa_mpjpe", root=HUMAN36M.root), strict=True
    ):
        first, second, _ = procrustes(truth, pose)  # both centred and of unit size
        expected = np.linalg.norm(first - second, axis=-1) * np.linalg.norm(truth - truth.mean(0))
        np.testing.assert_allclose(errors, expected, atol=1e-6)
