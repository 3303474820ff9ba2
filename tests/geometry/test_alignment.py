import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integral_pose.geometry.alignment import align_procrustes, align_scale

# Two poses of three joints: a right angle in the plane z = 0, and one out of it.
TRUE_MM = np.array([[[0, 0, 0], [2, 0, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 3], [1, 1, 1]]], dtype=np.float64)
QUARTER_TURN = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=np.float64)

seeds = st.integers(0, 2**32 - 1)


def random_poses(generator, joints=6):
    return generator.normal(0, 300, (2, joints, 3))


def random_rotation(generator):
    q, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_scale_by_hand():
    predicted = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=np.float64)
    # <predicted, true> = 2 + 1, <predicted, predicted> = 2
    np.testing.assert_array_equal(align_scale(predicted, TRUE_MM[:1]), predicted * 1.5)


def test_scale_leaves_a_pose_of_zeros():
    np.testing.assert_array_equal(align_scale(np.zeros((1, 3, 3)), TRUE_MM[:1]), np.zeros((1, 3, 3)))


def test_each_pose_has_its_own_fit():
    predicted = TRUE_MM * np.array([2.0, 0.25])[:, None, None]
    np.testing.assert_allclose(align_scale(predicted, TRUE_MM), TRUE_MM, atol=1e-12)
    np.testing.assert_allclose(align_procrustes(predicted, TRUE_MM, scale=True), TRUE_MM, atol=1e-12)


def test_a_quarter_turn_and_a_shift_are_undone():
    predicted = TRUE_MM @ QUARTER_TURN + [10, -20, 30]
    np.testing.assert_allclose(align_procrustes(predicted, TRUE_MM, scale=False), TRUE_MM, atol=1e-12)


def test_without_scale_the_size_stays():
    true = np.array([[[-1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 2, 0], [0, -2, 0]]], dtype=np.float64)
    np.testing.assert_allclose(align_procrustes(2 * true, true, scale=False), 2 * true, atol=1e-12)


def test_a_mirrored_pose_is_reflected_only_on_demand():
    pose = random_poses(np.random.default_rng(0))
    mirrored = pose * [-1, 1, 1]
    np.testing.assert_allclose(align_procrustes(mirrored, pose, scale=True, reflection=True), pose, atol=1e-9)
    assert np.abs(align_procrustes(mirrored, pose, scale=True) - pose).max() > 10


def test_a_pose_without_extent_is_moved_only():
    aligned = align_procrustes(np.full((1, 3, 3), 7.0), TRUE_MM[:1], scale=True)
    np.testing.assert_allclose(aligned, np.broadcast_to(TRUE_MM[:1].mean(axis=1, keepdims=True), (1, 3, 3)))


def test_float32_is_worked_in_float64():
    pose = random_poses(np.random.default_rng(1)).astype(np.float32)
    for aligned in (align_scale(pose, pose), align_procrustes(pose, pose, scale=True)):
        assert aligned.dtype == np.float64
        np.testing.assert_allclose(aligned, pose, atol=1e-9)


@given(seed=seeds, scale=st.booleans(), reflection=st.booleans())
@settings(deadline=None, max_examples=50)
def test_what_is_fitted_is_what_is_said(seed, scale, reflection):
    """The fit is a similarity of the allowed kind: its matrix is orthogonal times a factor, of the right sign."""
    generator = np.random.default_rng(seed)
    predicted, true = random_poses(generator), random_poses(generator)
    aligned = align_procrustes(predicted, true, scale=scale, reflection=reflection)
    centred = predicted - predicted.mean(axis=1, keepdims=True)
    matrix = np.linalg.pinv(centred) @ (aligned - aligned.mean(axis=1, keepdims=True))
    gram = np.swapaxes(matrix, -1, -2) @ matrix
    np.testing.assert_allclose(gram, gram[:, :1, :1] * np.eye(3), atol=1e-8)
    if not scale:
        np.testing.assert_allclose(gram[:, 0, 0], 1.0)
    if not reflection:
        assert (np.linalg.det(matrix) > 0).all()


@given(seed=seeds, scale=st.booleans())
@settings(deadline=None, max_examples=50)
def test_no_other_rotation_shift_or_factor_is_nearer(seed, scale):
    generator = np.random.default_rng(seed)
    predicted, true = random_poses(generator), random_poses(generator)
    best = ((align_procrustes(predicted, true, scale=scale) - true) ** 2).sum((-2, -1))
    for _ in range(5):
        factor = generator.uniform(0.1, 2) if scale else 1.0
        other = factor * predicted @ random_rotation(generator) + generator.normal(0, 100, 3)
        assert (best <= ((other - true) ** 2).sum((-2, -1)) + 1e-6).all()


@pytest.mark.parametrize("scale", [True, False])
def test_flat_and_straight_poses_have_a_proper_rotation_too(scale):
    line = np.linspace(0, 900, 4)[:, None] * np.array([[1.0, 0, 0]])
    flat = random_poses(np.random.default_rng(2)) * [1, 1, 0]
    for pose in (line[None], flat):
        turned = pose @ random_rotation(np.random.default_rng(3))
        np.testing.assert_allclose(align_procrustes(turned, pose, scale=scale), pose, atol=1e-8)
