"""Triton kernels of the volume operator. See fused.py for the mathematics, triton_volume.py for the launches.

A volume lies in memory as (N, A, B, G, K); joint q = n * G + g. A "tile" is TILE_ROWS rows of K voxels of one
joint, a row being a place on A and B; tiles of the same place follow each other over the joints, so that the
programs that run together read neighbouring memory in both orders. A voxel's index is (a * B + b) * K + k.
"""

# Triton gives the arguments of these functions their types.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

# Fields of a tile: the largest logit but one, sums of e = exp(x - TOP) over all but the largest, the largest.
TOP: tl.constexpr = tl.constexpr(0)
SUM: tl.constexpr = tl.constexpr(1)
MOMENT_A: tl.constexpr = tl.constexpr(2)
MOMENT_B: tl.constexpr = tl.constexpr(3)
MOMENT_K: tl.constexpr = tl.constexpr(4)
SUM_2: tl.constexpr = tl.constexpr(5)
SUM_3: tl.constexpr = tl.constexpr(6)
SUM_4: tl.constexpr = tl.constexpr(7)
LARGEST: tl.constexpr = tl.constexpr(8)
TILE_FIELDS: tl.constexpr = tl.constexpr(9)

# Fields of a joint, named as in fused.Softmax; MEAN is over the others, POSITION over all.
SHIFT: tl.constexpr = tl.constexpr(0)
LOG_SUM: tl.constexpr = tl.constexpr(1)
LOG_OTHERS: tl.constexpr = tl.constexpr(2)
LOG_PEAK: tl.constexpr = tl.constexpr(3)
MEAN: tl.constexpr = tl.constexpr(4)
POSITION: tl.constexpr = tl.constexpr(7)
LOSS: tl.constexpr = tl.constexpr(10)
SUM_OTHERS: tl.constexpr = tl.constexpr(11)
TARGET_AT_PEAK: tl.constexpr = tl.constexpr(12)
JOINT_FIELDS: tl.constexpr = tl.constexpr(13)

LOG_LARGEST_IN_SERIES: tl.constexpr = tl.constexpr(-3.4657359)  # log 1/32


@triton.jit
def _log1p(y):
    """log(1 + y) for y > -1, to float32's rounding also near 0."""
    series = y * (1 - y * (0.5 - y * (1 / 3 - y * (0.25 - y * 0.2))))
    is_small = tl.abs(y) < 0.03125
    return tl.where(is_small, series, tl.log(tl.where(is_small, 1.0, 1 + y)))


@triton.jit
def _softplus(x):
    return tl.maximum(x, 0.0) + _log1p(tl.exp(-tl.abs(x)))


@triton.jit
def _center(cell, num_cells):
    return (cell.to(tl.float32) + 0.5) / num_cells - 0.5


