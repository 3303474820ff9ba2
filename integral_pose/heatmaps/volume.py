"""The volume operator the rest of the package calls: the signatures of `reference`, on the fastest way there is.

CUDA                     Triton kernels
CPU, float32 or bf16     loops compiled at first use, if a C++ compiler is found
anything else            the same mathematics as tensor operations
traced or exported       the plain reference, which every exporter understands
"""

import functools
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from integral_pose.contracts import AxisLogits
from integral_pose.heatmaps import reference
from integral_pose.heatmaps.backends.compiled import CompiledEngine
from integral_pose.heatmaps.backends.compiler import CompilerUnavailableError, load_library
from integral_pose.heatmaps.backends.eager import EagerEngine
from integral_pose.heatmaps.backends.fused import Engine, read_volume
from integral_pose.heatmaps.reference import HeatmapTarget

__all__ = ["AxisLogits", "HeatmapTarget", "Implementation", "soft_argmax", "soft_argmax_and_heatmap_loss"]

Implementation = Literal["auto", "reference", "eager", "compiled", "triton"]
TritonRead = Callable[[Tensor, Tensor | None, HeatmapTarget | None, AxisLogits | None], tuple[Tensor, Tensor]]
_FASTEST: dict[str, Implementation] = {"cuda": "triton", "cpu": "compiled"}  # by device
_KNOWN = ("auto", "reference", "eager", "compiled", "triton")


def soft_argmax(
    logits: Tensor, implementation: Implementation = "auto", *, axis_logits: AxisLogits | None = None
) -> Tensor:
    """(B, J, D, H, W) logits, any memory layout -> (B, J, 3) expected position, norm (x, y, z).

    `axis_logits` are added to the logits where these are read, never as a volume.
    """
    return _read(logits, None, None, implementation, axis_logits)[0]


def soft_argmax_and_heatmap_loss(
    logits: Tensor,
    joints_norm: Tensor,
    target: HeatmapTarget,
    implementation: Implementation = "auto",
    *,
    axis_logits: AxisLogits | None = None,
) -> tuple[Tensor, Tensor]:
    """Expected positions (B, J, 3) norm, and the heat map loss against the true `joints_norm` (B, J, 3).

    The loss is a scalar: over the voxels by `target.reduction`, then the mean over B and J. A joint outside
    the volume contributes nothing to it. Accumulates in float32 at least.
    """
    return _read(logits, joints_norm, target, implementation, axis_logits)


def _read(
    logits: Tensor,
    joints_norm: Tensor | None,
    target: HeatmapTarget | None,
    implementation: Implementation,
    axis_logits: AxisLogits | None,
) -> tuple[Tensor, Tensor]:
    if implementation not in _KNOWN:
        raise ValueError(f"unknown implementation {implementation!r}. Known: {', '.join(_KNOWN)}.")
    with torch.autocast(logits.device.type, enabled=False):  # sums stay in float32
        chosen = _choose(logits) if implementation == "auto" else implementation
        if chosen == "reference":
            return _read_plainly(logits, joints_norm, target, axis_logits)
        return _read_with(chosen, logits, joints_norm, target, axis_logits)


def _read_plainly(
    logits: Tensor, joints_norm: Tensor | None, target: HeatmapTarget | None, axis_logits: AxisLogits | None
) -> tuple[Tensor, Tensor]:
    if joints_norm is None or target is None:
        joints = reference.soft_argmax(logits, axis_logits=axis_logits)
        return joints, joints.new_zeros(())
    return reference.soft_argmax_and_heatmap_loss(logits, joints_norm, target, axis_logits=axis_logits)


def _read_with(
    implementation: str,
    logits: Tensor,
    joints_norm: Tensor | None,
    target: HeatmapTarget | None,
    axis_logits: AxisLogits | None,
) -> tuple[Tensor, Tensor]:
    if implementation != "eager" and logits.dtype == torch.float64:
        raise ValueError(f"{implementation} kernels add in float32; use implementation='eager' for float64 logits")
    if implementation == "compiled":
        if logits.device.type != "cpu":
            raise ValueError(f"the compiled loops run on the CPU; the logits are on {logits.device}")
        if not CompiledEngine.takes(logits.dtype):
            logits = logits.float()  # the gradient comes back in the dtype of the logits
    if implementation == "triton":
        return _triton()(logits, joints_norm, target, axis_logits)
    return read_volume(logits, joints_norm, target, axis_logits, _engine(implementation))


def _choose(logits: Tensor) -> Implementation:
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if is_traced or logits[0, 0].numel() < 2:  # one voxel has no others to keep apart from the peak
        return "reference"
    if logits.dtype == torch.float64:
        return "eager"
    fastest = _FASTEST.get(logits.device.type, "eager")
    return fastest if _is_available(fastest) else "eager"


@functools.cache
def _is_available(implementation: Implementation) -> bool:
    """Whether it builds and runs here; if not, one warning that says why."""
    try:
        if implementation == "triton":
            _try_triton()
        else:
            _engine(implementation)
    except Exception as error:  # whatever a compiler can fail with: there is another way
        warnings.warn(f"the volume operator runs several times slower than it could: {error}", stacklevel=2)
        return False
    return True


def _try_triton() -> None:
    """All three kernels, with the loss: what does not compile is to show here, not in the first step that needs it."""
    with torch.inference_mode(False), torch.enable_grad():
        logits = torch.zeros(1, 1, 2, 2, 2, device="cuda", requires_grad=True)
        joints, loss = _triton()(logits, torch.zeros(1, 1, 3, device="cuda"), HeatmapTarget(), None)
        (joints.sum() + loss).backward()


@functools.cache
def _engine(implementation: str) -> Engine:
    return CompiledEngine(load_library()) if implementation == "compiled" else EagerEngine()


def _triton() -> TritonRead:
    """The operator on Triton, a package that only CUDA builds of torch bring; imported where it is needed."""
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < (7, 0):
        raise CompilerUnavailableError("Triton needs a GPU of compute capability 7 or more")
    from integral_pose.heatmaps.backends.triton_volume import read_volume_with_triton

    return read_volume_with_triton
