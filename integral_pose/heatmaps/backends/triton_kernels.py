"""Triton kernels of the volume operator. See fused.py for the mathematics, triton_volume.py for the launches.

A volume lies in memory as (N, A, B, G, K), its SHAPE here (A, B, G, K); joint q = n * G + g. A "tile" is TILE_ROWS
rows of K voxels of one joint, a row being a place on A and B; tiles of the same place follow each other over the
joints, so that the programs that run together read neighbouring memory in both orders. A voxel's index is
(a * B + b) * K + k. Three values in one argument are along A, B, K.

float32: tile_sums (Q, TILE_FIELDS, tiles), joint_values (Q, JOINT_FIELDS), joints_gradient (Q, 3), and weights (Q,),
the gradients of the joints' cross-entropies. int32: tile_places (Q, tiles) and peaks (Q,), the indices of the largest
voxels, and cells (Q, 3) of the true joints. terms (Q, A + B + K) float32 are added to the logits along A, B and K,
if WITH_TERMS.
"""

# Triton gives the arguments of these functions their types.
# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from integral_pose.heatmaps.backends.triton_places import (
    cell_center,
    joint_start,
    load_3,
    log1p,
    softplus,
    terms_at,
    tile_of_program,
    tile_voxels,
    voxel_center,
)

# Fields of a tile: the largest logit but one, sums of e = exp(x - TOP) over all but the largest, the largest.
TOP, SUM, MOMENT, SUM_2, SUM_3, SUM_4, LARGEST, TILE_FIELDS = map(tl.constexpr, (0, 1, 2, 5, 6, 7, 8, 9))
# Fields of a joint, named as in fused.Softmax; MEAN is over the others, POSITION over all.
SHIFT, LOG_SUM, LOG_OTHERS, LOG_PEAK, MEAN, POSITION = map(tl.constexpr, (0, 1, 2, 3, 4, 7))
LOSS, SUM_OTHERS, TARGET_AT_PEAK, JOINT_FIELDS = map(tl.constexpr, (10, 11, 12, 13))

LOG_LARGEST_IN_SERIES = tl.constexpr(-3.4657359)  # log 1/32
CUBE_BLOCK = tl.constexpr(1024)  # voxels


