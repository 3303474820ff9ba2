"""Pictures of what a model sees and says of a few samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from integral_pose.contracts import PoseBatch, PoseOutput, SampleKey
from integral_pose.data.loader import PoseImages
from integral_pose.errors import IntegralPoseError
from integral_pose.geometry.coordinates import axis_lengths_xyz, norm_to_voxel
from integral_pose.heatmaps.marginals import PLANES, axes_of, log_probability, planes_of_volume, volume_shape
from integral_pose.report.heatmap_figures import draw_axes, draw_planes
from integral_pose.report.pose_figures import PoseView, draw_poses
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
        pictures["heatmap"] = _heatmap(output, 0, joint, located[joint], true_norm)
    return pictures


def illustrate_heatmaps(model: nn.Module, batch: PoseBatch, joints: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The marginals of joint `joints[i]` of image i of a batch on the CPU; [] for a model that has no heat maps."""
    with torch.inference_mode():
        output = model(batch.images)
        located = model.locate(output)  # type: ignore[operator]
    if output.joints is not None:
        return []
    is_labelled = torch.isfinite(batch.joints_camera_mm).all()
    true_norm = model.space.encode(batch.joints_camera_mm, batch.joints_crop_px) if is_labelled else None  # type: ignore[operator, union-attr]
    return [
        _heatmap(output, i, joint, located[i, joint], None if true_norm is None else true_norm[i, joint])
        for i, joint in enumerate(joints)
    ]


def _heatmap(
    output: PoseOutput, sample: int, joint: int, expected_norm: torch.Tensor, true_norm: torch.Tensor | None
) -> NDArray[np.uint8]:
    """Marginals of one joint of one sample, and the positions (3,) norm to mark in them."""
    if output.logits is not None:
        marginals = planes_of_volume(output.logits[sample : sample + 1, joint : joint + 1])
    else:
        assert output.marginals is not None, "heat maps are volumes or marginals"
        first, second, third = (logits[sample : sample + 1, joint : joint + 1] for logits in output.marginals)
        marginals = (first, second, third)
    probabilities = [log_probability(logits)[0, 0].exp().cpu().numpy() for logits in marginals]
    lengths = axis_lengths_xyz(volume_shape(marginals))
    voxels = [
        [float(norm_to_voxel(coordinate, n)) for coordinate, n in zip(position.tolist(), lengths, strict=True)]
        for position in (expected_norm, true_norm)
        if position is not None
    ]
    return (draw_planes if axes_of(marginals) == PLANES else draw_axes)(probabilities, *voxels)