@triton.jit
def _joint_start(q, A: tl.constexpr, B: tl.constexpr, G: tl.constexpr, K: tl.constexpr):
    return (q // G).to(tl.int64) * (A * B * G * K) + (q % G) * K


@triton.jit
def _tile_voxels(
    tile, A: tl.constexpr, B: tl.constexpr, K: tl.constexpr, TILE_ROWS: tl.constexpr, PADDED_K: tl.constexpr
):
    """Rows (TILE_ROWS, 1), places along K (1, PADDED_K), and which of them there are."""
    row = tile * TILE_ROWS + tl.arange(0, TILE_ROWS)[:, None]
    k = tl.arange(0, PADDED_K)[None, :]
    return row, k, (row < A * B) & (k < K)


@triton.jit
def _sum(values):
    return tl.sum(tl.sum(values, 1), 0)


@triton.jit
def sum_tiles(
    volume,
    tile_sums,  # (Q, TILE_FIELDS, tiles) float32
    tile_places,  # (Q, tiles) int32, index of each tile's largest logit
    num_tiles,
    A: tl.constexpr,
    B: tl.constexpr,
    G: tl.constexpr,
    K: tl.constexpr,
    WITH_LOSS: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    PADDED_K: tl.constexpr,
):
    """Each tile's largest voxel, and the sums over its others relative to the largest of those."""
    program = tl.program_id(0)
    tile = (program // G) % num_tiles
    q = (program // G) // num_tiles * G + program % G
    row, k, exists = _tile_voxels(tile, A, B, K, TILE_ROWS, PADDED_K)
    x = tl.load(volume + _joint_start(q, A, B, G, K) + row * (G * K) + k, mask=exists, other=0.0).to(tl.float32)
    zero_if_finite = _sum(x * 0.0)
    x = tl.where(exists, x, float("-inf"))
    largest = tl.max(tl.max(x, 1), 0)
    index = row * K + k
    place = tl.min(tl.min(tl.where(x == largest, index, A * B * K), 1), 0)
    x = tl.where(index == place, float("-inf"), x)
    top = tl.max(tl.max(x, 1), 0)
    e = tl.exp(x - tl.where(top == float("-inf"), 0.0, top))
    of_rows = tl.sum(e, 1)
    along_a, along_b = _center(tl.max(row, 1) // B, A), _center(tl.max(row, 1) % B, B)
    sums = tile_sums + q * (TILE_FIELDS * num_tiles) + tile
    tl.store(sums + TOP * num_tiles, top)
    tl.store(sums + LARGEST * num_tiles, largest + zero_if_finite)
    tl.store(sums + SUM * num_tiles, tl.sum(of_rows, 0))
    tl.store(sums + MOMENT_A * num_tiles, tl.sum(of_rows * along_a, 0))
    tl.store(sums + MOMENT_B * num_tiles, tl.sum(of_rows * along_b, 0))
    tl.store(sums + MOMENT_K * num_tiles, _sum(e * _center(k, K)))
    tl.store(tile_places + q * num_tiles + tile, place)
    if WITH_LOSS:
        e_2 = e * e
        tl.store(sums + SUM_2 * num_tiles, _sum(e_2))
        tl.store(sums + SUM_3 * num_tiles, _sum(e_2 * e))
        tl.store(sums + SUM_4 * num_tiles, _sum(e_2 * e_2))


@triton.jit
def _gaussian(distance, radius):
    near = (distance <= radius) & (distance >= -radius)
    d = tl.where(near, distance, 0).to(tl.float32)
    return tl.where(near, tl.exp(-0.5 * d * d), 0.0)


@triton.jit
def _target(index, cell_a, cell_b, cell_k, radius, height, B: tl.constexpr, K: tl.constexpr):
    row = index // K
    along_a, along_b = _gaussian(row // B - cell_a, radius), _gaussian(row % B - cell_b, radius)
    return height * along_a * along_b * _gaussian(index % K - cell_k, radius)


@triton.jit
def _window_start(cell, radius, length, span):
    return tl.minimum(tl.maximum(cell - radius, 0), length - span)


@triton.jit
def merge_tiles(
    volume,
    tile_sums,
    tile_places,
    cells,  # (Q, 3) int32 along A, B, K, cut to a reach that fits
    joint_values,  # (Q, JOINT_FIELDS) float32
    peaks,  # (Q,) int32, index of the largest voxel
    num_tiles,
    radius,
    height,
    A: tl.constexpr,
    B: tl.constexpr,
    G: tl.constexpr,
    K: tl.constexpr,
    SPAN_A: tl.constexpr,
    SPAN_B: tl.constexpr,
    SPAN_K: tl.constexpr,
    WITH_LOSS: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    PADDED_K: tl.constexpr,
    PADDED_TILES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One joint a program: its softmax from its tiles, the few voxels too large for the series, and the cube."""
    q = tl.program_id(0)
    tile = tl.arange(0, PADDED_TILES)
    exists = tile < num_tiles
    sums = tile_sums + q * (TILE_FIELDS * num_tiles) + tile
    top = tl.load(sums + TOP * num_tiles, mask=exists, other=float("-inf"))
    largest = tl.load(sums + LARGEST * num_tiles, mask=exists, other=float("-inf"))
    place = tl.load(tile_places + q * num_tiles + tile, mask=exists, other=0)
    zero_if_finite = tl.sum(tl.where(exists, largest * 0.0, 0.0), 0)
    peak = tl.max(largest, 0)
    at = tl.min(tl.where(largest == peak, tile, PADDED_TILES), 0)
    peak_index = tl.sum(tl.where(tile == at, place, 0), 0)
    # The largest voxels of the other tiles are others too, each on its own.
    alone = tl.where((tile == at) | (exists == 0), float("-inf"), largest)
    shift = tl.maximum(tl.max(top, 0), tl.max(alone, 0))
    w = tl.exp(top - shift)
    v = tl.exp(alone - shift)
    total = tl.sum(w * tl.load(sums + SUM * num_tiles, mask=exists, other=0.0) + v, 0)
    row = place // K
    moment_a = w * tl.load(sums + MOMENT_A * num_tiles, mask=exists, other=0.0) + v * _center(row // B, A)
    moment_b = w * tl.load(sums + MOMENT_B * num_tiles, mask=exists, other=0.0) + v * _center(row % B, B)
    moment_k = w * tl.load(sums + MOMENT_K * num_tiles, mask=exists, other=0.0) + v * _center(place % K, K)
    mean_a, mean_b, mean_k = tl.sum(moment_a, 0) / total, tl.sum(moment_b, 0) / total, tl.sum(moment_k, 0) / total
    log_sum = tl.log(total) + zero_if_finite
    gap = (shift - peak) + log_sum
    log_others, log_peak = -_softplus(-gap), -_softplus(gap)
    others = tl.exp(log_others)
    values = joint_values + q * JOINT_FIELDS
    tl.store(values + SHIFT, shift)
    tl.store(values + LOG_SUM, log_sum)
    tl.store(values + LOG_OTHERS, log_others)
    tl.store(values + LOG_PEAK, log_peak)
    tl.store(values + MEAN, mean_a)
    tl.store(values + MEAN + 1, mean_b)
    tl.store(values + MEAN + 2, mean_k)
    center_a, center_b = _center(peak_index // K // B, A), _center(peak_index // K % B, B)
    center_k = _center(peak_index % K, K)
    tl.store(values + POSITION, center_a + others * (mean_a - center_a))
    tl.store(values + POSITION + 1, center_b + others * (mean_b - center_b))
    tl.store(values + POSITION + 2, center_k + others * (mean_k - center_k))
    tl.store(peaks + q, peak_index)
    if WITH_LOSS:
        start = _joint_start(q, A, B, G, K)
        scale = others / total
        wp, vp = w * scale, v * scale
        p_2 = tl.sum(wp * wp * tl.load(sums + SUM_2 * num_tiles, mask=exists, other=0.0) + vp * vp, 0)
        p_3 = wp * wp * wp * tl.load(sums + SUM_3 * num_tiles, mask=exists, other=0.0) + vp * vp * vp
        p_4 = wp * wp * wp * wp * tl.load(sums + SUM_4 * num_tiles, mask=exists, other=0.0) + vp * vp * vp * vp
        p_3, p_4 = tl.sum(p_3, 0), tl.sum(p_4, 0)
        log_complement = -(others + p_2 / 2 + p_3 / 3 + p_4 / 4)
        odds = others + p_2 + p_3 + p_4
        # log p > log 1/32: at most 31 voxels, which the series does not serve; their tiles are read again.
        has_large = (tl.maximum(top, alone) - shift) - log_sum + log_others > LOG_LARGEST_IN_SERIES
        for t in range(num_tiles):
            if tl.sum(tl.where((tile == t) & has_large, 1, 0), 0) > 0:
                r, k, there = _tile_voxels(t, A, B, K, TILE_ROWS, PADDED_K)
                x = tl.load(volume + start + r * (G * K) + k, mask=there, other=float("-inf")).to(tl.float32)
                log_p = (x - shift) - log_sum + log_others
                is_large = there & (log_p > LOG_LARGEST_IN_SERIES) & (r * K + k != peak_index)
                p = tl.where(is_large, tl.exp(log_p), 0.0)
                log_complement += _sum(_log1p(-p) + p * (1 + p * (0.5 + p * (1 / 3 + p * 0.25))))
                odds += _sum(p / (1 - p) - p * (1 + p * (1 + p * (1 + p))))
        cell_a, cell_b, cell_k = tl.load(cells + q * 3), tl.load(cells + q * 3 + 1), tl.load(cells + q * 3 + 2)
        cube = tl.zeros([BLOCK], tl.float32)
        cube_odds = tl.zeros([BLOCK], tl.float32)
        for first in range(0, SPAN_A * SPAN_B * SPAN_K, BLOCK):
            i = first + tl.arange(0, BLOCK)
            a = _window_start(cell_a, radius, A, SPAN_A) + i // (SPAN_B * SPAN_K)
            b = _window_start(cell_b, radius, B, SPAN_B) + i // SPAN_K % SPAN_B
            k = _window_start(cell_k, radius, K, SPAN_K) + i % SPAN_K
            index = (a * B + b) * K + k
            counts = (i < SPAN_A * SPAN_B * SPAN_K) & (index != peak_index)
            x = tl.load(volume + start + (a * B + b) * (G * K) + k, mask=counts, other=0.0).to(tl.float32)
            log_p = tl.where(counts, (x - shift) - log_sum + log_others, -1.0)
            p = tl.exp(log_p)
            target = tl.where(counts, _target(index, cell_a, cell_b, cell_k, radius, height, B, K), 0.0)
            cube += target * (log_p - _log1p(-p))
            cube_odds += target / (1 - p)
        at_peak = _target(peak_index, cell_a, cell_b, cell_k, radius, height, B, K)
        loss = log_complement + tl.sum(cube, 0) + (1 - at_peak) * log_others + at_peak * log_peak
        tl.store(values + LOSS, -loss)
        tl.store(values + SUM_OTHERS, odds - tl.sum(cube_odds, 0))
        tl.store(values + TARGET_AT_PEAK, at_peak)


@triton.jit
def write_gradient(
    volume,
    joint_values,
    peaks,
    cells,
    joints_gradient,  # (Q, 3) float32 along A, B, K
    weights,  # (Q,) float32, gradient of each joint's cross-entropy
    result,
    num_tiles,
    radius,
    height,
    A: tl.constexpr,
    B: tl.constexpr,
    G: tl.constexpr,
    K: tl.constexpr,
    WITH_LOSS: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    PADDED_K: tl.constexpr,
):
    """The gradient of a tile."""
    program = tl.program_id(0)
    tile = (program // G) % num_tiles
    q = (program // G) // num_tiles * G + program % G
    row, k, exists = _tile_voxels(tile, A, B, K, TILE_ROWS, PADDED_K)
    place = _joint_start(q, A, B, G, K) + row * (G * K) + k
    x = tl.load(volume + place, mask=exists, other=0.0).to(tl.float32)
    values = joint_values + q * JOINT_FIELDS
    others, peak = tl.exp(tl.load(values + LOG_OTHERS)), tl.exp(tl.load(values + LOG_PEAK))
    d_a, d_b = tl.load(joints_gradient + q * 3), tl.load(joints_gradient + q * 3 + 1)
    d_k = tl.load(joints_gradient + q * 3 + 2)
    peak_index = tl.load(peaks + q)
    slope_row = d_a * (_center(row // B, A) - tl.load(values + POSITION))
    slope_row += d_b * (_center(row % B, B) - tl.load(values + POSITION + 1))
    slope = slope_row + d_k * (_center(k, K) - tl.load(values + POSITION + 2))
    from_a = d_a * (_center(peak_index // K // B, A) - tl.load(values + MEAN))
    from_b = d_b * (_center(peak_index // K % B, B) - tl.load(values + MEAN + 1))
    from_k = d_k * (_center(peak_index % K, K) - tl.load(values + MEAN + 2))
    at_peak = peak * others * (from_a + from_b + from_k)
    index = row * K + k
    is_peak = index == peak_index
    log_among = (x - tl.load(values + SHIFT)) - tl.load(values + LOG_SUM)
    among_others = tl.exp(tl.where(is_peak, 0.0, log_among))
    p = among_others * others
    gradient = p * slope
    if WITH_LOSS:
        weight = tl.load(weights + q)
        error_at_peak = 1 - tl.load(values + TARGET_AT_PEAK) - others
        sum_others = tl.load(values + SUM_OTHERS)
        cell_a, cell_b, cell_k = tl.load(cells + q * 3), tl.load(cells + q * 3 + 1), tl.load(cells + q * 3 + 2)
        of_row = height * _gaussian(row // B - cell_a, radius) * _gaussian(row % B - cell_b, radius)
        target = of_row * _gaussian(k - cell_k, radius)
        pull = weight * (error_at_peak + others * sum_others)
        gradient += weight * (p - target) / (1 - p) - among_others * pull
        at_peak += weight * (error_at_peak - peak * sum_others)
    gradient = tl.where(is_peak, at_peak, gradient)
    tl.store(result + place, gradient.to(result.dtype.element_ty), mask=exists)
