"""Constants of a few numbers, made on the device.

What is copied there from a list, also one that is an index, lies in pageable memory, so that the host waits until a GPU
has done all that it was given before.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def vector_like(like: Tensor, values: Sequence[float]) -> Tensor:
    """(n,) with the device and dtype of `like`."""
    return torch.stack([like.new_full((), value) for value in values])


def joints_in_order(joints: Tensor, order: Sequence[int]) -> Tensor:
    """(B, J, n) -> (B, len(order), n): joint `order[i]` of the input is joint i of the result."""
    each = joints.unbind(1)
    return torch.stack([each[joint] for joint in order], 1)
