"""From what a network says to joint positions, for every kind of output: what training and use have in common."""

from __future__ import annotations

from torch import Tensor

from integral_pose.contracts import PoseOutput
from integral_pose.heatmaps.debias import without_background
from integral_pose.heatmaps.marginals import marginal_soft_argmax
from integral_pose.heatmaps.volume import soft_argmax


def locate(output: PoseOutput, *, debiased: bool = False) -> Tensor:
    """Joints (B, J, 3) in the units of the network's pose space; `debiased` takes the background out of volumes."""
    if output.joints is not None:
        return output.joints.float()
    if output.marginals is not None:
        return marginal_soft_argmax(output.marginals)
    if output.logits is None:
        raise ValueError("the network's output has neither logits nor marginals nor joints")
    joints_norm = soft_argmax(output.logits)
    return without_background(joints_norm, output.logits) if debiased else joints_norm
