"""A place drawn from a heat map, with a gradient (Li et al., Localization with Sampling-Argmax, NeurIPS 2021).

Where the loss is of the expectation, a broad heat map is as good as a narrow one with the same mean. Where it is of
places drawn from the heat map, it is the expected error, so that the shape of the heat map is learnt too. One draw an
image is about as good as many.

The heat map is taken for a mixture of one triangular kernel a cell, which reaches to the centres of its neighbours. A
cell is drawn by Gumbel-softmax of temperature 1: the soft-argmax of the logits plus Gumbel noise. Then the place within
the kernel, the difference of two uniform numbers along each axis, is added. (The published code draws a place in each
cell, and raises the weight of the noise from 0.2 to 2 over the training.)
"""

import torch
from torch import Tensor

from integral_pose.geometry.constants_on_device import vector_like
from integral_pose.geometry.coordinates import axis_lengths_xyz
from integral_pose.heatmaps.outputs import VolumeLogits


def draw_joints(output: VolumeLogits) -> Tensor:
    """(B, J, 3) norm, one place a joint, drawn from torch's generator of the device, whose state checkpoints hold."""
    logits = output.logits if output.logits.dtype == torch.float64 else output.logits.float()
    gumbel = -torch.empty_like(logits).exponential_().log()
    joints_norm = output._replace(logits=logits + gumbel).joints()
    lengths = vector_like(joints_norm, axis_lengths_xyz(logits.shape[-3:]))
    return joints_norm + (torch.rand_like(joints_norm) - torch.rand_like(joints_norm)) / lengths
