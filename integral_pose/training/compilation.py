"""torch.compile where it works here."""

from collections.abc import Callable
from typing import Any

import torch

from integral_pose.io.notices import notify


def compiled_where_possible(forward: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`forward` compiled; as it is, with a notice, where the machine lacks what compiling takes (a C compiler).

    Tried on a small function and its gradient, since torch compiles at the first call and would end the run there.
    """
    try:
        numbers = torch.ones(64, device=device, requires_grad=True)
        torch.compile(_probe)(numbers).backward()
    except Exception as error:  # whatever a compiler can fail with: there is another way
        notify(
            f"the training step is not compiled, which makes it slower: {str(error).strip().splitlines()[0]}. It takes "
            "a C compiler (g++ or clang; on CUDA gcc and Python's headers); trainer.compile=off asks for none"
        )
        return forward
    return torch.compile(forward)


def _probe(numbers: torch.Tensor) -> torch.Tensor:
    return (numbers.sin() * numbers).sum()
