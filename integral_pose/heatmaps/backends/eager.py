"""The passes over the voxels as tensor operations, a few joints at a time: for float64, or where nothing compiles."""

import torch
from torch import Tensor

from integral_pose.geometry.coordinates import cell_centers_norm
from integral_pose.heatmaps.backends.cube import JointCubes, cube_window, window_sums, window_voxels
from integral_pose.heatmaps.backends.fused import CubeSums, GradientTables, Softmax
from integral_pose.heatmaps.backends.memory_order import AlongAxes, joint_blocks, voxel_offsets


class EagerEngine:
    """Blocks small enough for a processor's cache, so that only the gradient is as large as the volume."""

    def softmax(self, volume: Tensor, terms: AlongAxes | None, with_loss: bool) -> Softmax:
        """Read the volume, (N, A, B, G, K)."""
        blocks = [_softmax(_logits(block, terms, joints), with_loss) for joints, block in joint_blocks(volume)]
        return Softmax(*(torch.cat(columns) for columns in zip(*blocks, strict=True)))

    def cube_sums(self, volume: Tensor, terms: AlongAxes | None, softmax: Softmax, cubes: JointCubes) -> CubeSums:
        """Read the cubes."""
        window = cube_window(cubes, volume)
        offsets, target = window_voxels(window, volume)
        is_peak = offsets == voxel_offsets(softmax.peak_cells, volume)[:, None]
        target = torch.where(is_peak, 0.0, target)
        x = volume.flatten()[offsets].double()
        if terms is not None:
            x = x + window_sums(window, terms)
        log_p = torch.where(is_peak, -1.0, x - (softmax.shift + softmax.log_sum - softmax.log_others)[:, None])
        p = log_p.exp()
        return CubeSums((target * (log_p - torch.log1p(-p))).sum(-1), (target / (1 - p)).sum(-1))

    def gradient(
        self, volume: Tensor, terms: AlongAxes | None, tables: GradientTables
    ) -> tuple[Tensor, AlongAxes | None]:
        """Gradient of the volume, (N, A, B, G, K), and of the terms."""
        gradient = torch.empty_like(volume)
        of_terms = None
        if terms is not None:
            of_a, of_b, of_k = map(torch.empty_like, terms)
            of_terms = of_a, of_b, of_k
        for (joints, block), (_, result) in zip(joint_blocks(volume), joint_blocks(gradient), strict=True):
            values = _gradient(_logits(block, terms, joints), tables, joints)
            result.copy_(values)
            for axis, table in enumerate(of_terms or ()):
                table[joints] = values.sum([other for other in (1, 2, 3) if other != axis + 1])
        return gradient, of_terms


def _logits(block: Tensor, terms: AlongAxes | None, joints: slice) -> Tensor:
    """block (q, A, B, K) with what the terms add, float32 at least."""
    block = block if block.dtype == torch.float64 else block.float()
    if terms is None:
        return block
    along_a, along_b, along_k = _spread(terms, joints, block.dtype)
    return block + (along_a + along_b + along_k)


def _spread(along: AlongAxes, joints: slice, dtype: torch.dtype) -> AlongAxes:
    """Tables (Q, cells) along A, B, K of some joints, laid out along the axes of a block (q, A, B, K)."""
    a, b, k = (table[joints].to(dtype) for table in along)
    return a[:, :, None, None], b[:, None, :, None], k[:, None, None, :]


def _softmax(block: Tensor, with_loss: bool) -> Softmax:
    """block (q, A, B, K) -> the softmax of its joints."""
    shape = block.shape[1:]
    flat = block.reshape(len(block), -1)
    finite = (flat * 0).sum(-1)  # 0, or NaN if any logit is not finite
    peak, index = flat.max(-1)
    flat = flat.scatter(-1, index[:, None], -torch.inf)
    shift = flat.amax(-1) + finite
    e = (flat - shift[:, None]).exp()
    total = e.sum(-1)
    softmax = Softmax(
        peak_cells=torch.stack(torch.unravel_index(index, shape), -1),
        peak=peak.double(),
        shift=shift.double(),
        log_sum=total.double().log(),
        mean=_mean_position(e.view(-1, *shape), total),
        log_complement=torch.zeros_like(peak, dtype=torch.float64),
        odds=torch.zeros_like(peak, dtype=torch.float64),
    )
    if not with_loss:
        return softmax
    p = e.mul_((softmax.log_others.exp() / total.double()).to(e.dtype)[:, None])
    log_complement = torch.log1p(-p).sum(-1).double()
    return softmax._replace(log_complement=log_complement, odds=(p / (1 - p)).sum(-1).double())


def _mean_position(e: Tensor, total: Tensor) -> Tensor:
    """(q, 3) float64 expected position along (A, B, K) under e / total, e (q, A, B, K)."""
    planes = e.sum(-1)
    marginals = planes.sum(2), planes.sum(1), e.sum((1, 2))
    moments = [(marginal * cell_centers_norm(marginal.shape[1], marginal)).sum(-1) for marginal in marginals]
    return (torch.stack(moments, -1) / total[:, None]).double()


def _gradient(x: Tensor, tables: GradientTables, joints: slice) -> Tensor:
    def column(values: Tensor) -> Tensor:
        return values[joints].to(x.dtype).view(-1, 1, 1, 1)

    slope_a, slope_b, slope_k = _spread(tables.slopes, joints, x.dtype)
    among_others = (x - column(tables.shift)).sub_(column(tables.log_sum)).exp_()
    p = among_others * column(tables.others)
    gradient = p * (slope_a + slope_b + slope_k)
    if tables.targets is not None:
        target_a, target_b, target_k = _spread(tables.targets, joints, x.dtype)
        error = (p * column(tables.weight)).sub_(target_a * target_b * target_k)
        gradient.add_(error.div_(1 - p)).sub_(among_others.mul_(column(tables.pull)))
    own = torch.arange(len(x), device=x.device)
    gradient[own, *tables.peak_cells[joints].unbind(-1)] = tables.peak_gradient[joints].to(x.dtype)
    return gradient
