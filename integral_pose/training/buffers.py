"""Batch-norm statistics and whatever else a forward pass changes, to be put back after a step that must not count."""

import torch
from torch import Tensor, nn


class BufferCopy:
    """A model's buffers as they were. Copies and puts back with a few calls, without asking the device anything."""

    def __init__(self, model: nn.Module) -> None:
        groups: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            groups.setdefault(buffer.dtype, []).append(buffer)
        self._groups = list(groups.values())
        self._before: list[Tensor] = []

    @torch.no_grad()
    def take(self) -> None:
        """Remember the buffers as they are."""
        self._before = [_joined(group) for group in self._groups]

    @torch.no_grad()
    def put_back(self, where: Tensor) -> None:
        """Make them what they were at the last `take`, if `where`, a bool on the device, is true."""
        for group, before in zip(self._groups, self._before, strict=True):
            chosen = torch.where(where, before, _joined(group))  # not a product: NaN times 0 is NaN
            parts = chosen.split([buffer.numel() for buffer in group])
            torch._foreach_copy_(group, [part.view_as(own) for own, part in zip(group, parts, strict=True)])

    def state(self) -> list[Tensor]:
        """The buffers as they are now, joined by dtype, on the CPU."""
        return [_joined(group).cpu() for group in self._groups]

    @torch.no_grad()
    def restore(self, state: list[Tensor]) -> None:
        """Undo what came since `state`."""
        self._before = [before.to(group[0].device) for before, group in zip(state, self._groups, strict=True)]
        self.put_back(where=torch.ones((), dtype=torch.bool, device=self._before[0].device))


def _joined(group: list[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in group])
