"""Pictures of what a model sees and says of a few samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.contracts import PoseBatch, PoseOutput, SampleKey
from integral_pose.data.loader import PoseImages
from integral_pose.errors import IntegralPoseError
from integral_pose.evaluation.figures import PoseView, draw_axes, draw_planes, draw_poses
from integral_pose.geometry.coordinates import axis_lengths_xyz, norm_to_voxel
from integral_pose.kernels.marginals import PLANES, axes_of, log_probability, planes_of_volume, volume_shape
from integral_pose.skeleton import HUMAN36M

HEATMAP_JOINT = "LWrist"  # far from the root and often hidden: the first to show what goes wrong


def illustrate(model: nn.Module, images: PoseImages, device: torch.device) -> dict[str, NDArray[np.uint8]]:
    """'poses': inputs with true and predicted joints; 'heatmap': the marginals of one joint of the first sample.

    A network that makes no heat maps has no such picture.
    """
    batch = images.__getitems__([SampleKey(0, row) for row in range(len(images))])
    if isinstance(batch, IntegralPoseError):
        raise batch
    assert isinstance(batch, PoseBatch), "pictures are of images that were asked for, not of replacements"
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        views = None if batch.views is None else batch.views.map(lambda tensor: tensor.to(device))
        predicted_mm = model.predict_camera_mm(batch.images.to(device), views).cpu().numpy()  # type: ignore[operator]
        output = model(batch.images[:1].to(device))
        located = model.locate(output)[0]  # type: ignore[operator]
    model.train(was_training)
    shown = [
        PoseView(
            image=batch.images[row].permute(1, 2, 0).numpy(),
            predicted_camera_mm=predicted_mm[row],
            true_camera_mm=batch.joints_camera_mm[row].numpy(),
            true_crop_px=batch.joints_crop_px[row].numpy(),
            title=images.table.name(row),
        )
        for row in range(len(images))
    ]
    pictures = {"poses": draw_poses(shown)}
    if output.joints is None:
        joint = HUMAN36M.names.index(HEATMAP_JOINT)
        true_norm = model.space.encode(batch.joints_camera_mm, batch.joints_crop_px)[0, joint]  # type: ignore[operator, union-attr]
        pictures["heatmap"] = _heatmap(output, joint, located[joint], true_norm)
    return pictures


def _heatmap(output: PoseOutput, joint: int, expected_norm: torch.Tensor, true_norm: torch.Tensor) -> NDArray[np.uint8]:
    """Marginals of one joint of the first sample, and the positions (3,) norm to mark in them."""
    marginals = output.marginals if output.logits is None else planes_of_volume(output.logits[:, joint : joint + 1])
    assert marginals is not None, "heat maps are volumes or marginals"
    which = joint if output.logits is None else 0
    probabilities = [log_probability(logits)[0, which].exp().cpu().numpy() for logits in marginals]
    lengths = axis_lengths_xyz(volume_shape(marginals))
    voxels = [
        [float(norm_to_voxel(coordinate, n)) for coordinate, n in zip(position.tolist(), lengths, strict=True)]
        for position in (expected_norm, true_norm)
    ]
    return (draw_planes if axes_of(marginals) == PLANES else draw_axes)(probabilities, *voxels)
