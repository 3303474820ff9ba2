"""The exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage(nn.Module):
    """A copy of a model that follows its weights; buffers are the newest, being averages already.

    It begins with the first weights it is given. torch.optim.swa_utils.AveragedModel does the same, under the same
    names in a state dict, but cannot leave a step out without waiting for the device's answer.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = copy.deepcopy(model), decay
        device = next(model.parameters()).device
        self.n_averaged: Tensor
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long, device=device))

    @torch.no_grad()
    def update(self, model: nn.Module, counts: Tensor) -> None:
        """Take in the model's weights where `counts`, a bool on the device, is true."""
        # 1 for the first, without numbers of the host, each of which would be a launch.
        weight = (self.n_averaged == 0).float().clamp(min=1 - self.decay) * counts
        average = move_towards if weight.device.type == "cpu" else move_towards_together
        average(list(self.module.parameters()), list(model.parameters()), weight)
        copy_together(list(self.module.buffers()), list(model.buffers()))
        self.n_averaged += counts


def move_towards(own: list[Tensor], newest: list[Tensor], weight: Tensor) -> None:
    """own + weight (newest - own) in one pass over the memory of each."""
    for each, target in zip(own, newest, strict=True):
        each.lerp_(target, weight.to(each.dtype))


def move_towards_together(own: list[Tensor], newest: list[Tensor], weight: Tensor) -> None:
    """The same to rounding in three launches for all of them; a launch each would cost a GPU more than the numbers."""
    ways = torch._foreach_sub(newest, own)
    torch._foreach_mul_(ways, weight)
    torch._foreach_add_(own, ways)


def copy_together(own: list[Tensor], newest: list[Tensor]) -> None:
    """Copy in one launch a dtype."""
    for dtype in {each.dtype for each in own}:
        pairs = [(a, b) for a, b in zip(own, newest, strict=True) if a.dtype == dtype]
        torch._foreach_copy_([a for a, _ in pairs], [b for _, b in pairs])
