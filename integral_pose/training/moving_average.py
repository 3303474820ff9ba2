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
        weight = torch.where(self.n_averaged == 0, 1.0, 1 - self.decay) * counts
        for own, newest in zip(self.module.parameters(), model.parameters(), strict=True):
            own.lerp_(newest, weight.to(own.dtype))
        for buffer, newest_buffer in zip(self.module.buffers(), model.buffers(), strict=True):
            buffer.copy_(newest_buffer)
        self.n_averaged += counts
