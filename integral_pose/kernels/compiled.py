"""The two passes as compiled loops on the CPU: `volume.cpp` for the voxels, float64 tensors for the rest.

The sum of log(1 - p) needs no second read: log(1 - p) = -(p + p^2/2 + p^3/3 + p^4/4) while p <= 1/32, so
sums of powers of exp(x - top), gathered in the same read, serve all voxels but the at most 31 larger ones of a
joint, which are looked up and corrected. What is left out of a joint's sum is less than 2e-7.
"""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import cell_centers_norm
from integral_pose.kernels.fused import GradientTables, Softmax
from integral_pose.kernels.memory_order import voxel_offsets

NUM_POWERS = 4
LARGEST_IN_SERIES = 1 / 32
_FIELDS = 9  # of PlaneSums in volume.cpp: top, sum, moments along B and K, sums of powers 2 to 4, peak index, peak
_LANES = 16
_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


class CompiledEngine:
    """Runs on as many threads as torch does; float32 and bfloat16 volumes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @staticmethod
    def takes(dtype: torch.dtype) -> bool:
        """Whether logits of this dtype can be read as they are."""
        return dtype in _NAMES

    def softmax(self, volume: Tensor, with_loss: bool) -> Softmax:
        """Read the volume, (N, A, B, G, K)."""
        planes = self._sum_planes(volume, None, with_loss)
        peak_plane = planes[..., 0].argmax(-1)  # NaN counts as the largest, and where there is one the peak is NaN
        at_peak = self._sum_planes(volume, peak_plane, with_loss)
        others = planes.scatter(1, peak_plane[:, None, None].expand(-1, 1, _FIELDS), at_peak[:, None])
        cells_k = volume.shape[-1]
        peak_index = at_peak[:, 7].long()
        peak_cells = torch.stack([peak_plane, peak_index // cells_k, peak_index % cells_k], -1)
        softmax, powers = _merge_planes(others, at_peak[:, 8], peak_cells)
        if not with_loss:
            return softmax
        return _correct_large(_from_powers(softmax, powers), others[..., 0], volume)

    def gradient(self, volume: Tensor, tables: GradientTables) -> Tensor:
        """Gradient of the volume, (N, A, B, G, K)."""
        gradient = torch.empty_like(volume)
        joints = torch.stack(tables[:6], -1).float()
        offsets = voxel_offsets(tables.peak_cells, volume)
        slopes = [*map(_single, tables.slopes[:2]), _padded(tables.slopes[2])]
        targets: list[Tensor | None] = [None] * 3
        if tables.targets is not None:
            targets = [*map(_single, tables.targets[:2]), _padded(tables.targets[2])]
        function = getattr(self._library, f"write_gradient_{_NAMES[volume.dtype]}")
        arguments = [volume, torch.tensor(volume.shape), joints, offsets, *slopes, *targets]  # alive during the call
        function(*map(_pointer, arguments), ctypes.c_int64(torch.get_num_threads()), _pointer(gradient))
        return gradient

    def _sum_planes(self, volume: Tensor, peak_planes: Tensor | None, with_loss: bool) -> Tensor:
        """(Q, A, fields) float64 of all planes, or (Q, fields) of the peak's planes without the peak."""
        num_volumes, cells_a, cells_b, num_joints, cells_k = volume.shape
        num_q = num_volumes * num_joints
        sums = torch.empty((num_q, cells_a, _FIELDS) if peak_planes is None else (num_q, _FIELDS))
        like = sums.new_empty(0)
        centers_b, centers_k = cell_centers_norm(cells_b, like), _padded(cell_centers_norm(cells_k, like))
        function = getattr(self._library, f"sum_planes_{_NAMES[volume.dtype]}")
        arguments = [volume, torch.tensor(volume.shape), centers_b, centers_k, peak_planes]  # alive during the call
        function(
            *map(_pointer, arguments),
            ctypes.c_int64(with_loss),
            ctypes.c_int64(torch.get_num_threads()),
            _pointer(sums),
        )
        return sums.double()


def _merge_planes(planes: Tensor, peak: Tensor, peak_cells: Tensor) -> tuple[Softmax, list[Tensor]]:
    """The softmax of the others from their planes (Q, A, fields), and the sums of pi^k for k = 2 to 4."""
    tops = planes[..., 0]
    shift = tops.amax(-1) + peak * 0
    scale = (tops - shift[:, None]).exp()
    sums = scale * planes[..., 1]
    total = sums.sum(-1)
    moments = (sums * cell_centers_norm(sums.shape[1], sums), scale * planes[..., 2], scale * planes[..., 3])
    mean = torch.stack([moment.sum(-1) for moment in moments], -1) / total[:, None]
    powers = [(scale**k * planes[..., 2 + k]).sum(-1) / total**k for k in range(2, NUM_POWERS + 1)]
    zeros = torch.zeros_like(peak)
    return Softmax(peak_cells, peak, shift, total.log(), mean, zeros, zeros), powers


def _from_powers(softmax: Softmax, powers: list[Tensor]) -> Softmax:
    others = softmax.log_others.exp()
    sums = torch.stack([others, *(others**k * power for k, power in enumerate(powers, start=2))])
    return softmax._replace(log_complement=-(sums * _series(sums)).sum(0), odds=sums.sum(0))


def _series(powers: Tensor) -> Tensor:
    """1, 1/2, 1/3, 1/4, the coefficients of -log(1 - p), for powers along the first axis."""
    orders = torch.arange(1, NUM_POWERS + 1, dtype=powers.dtype)
    return 1 / orders[:, None]


def _correct_large(softmax: Softmax, tops: Tensor, volume: Tensor) -> Softmax:
    """Replace the series by the exact terms for the voxels too large for it; `tops` (Q, A) largest of each plane."""
    log_share = softmax.log_others - softmax.shift - softmax.log_sum  # log p = x + log_share
    threshold = math.log(LARGEST_IN_SERIES) - log_share
    joints, planes = (tops > threshold[:, None]).nonzero(as_tuple=True)
    if len(joints) == 0:
        return softmax
    num_joints = volume.shape[3]
    x = volume[joints // num_joints, planes, :, joints % num_joints]  # (planes, B, K)
    large = (x > threshold[joints].float()[:, None, None]).nonzero(as_tuple=True)
    joint, plane = joints[large[0]], planes[large[0]]
    is_peak = (torch.stack([plane, large[1], large[2]], -1) == softmax.peak_cells[joint]).all(-1)
    p = torch.where(is_peak, 0.0, (x[large].double() + log_share[joint]).exp())
    in_series = torch.stack([p**k for k in range(1, NUM_POWERS + 1)])
    log_error = torch.log1p(-p) + (in_series * _series(in_series)).sum(0)
    return softmax._replace(
        log_complement=softmax.log_complement.index_add(0, joint, log_error),
        odds=softmax.odds.index_add(0, joint, p / (1 - p) - in_series.sum(0)),
    )


def _single(table: Tensor) -> Tensor:
    return table.float().contiguous()


def _padded(table: Tensor) -> Tensor:
    """float32 with zeros up to whole vectors along the last axis."""
    return torch.nn.functional.pad(table.float(), (0, -table.shape[-1] % _LANES)).contiguous()


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
