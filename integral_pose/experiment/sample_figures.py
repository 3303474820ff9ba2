"""Pictures of a few samples: what a model sees, and its output."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from integral_pose.contracts import NetworkOutput, PoseBatch
from integral_pose.data.loader import PoseImages
from integral_pose.experiment.scoring import evaluation_mode
from integral_pose.geometry.coordinates import CropVolume, ImageVolume, PoseSpace, norm_to_voxel
from integral_pose.models.pose_net import PoseNet
from integral_pose.report.heatmap_figures import draw_axes, draw_planes
from integral_pose.report.pose_figures import PoseView, draw_poses
from integral_pose.skeleton import Skeleton


def heatmap_joint(skeleton: Skeleton) -> int:
    """The farthest along the tree, LWrist of Human3.6M's: often hidden, and the first to show what goes wrong."""
    return max(range(skeleton.num_joints), key=skeleton.depth)


def draw_samples(model: PoseNet, images: PoseImages, device: torch.device) -> dict[str, NDArray[np.uint8]]:
    """'poses': inputs with true and predicted joints; 'heatmap': the marginals of one joint of the first sample.

    A network that makes no heat maps has no such picture.
    """
    batch = images.read(range(len(images)))
    with evaluation_mode(model), torch.inference_mode():
        on_device = batch.to(device)
        predicted_mm = model.predict_camera_mm(on_device.images, on_device.views).cpu().numpy()
        output = model(on_device.images[:1])
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
    joint = heatmap_joint(images.table.skeleton)
    true_norm = model.space.encode(batch.joints_camera_mm, batch.joints_crop_px)[0, joint]
    title = f"Heat map of {images.table.skeleton.names[joint]} in {shown[0].title}"
    heatmap = _draw_heatmap(output, 0, joint, _known(true_norm), model.space, title)
    return {"poses": draw_poses(shown, images.table.skeleton)} | ({} if heatmap is None else {"heatmap": heatmap})


def draw_heatmaps(
    model: PoseNet,
    learnt: Skeleton,
    batch: PoseBatch,
    shown: Skeleton,
    joints: Sequence[int],
    image_names: Sequence[str],
) -> list[NDArray[np.uint8]]:
    """The marginals of joint `joints[i]` of image i of a batch on the CPU; [] for a model that has no heat maps.

    The model predicts the joints of `learnt`; the batch and `joints` are of `shown`, some of these.
    """
    with torch.inference_mode():
        output = model(batch.images)
    if not output.probabilities(0, 0):
        return []
    true_norm = model.space.encode(batch.joints_camera_mm, batch.joints_crop_px)
    drawn = [
        _draw_heatmap(
            output,
            i,
            learnt.names.index(shown.names[joint]),
            _known(true_norm[i, joint]),
            model.space,
            f"Heat map of {shown.names[joint]} in {name}",
        )
        for i, (joint, name) in enumerate(zip(joints, image_names, strict=True))
    ]
    return [picture for picture in drawn if picture is not None]


def _known(position: torch.Tensor) -> list[torch.Tensor]:
    """A position (3,), or nothing where it has no label."""
    return [position] if bool(torch.isfinite(position).all()) else []


def _draw_heatmap(
    output: NetworkOutput,
    sample: int,
    joint: int,
    true_norm: Sequence[torch.Tensor],
    space: PoseSpace,
    title: str,
) -> NDArray[np.uint8] | None:
    """Marginals of one joint of one sample with its expected and, where known, true position; None without any."""
    probabilities = output.probabilities(sample, joint)
    if not probabilities:
        return None
    lengths = {
        axis: n for axes, marginal in probabilities.items() for axis, n in zip(axes, marginal.shape, strict=True)
    }
    voxels = [
        [float(norm_to_voxel(value, lengths[axis])) for value, axis in zip(position.tolist(), "xyz", strict=True)]
        for position in (output.joints()[sample, joint], *true_norm)
    ]
    marginals = [marginal.cpu().numpy() for marginal in probabilities.values()]
    if all(len(axes) == 2 for axes in probabilities):
        return draw_planes(marginals, *voxels, title=title, sides=_sides(space))
    return draw_axes(marginals, *voxels, title=title)


def _sides(space: PoseSpace) -> tuple[float, float, float]:
    """How long the volume is along x, y and z, in one unit.

    The depth of the image volume is in mm, and how many a pixel is differs from image to image: it is drawn as long as
    the crop's longer side.
    """
    if isinstance(space, CropVolume):
        return space.width_px, space.height_px, space.depth_extent_px
    if isinstance(space, ImageVolume):
        return space.width_px, space.height_px, max(space.width_px, space.height_px)
    return 1, 1, 1