@triton.jit
def sum_tiles(
    volume, terms, tile_sums, tile_places, num_tiles,
    SHAPE: tl.constexpr, TILE_ROWS: tl.constexpr, PADDED_K: tl.constexpr, WITH_LOSS: tl.constexpr,
    WITH_TERMS: tl.constexpr,
):  # fmt: skip
    """Each tile's largest voxel, and the sums over its others relative to the largest of those."""
    A, B, _, K = SHAPE
    q, tile = tile_of_program(num_tiles, SHAPE)
    row, k, exists, offset = tile_voxels(tile, SHAPE, TILE_ROWS, PADDED_K)
    x = tl.load(volume + joint_start(q, SHAPE) + offset, mask=exists, other=0.0).to(tl.float32)
    if WITH_TERMS:
        x += terms_at(terms, q, row, k, exists, SHAPE)
    zero_if_finite = tl.sum(x * 0.0)
    x = tl.where(exists, x, float("-inf"))
    largest = tl.max(x)
    index = row * K + k
    place = tl.min(tl.where(x == largest, index, A * B * K))
    x = tl.where(index == place, float("-inf"), x)
    top = tl.max(x)
    e = tl.exp(x - tl.where(top == float("-inf"), 0.0, top))
    of_rows = tl.sum(e, 1)
    along_a, along_b = cell_center(tl.max(row, 1) // B, A), cell_center(tl.max(row, 1) % B, B)
    sums = tile_sums + q * (TILE_FIELDS * num_tiles) + tile
    tl.store(sums + TOP * num_tiles, top)
    tl.store(sums + LARGEST * num_tiles, largest + zero_if_finite)
    tl.store(sums + SUM * num_tiles, tl.sum(of_rows, 0))
    tl.store(sums + MOMENT * num_tiles, tl.sum(of_rows * along_a, 0))
    tl.store(sums + (MOMENT + 1) * num_tiles, tl.sum(of_rows * along_b, 0))
    tl.store(sums + (MOMENT + 2) * num_tiles, tl.sum(e * cell_center(k, K)))
    tl.store(tile_places + q * num_tiles + tile, place)
    if WITH_LOSS:
        e_2 = e * e
        tl.store(sums + SUM_2 * num_tiles, tl.sum(e_2))
        tl.store(sums + SUM_3 * num_tiles, tl.sum(e_2 * e))
        tl.store(sums + SUM_4 * num_tiles, tl.sum(e_2 * e_2))


@triton.jit
def merge_tiles(
    volume, terms, tile_sums, tile_places, cells, joint_values, peaks, num_tiles, height,
    SHAPE: tl.constexpr, TILE_ROWS: tl.constexpr, PADDED_K: tl.constexpr, WITH_LOSS: tl.constexpr,
    WITH_TERMS: tl.constexpr, RADIUS: tl.constexpr, PADDED_TILES: tl.constexpr,
):  # fmt: skip
    """One joint a program: its softmax from its tiles; for the loss, the voxels too large for the series, the cube."""
    q = tl.program_id(0)
    tile = tl.arange(0, PADDED_TILES)
    exists = tile < num_tiles
    sums = tile_sums + q * (TILE_FIELDS * num_tiles) + tile
    top = tl.load(sums + TOP * num_tiles, mask=exists, other=float("-inf"))
    largest = tl.load(sums + LARGEST * num_tiles, mask=exists, other=float("-inf"))
    place = tl.load(tile_places + q * num_tiles + tile, mask=exists, other=0)
    zero_if_finite = tl.sum(tl.where(exists, largest * 0.0, 0.0), 0)
    peak = tl.max(largest, 0)
    peak_tile = tl.min(tl.where(largest == peak, tile, PADDED_TILES), 0)
    peak_index = tl.sum(tl.where(tile == peak_tile, place, 0), 0)
    # The largest voxels of the other tiles are others too, each on its own.
    alone = tl.where((tile == peak_tile) | (exists == 0), float("-inf"), largest)
    shift = tl.maximum(tl.max(top, 0), tl.max(alone, 0))
    weight, weight_alone = tl.exp(top - shift), tl.exp(alone - shift)
    total = tl.sum(weight * _field(sums, SUM, num_tiles, exists) + weight_alone, 0)
    mean = _merged_mean(sums, place, weight, weight_alone, total, num_tiles, exists, SHAPE)
    log_sum = tl.log(total) + zero_if_finite
    gap = (shift - peak) + log_sum
    log_others, log_peak = -softplus(-gap), -softplus(gap)
    others = tl.exp(log_others)
    values = joint_values + q * JOINT_FIELDS
    tl.store(values + SHIFT, shift)
    tl.store(values + LOG_SUM, log_sum)
    tl.store(values + LOG_OTHERS, log_others)
    tl.store(values + LOG_PEAK, log_peak)
    center = voxel_center(peak_index, SHAPE)
    for axis in tl.static_range(3):
        tl.store(values + MEAN + axis, mean[axis])
        tl.store(values + POSITION + axis, center[axis] + others * (mean[axis] - center[axis]))
    tl.store(peaks + q, peak_index)
    if WITH_LOSS:
        softmax = (shift, log_sum, log_others, peak_index)
        joint = volume + joint_start(q, SHAPE), terms, q
        series = _series(sums, weight * (others / total), weight_alone * (others / total), others, num_tiles, exists)
        is_large = _log_p(tl.maximum(top, alone), softmax) > LOG_LARGEST_IN_SERIES
        series = _correct_large(
            series, joint, softmax, num_tiles, tile, is_large, SHAPE, TILE_ROWS, PADDED_K, WITH_TERMS
        )
        cell = load_3(cells + q * 3)
        cube = _cube_sums(joint, softmax, cell, height, SHAPE, RADIUS, WITH_TERMS)
        at_peak = _target(peak_index, cell, height, SHAPE, RADIUS)
        loss = series[0] + cube[0] + (1 - at_peak) * log_others + at_peak * log_peak
        tl.store(values + LOSS, -loss)
        tl.store(values + SUM_OTHERS, series[1] - cube[1])
        tl.store(values + TARGET_AT_PEAK, at_peak)


@triton.jit
def _field(sums, FIELD: tl.constexpr, num_tiles, exists):
    return tl.load(sums + FIELD * num_tiles, mask=exists, other=0.0)


@triton.jit
def _merged_mean(sums, place, weight, weight_alone, total, num_tiles, exists, SHAPE: tl.constexpr):
    """Expected position under the others alone."""
    alone = voxel_center(place, SHAPE)
    moment_a = weight * _field(sums, MOMENT, num_tiles, exists) + weight_alone * alone[0]
    moment_b = weight * _field(sums, MOMENT + 1, num_tiles, exists) + weight_alone * alone[1]
    moment_k = weight * _field(sums, MOMENT + 2, num_tiles, exists) + weight_alone * alone[2]
    return tl.sum(moment_a, 0) / total, tl.sum(moment_b, 0) / total, tl.sum(moment_k, 0) / total


@triton.jit
def _log_p(x, softmax):
    return (x - softmax[0]) - softmax[1] + softmax[2]


@triton.jit
def _series(sums, p, p_alone, others, num_tiles, exists):
    """Sums of log(1 - p) and p / (1 - p) over the others, by their series to the fourth power of p."""
    p_2, alone_2 = p * p, p_alone * p_alone
    sum_2 = tl.sum(p_2 * _field(sums, SUM_2, num_tiles, exists) + alone_2, 0)
    sum_3 = tl.sum(p_2 * p * _field(sums, SUM_3, num_tiles, exists) + alone_2 * p_alone, 0)
    sum_4 = tl.sum(p_2 * p * p * _field(sums, SUM_4, num_tiles, exists) + alone_2 * p_alone * p_alone, 0)
    return -(others + sum_2 / 2 + sum_3 / 3 + sum_4 / 4), others + sum_2 + sum_3 + sum_4


@triton.jit
def _correct_large(
    series, joint, softmax, num_tiles, tile, is_large,
    SHAPE: tl.constexpr, TILE_ROWS: tl.constexpr, PADDED_K: tl.constexpr, WITH_TERMS: tl.constexpr,
):  # fmt: skip
    """Both sums with log p > log 1/32 exact: at most 31 voxels, whose tiles `is_large` are read again."""
    voxels, terms, q = joint
    log_complement, odds = series
    for t in range(num_tiles):
        if tl.sum(tl.where((tile == t) & is_large, 1, 0), 0) > 0:
            row, k, exists, offset = tile_voxels(t, SHAPE, TILE_ROWS, PADDED_K)
            x = tl.load(voxels + offset, mask=exists, other=float("-inf")).to(tl.float32)
            if WITH_TERMS:
                x += terms_at(terms, q, row, k, exists, SHAPE)
            log_p = _log_p(x, softmax)
            counts = exists & (log_p > LOG_LARGEST_IN_SERIES) & (row * SHAPE[3] + k != softmax[3])
            p = tl.where(counts, tl.exp(log_p), 0.0)
            log_complement += tl.sum(log1p(-p) + p * (1 + p * (0.5 + p * (1 / 3 + p * 0.25))))
            odds += tl.sum(p / (1 - p) - p * (1 + p * (1 + p * (1 + p))))
    return log_complement, odds


@triton.jit
def _gaussian(distance, RADIUS: tl.constexpr):
    near = (distance <= RADIUS) & (distance >= -RADIUS)
    d = tl.where(near, distance, 0).to(tl.float32)
    return tl.where(near, tl.exp(-0.5 * d * d), 0.0)


@triton.jit
def _target(index, cell, height, SHAPE: tl.constexpr, RADIUS: tl.constexpr):
    B, K = SHAPE[1], SHAPE[3]
    row = index // K
    along_a, along_b = _gaussian(row // B - cell[0], RADIUS), _gaussian(row % B - cell[1], RADIUS)
    return height * along_a * along_b * _gaussian(index % K - cell[2], RADIUS)


@triton.jit
def _cube_sums(joint, softmax, cell, height, SHAPE: tl.constexpr, RADIUS: tl.constexpr, WITH_TERMS: tl.constexpr):
    """Sums over the cube, the peak left out: as fused.CubeSums."""
    voxels, terms, q = joint
    A, B, G, K = SHAPE
    WIDTH: tl.constexpr = 2 * RADIUS + 1
    SPAN_A: tl.constexpr = WIDTH if WIDTH < A else A
    SPAN_B: tl.constexpr = WIDTH if WIDTH < B else B
    SPAN_K: tl.constexpr = WIDTH if WIDTH < K else K
    loss, odds = tl.zeros([CUBE_BLOCK], tl.float32), tl.zeros([CUBE_BLOCK], tl.float32)
    for first in range(0, SPAN_A * SPAN_B * SPAN_K, CUBE_BLOCK):
        i = first + tl.arange(0, CUBE_BLOCK)
        a = tl.minimum(tl.maximum(cell[0] - RADIUS, 0), A - SPAN_A) + i // (SPAN_B * SPAN_K)
        b = tl.minimum(tl.maximum(cell[1] - RADIUS, 0), B - SPAN_B) + i // SPAN_K % SPAN_B
        k = tl.minimum(tl.maximum(cell[2] - RADIUS, 0), K - SPAN_K) + i % SPAN_K
        index = (a * B + b) * K + k
        counts = (i < SPAN_A * SPAN_B * SPAN_K) & (index != softmax[3])
        x = tl.load(voxels + (a * B + b) * (G * K) + k, mask=counts, other=0.0).to(tl.float32)
        if WITH_TERMS:
            x += terms_at(terms, q, a * B + b, k, counts, SHAPE)
        log_p = tl.where(counts, _log_p(x, softmax), -1.0)
        p = tl.exp(log_p)
        target = tl.where(counts, _target(index, cell, height, SHAPE, RADIUS), 0.0)
        loss += target * (log_p - log1p(-p))
        odds += target / (1 - p)
    return tl.sum(loss, 0), tl.sum(odds, 0)


@triton.jit
def write_gradient(
    volume, terms, joint_values, peaks, cells, joints_gradient, weights, result, row_sums, sums_along_k,
    num_tiles, height,
    SHAPE: tl.constexpr, TILE_ROWS: tl.constexpr, PADDED_K: tl.constexpr, WITH_LOSS: tl.constexpr,
    WITH_TERMS: tl.constexpr, RADIUS: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile; WITH_TERMS its sums along K, (Q, A * B), and over its rows, (Q, tiles, K), float32."""
    A, B, _, K = SHAPE
    q, tile = tile_of_program(num_tiles, SHAPE)
    row, k, exists, offset = tile_voxels(tile, SHAPE, TILE_ROWS, PADDED_K)
    start = joint_start(q, SHAPE)
    x = tl.load(volume + start + offset, mask=exists, other=0.0).to(tl.float32)
    if WITH_TERMS:
        x += terms_at(terms, q, row, k, exists, SHAPE)
    values = joint_values + q * JOINT_FIELDS
    others, peak = tl.exp(tl.load(values + LOG_OTHERS)), tl.exp(tl.load(values + LOG_PEAK))
    towards, position, mean = load_3(joints_gradient + q * 3), load_3(values + POSITION), load_3(values + MEAN)
    slope_row = towards[0] * (cell_center(row // B, A) - position[0])
    slope_row += towards[1] * (cell_center(row % B, B) - position[1])
    slope = slope_row + towards[2] * (cell_center(k, K) - position[2])
    peak_index = tl.load(peaks + q)
    center = voxel_center(peak_index, SHAPE)
    from_a, from_b = towards[0] * (center[0] - mean[0]), towards[1] * (center[1] - mean[1])
    at_peak = peak * others * (from_a + from_b + towards[2] * (center[2] - mean[2]))
    is_peak = row * K + k == peak_index
    among_others = tl.exp(tl.where(is_peak, 0.0, (x - tl.load(values + SHIFT)) - tl.load(values + LOG_SUM)))
    p = among_others * others
    gradient = p * slope
    if WITH_LOSS:
        weight, sum_others = tl.load(weights + q), tl.load(values + SUM_OTHERS)
        error_at_peak = 1 - tl.load(values + TARGET_AT_PEAK) - others
        cell = load_3(cells + q * 3)
        of_row = height * _gaussian(row // B - cell[0], RADIUS) * _gaussian(row % B - cell[1], RADIUS)
        target = of_row * _gaussian(k - cell[2], RADIUS)
        gradient += weight * (p - target) / (1 - p) - among_others * (weight * (error_at_peak + others * sum_others))
        at_peak += weight * (error_at_peak - peak * sum_others)
    gradient = tl.where(is_peak, at_peak, gradient)
    tl.store(result + start + offset, gradient.to(result.dtype.element_ty), mask=exists)
    if WITH_TERMS:
        gradient = tl.where(exists, gradient, 0.0)
        own_row, own_k = tile * TILE_ROWS + tl.arange(0, TILE_ROWS), tl.arange(0, PADDED_K)
        tl.store(row_sums + q * (A * B) + own_row, tl.sum(gradient, 1), mask=own_row < A * B)
        tl.store(sums_along_k + (q * num_tiles + tile) * K + own_k, tl.sum(gradient, 0), mask=own_k < K)
