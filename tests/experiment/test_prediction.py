import numpy as np
import pytest
import torch
from torch import nn

from integral_pose.contracts import PoseBatch
from integral_pose.experiment.scoring import predict
from integral_pose.geometry.coordinates import MetricVolume
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.models.predictor import Predictor
from integral_pose.skeleton import Skeleton

THREE = Skeleton(("Hip", "RHip", "LHip"), {"RHip": "Hip", "LHip": "Hip"}, (("LHip", "RHip"),))
CPU = torch.device("cpu")


class FirstPixels(nn.Module):
    """Predicts the first pixel's three channels as (x, y, z) of joint 1, and their double as those of joint 2."""

    space = MetricVolume(1.0, root=0)

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.dtype = dtype
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.BatchNorm2d(3)
        self.frozen.eval()
        self.seen = []

    def forward(self, images):
        self.seen.append((self.training, self.norm.training, torch.is_inference_mode_enabled(), images.dtype))
        pixel = images[:, :, 0, 0].float()
        return Coordinates(torch.stack([torch.zeros_like(pixel), pixel, 2 * pixel], dim=1).to(self.dtype))


def batch(indices):
    indices = torch.tensor(indices)
    images = (indices[:, None] * 10 + torch.tensor([1, 2, 3])).to(torch.uint8)[:, :, None, None].repeat(1, 1, 2, 4)
    images[..., -1] = 100  # the last column, first after mirroring
    return PoseBatch(indices, images, torch.full((len(indices), 3, 3), torch.nan), torch.zeros(len(indices), 3, 2))


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
