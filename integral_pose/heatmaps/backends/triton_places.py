"""What the Triton kernels of the volume operator have in common: where voxels lie, and logarithms.

The layout and the letters are those of triton_kernels.py.
"""

# Triton gives the arguments of these functions their types.
# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def log1p(y):
    """log(1 + y) for y > -1, to float32's rounding also near 0."""
    series = y * (1 - y * (0.5 - y * (1 / 3 - y * (0.25 - y * 0.2))))
    is_small = tl.abs(y) < 0.03125
    return tl.where(is_small, series, tl.log(tl.where(is_small, 1.0, 1 + y)))


@triton.jit
def softplus(x):
    """log(1 + exp(x))."""
    return tl.maximum(x, 0.0) + log1p(tl.exp(-tl.abs(x)))


@triton.jit
def load_3(pointer):
    """Three values that follow each other."""
    return tl.load(pointer), tl.load(pointer + 1), tl.load(pointer + 2)


@triton.jit
def cell_center(cell, num_cells):
    """norm."""
    return (cell.to(tl.float32) + 0.5) / num_cells - 0.5


@triton.jit
def voxel_center(index, SHAPE: tl.constexpr):
    """norm, along A, B and K."""
    A, B, _, K = SHAPE
    return cell_center(index // K // B, A), cell_center(index // K % B, B), cell_center(index % K, K)


@triton.jit
def joint_start(q, SHAPE: tl.constexpr):
    """Offset of a joint's first voxel."""
    A, B, G, K = SHAPE
    return (q // G).to(tl.int64) * (A * B * G * K) + (q % G) * K


@triton.jit
def tile_of_program(num_tiles, SHAPE: tl.constexpr):
    """The joint and which of its tiles."""
    G = SHAPE[2]
    program = tl.program_id(0)
    return (program // G) // num_tiles * G + program % G, (program // G) % num_tiles


@triton.jit
def tile_voxels(tile, SHAPE: tl.constexpr, TILE_ROWS: tl.constexpr, PADDED_K: tl.constexpr):
    """Rows (TILE_ROWS, 1), places along K (1, PADDED_K), which of them exist, and their offsets from the joint."""
    A, B, G, K = SHAPE
    row = tile * TILE_ROWS + tl.arange(0, TILE_ROWS)[:, None]
    k = tl.arange(0, PADDED_K)[None, :]
    return row, k, (row < A * B) & (k < K), row * (G * K) + k


@triton.jit
def terms_at(terms, q, row, k, exists, SHAPE: tl.constexpr):
    """What the terms add at places on A and B, `row`, and places along K."""
    A, B, _, K = SHAPE
    own = terms + q * (A + B + K)
    along_a = tl.load(own + row // B, mask=exists, other=0.0)
    along_b = tl.load(own + A + row % B, mask=exists, other=0.0)
    return along_a + along_b + tl.load(own + A + B + k, mask=exists, other=0.0)
