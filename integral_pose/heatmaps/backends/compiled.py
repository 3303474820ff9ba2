"""The passes over the voxels as compiled loops on the CPU: `volume.cpp`, called with pointers.

Everything per joint is computed there too: on a busy machine a dozen small tensor operations, each waiting for
its threads, cost more than the volume.
"""

import ctypes

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import cell_centers_norm
from integral_pose.heatmaps.backends.cube import JointCubes, cube_window
from integral_pose.heatmaps.backends.fused import CubeSums, GradientTables, Softmax
from integral_pose.heatmaps.backends.memory_order import AlongAxes, voxel_offsets

_SOFTMAX_FIELDS = 11  # of Softmax in volume.cpp
_LANES = 16  # of the vectors of the loops
_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


class CompiledEngine:
    """Runs on as many threads as torch does; float32 and bfloat16 volumes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @staticmethod
    def takes(dtype: torch.dtype) -> bool:
        """Whether logits of this dtype can be read as they are."""
        return dtype in _NAMES

    def softmax(self, volume: Tensor, terms: AlongAxes | None, with_loss: bool) -> Softmax:
        """Read the volume, (N, A, B, G, K)."""
        num_volumes, _, cells_b, num_joints, cells_k = volume.shape
        fields = torch.empty(num_volumes * num_joints, _SOFTMAX_FIELDS, dtype=torch.float64)
        like = torch.empty(0)
        centers_b, centers_k = cell_centers_norm(cells_b, like), _padded(cell_centers_norm(cells_k, like))
        self._call(
            "read_softmax", volume, _as_row(terms), centers_b, centers_k, with_loss, torch.get_num_threads(), fields
        )
        peak, shift, log_sum = fields[:, 3], fields[:, 4], fields[:, 5]
        return Softmax(fields[:, :3].long(), peak, shift, log_sum, fields[:, 6:9], fields[:, 9], fields[:, 10])

    def cube_sums(self, volume: Tensor, terms: AlongAxes | None, softmax: Softmax, cubes: JointCubes) -> CubeSums:
        """Read the cubes."""
        window = cube_window(cubes, volume)
        spans = torch.tensor([factor.shape[-1] for factor in window.factors])
        logs = torch.stack([softmax.shift, softmax.log_sum, softmax.log_others], -1)
        offsets = voxel_offsets(softmax.peak_cells, volume)
        sums = torch.empty(len(logs), 2, dtype=torch.float64)
        starts, factors = window.starts.contiguous(), _as_floats(window.factors)
        arguments = (_as_row(terms), logs, offsets, spans, starts, *factors, torch.get_num_threads(), sums)
        self._call("sum_cubes", volume, *arguments)
        return CubeSums(sums[:, 0], sums[:, 1])

    def gradient(
        self, volume: Tensor, terms: AlongAxes | None, tables: GradientTables
    ) -> tuple[Tensor, AlongAxes | None]:
        """Gradient of the volume, (N, A, B, G, K), and of the terms."""
        num_volumes, cells_a, cells_b, num_joints, cells_k = volume.shape
        gradient, row_sums, sums_along_k = torch.empty_like(volume), None, None
        if terms is not None:
            row_sums = torch.empty(num_volumes, cells_a, cells_b, num_joints)
            sums_along_k = torch.zeros(num_volumes, cells_a, num_joints, cells_k + -cells_k % _LANES)
        joints = torch.stack(tables[:6], -1).float()
        offsets = voxel_offsets(tables.peak_cells, volume)
        slopes = _as_floats(tables.slopes)
        targets = (None, None, None) if tables.targets is None else _as_floats(tables.targets)
        own = (_as_row(terms), joints, offsets, *slopes, *targets)
        self._call("write_gradient", volume, *own, torch.get_num_threads(), row_sums, sums_along_k, gradient)
        if row_sums is None or sums_along_k is None:
            return gradient, None
        of_k = sums_along_k[..., :cells_k].sum(1).flatten(0, 1)
        return gradient, (row_sums.sum(2).mT.flatten(0, 1), row_sums.sum(1).mT.flatten(0, 1), of_k)

    def _call(self, name: str, volume: Tensor, *arguments: Tensor | int | None) -> None:
        """Call a loop with the volume, its shape, and the arguments, all of which live until it returns."""
        everything = (volume, torch.tensor(volume.shape), *arguments)
        getattr(self._library, f"{name}_{_NAMES[volume.dtype]}")(*map(_as_c, everything))


def _as_row(terms: AlongAxes | None) -> Tensor | None:
    """Terms as the loops take them: one row a joint."""
    return None if terms is None else torch.cat(_as_floats(terms), -1)


def _as_floats(tables: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Tables along A, B, K as the loops take them."""
    return tables[0].float().contiguous(), tables[1].float().contiguous(), _padded(tables[2])


def _padded(table: Tensor) -> Tensor:
    """float32 with zeros up to whole vectors along the last axis."""
    return torch.nn.functional.pad(table.float(), (0, -table.shape[-1] % _LANES)).contiguous()


def _as_c(argument: Tensor | int | None) -> ctypes.c_void_p | ctypes.c_int64:
    """A pointer to the elements, the number, or a null pointer."""
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    return ctypes.c_void_p(None if argument is None else argument.data_ptr())
