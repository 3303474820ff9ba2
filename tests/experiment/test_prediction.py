import numpy as np
import pytest
import torch

from integral_pose.experiment.scoring import predict
from integral_pose.models.predictor import Predictor
from tests.models.test_predictor import THREE, FirstPixels, batch

CPU = torch.device("cpu")


def run(loader, model=None, **options):
    model = FirstPixels() if model is None else model
    return predict(Predictor(model, skeleton=THREE), model, loader, CPU, disable_progress=True, **options)


def test_poses_come_sorted_by_row():
    predictions = run([batch([2, 0]), batch([1])])
    np.testing.assert_array_equal(predictions.indices, [0, 1, 2])
    np.testing.assert_array_equal(predictions.joints_camera_mm[:, 1], [[1, 2, 3], [11, 12, 13], [21, 22, 23]])
    assert predictions.indices.dtype == np.int64
    assert predictions.joints_camera_mm.dtype == np.float32


def test_evaluation_mode_meanwhile_and_each_modules_own_mode_afterwards():
    model = FirstPixels()
    run([batch([0])], model)
    assert model.seen == [(False, False, True, torch.uint8)]
    assert (model.training, model.norm.training, model.frozen.training) == (True, True, False)
    assert not torch.is_inference_mode_enabled()


def test_modes_come_back_after_a_fault_too():
    model = FirstPixels()

    def broken():
        yield batch([0])
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        run(broken(), model)
    assert model.training


def test_shares_of_several_processes_join_and_doubled_rows_are_dropped():
    other = run([batch([1, 3])])

    def gather(arrays):
        return [np.concatenate(pair) for pair in zip(arrays, [other.indices, other.joints_camera_mm], strict=True)]

    predictions = run([batch([0, 2]), batch([1])], gather=gather)
    np.testing.assert_array_equal(predictions.indices, [0, 1, 2, 3])
    np.testing.assert_array_equal(predictions.joints_camera_mm[:, 1, 0], [1, 11, 21, 31])


def test_a_share_may_be_empty():
    predictions = run([])
    assert predictions.joints_camera_mm.shape == (0, 3, 3)
    assert predictions.indices.shape == (0,)


def test_lower_precision_comes_back_as_float32():
    predictions = run([batch([0])], FirstPixels(torch.bfloat16))
    assert predictions.joints_camera_mm.dtype == np.float32
