import numpy as np
import torch
from torch import nn

from integral_pose.contracts import PoseBatch
from integral_pose.geometry.coordinates import MetricVolume
from integral_pose.heatmaps.outputs import Coordinates
from integral_pose.models.predictor import Predictor
from integral_pose.skeleton import Skeleton

THREE = Skeleton(("Hip", "RHip", "LHip"), {"RHip": "Hip", "LHip": "Hip"}, (("LHip", "RHip"),))


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


def test_flip_by_hand():
    model = FirstPixels()
    joints = Predictor(model, flip=True, skeleton=THREE)(batch([0]).images)[0]
    # Mirrored: joint 1 is 100, joint 2 200 on each axis; swapped and x negated: (-200, 200, 200), (-100, 100, 100).
    expected = [[0, 0, 0], [(1 - 200) / 2, (2 + 200) / 2, (3 + 200) / 2], [(2 - 100) / 2, (4 + 100) / 2, (6 + 100) / 2]]
    np.testing.assert_array_equal(joints[0], expected)


def test_flip_tested_poses_are_equivariant():
    """The mirrored image's flip-tested pose is the mirrored pose, whatever the model."""
    images = batch([0, 3]).images
    straight = Predictor(FirstPixels(), flip=True, skeleton=THREE)(images)[0]
    mirrored = Predictor(FirstPixels(), flip=True, skeleton=THREE)(images.flip(-1))[0]
    np.testing.assert_array_equal(mirrored, straight[:, list(THREE.flip_order)] * torch.tensor([-1.0, 1, 1]))
