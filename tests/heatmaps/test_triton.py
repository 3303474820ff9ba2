"""The CUDA kernels, without a GPU: run by Triton's interpreter in a process of its own, and compiled for one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from volume_cases import GAUSSIAN, ONE_HOT, assert_close, channels_last, evaluate, random_axis_logits, random_joints

from integral_pose.heatmaps.reference import HeatmapTarget
from tests.triton_interpreter import INTERPRETED, interpreted, run_interpreted_tests

pytest.importorskip("triton")
TILES = [(2, 2, 3, 5, 6), (1, 2, 20, 18, 14)]  # one tile a joint, and several, the last not full


@pytest.mark.skipif(INTERPRETED, reason="the inner run")
def test_in_the_interpreter() -> None:
    run_interpreted_tests(__file__)


@interpreted
@pytest.mark.parametrize("target", [None, GAUSSIAN, ONE_HOT, HeatmapTarget(1.0, 3, "mean")])
@pytest.mark.parametrize("spread", [1.0, 30.0])
@pytest.mark.parametrize(("shape", "is_channels_last"), [(TILES[0], True), (TILES[1], False), (TILES[1], True)])
def test_interpreted_agrees_with_the_plain_operator(
    target: HeatmapTarget | None, spread: float, shape: tuple[int, ...], is_channels_last: bool
) -> None:
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * spread
    logits.flatten(2)[:, 0, :3] += 8 * spread  # voxels too large for the series, in the first joint
    logits = channels_last(logits) if is_channels_last else logits
    joints = random_joints(shape)
    result = evaluate(logits, joints, target, "triton")
    assert result.gradient.stride() == logits.stride()
    assert_close(result, logits, joints, target, 1e-5)


@interpreted
@pytest.mark.parametrize("target", [None, GAUSSIAN])
@pytest.mark.parametrize(("shape", "is_channels_last"), [(TILES[0], True), (TILES[1], False), (TILES[1], True)])
def test_interpreted_axis_logits(target: HeatmapTarget | None, shape: tuple[int, ...], is_channels_last: bool) -> None:
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits.flatten(2)[:, 0, :3] += 8  # voxels too large for the series, in the first joint
    logits = channels_last(logits) if is_channels_last else logits
    joints, axis_logits = random_joints(shape), random_axis_logits(shape, 2.0)
    result = evaluate(logits, joints, target, "triton", axis_logits)
    assert len(result.axis_gradients) == 3
    assert_close(result, logits, joints, target, 1e-5, axis_logits)


@interpreted
@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_interpreted_large_and_equal_logits(offset: float) -> None:
    logits = torch.full((1, 2, 5, 4, 6), offset)
    logits[0, 1, 2, 3, 4] += 200
    assert_close(
        evaluate(logits, random_joints((1, 2)), GAUSSIAN, "triton"), logits, random_joints((1, 2)), GAUSSIAN, 1e-5
    )


@interpreted
def test_interpreted_bfloat16() -> None:
    logits = torch.randn(1, 2, 5, 4, 6).bfloat16()
    result = evaluate(logits, random_joints((1, 2)), GAUSSIAN, "triton")
    truth = evaluate(logits.double(), random_joints((1, 2)), GAUSSIAN, "reference")
    assert result.gradient.dtype == torch.bfloat16
    torch.testing.assert_close(result.loss.double(), truth.loss, rtol=1e-5, atol=0)
    # The interpreter cuts a bfloat16 off where a GPU rounds it: a whole step, not half of one.
    torch.testing.assert_close(result.gradient.double(), truth.gradient, rtol=2**-7, atol=1e-6)


@interpreted
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["peak", "first"])
def test_interpreted_non_finite_logits_show(bad: float, place: str) -> None:
    logits = torch.randn(1, 2, 20, 18, 14)
    joint = logits[0, 1].view(-1)
    joint[joint.argmax() if place == "peak" else 0] = bad
    joints = random_joints((1, 2))
    joints[0, 1] = 7.0  # also where the joint has no heat map loss
    result = evaluate(logits, joints, GAUSSIAN, "triton")
    assert not result.loss.isfinite()
    assert not result.joints[0, 1].isfinite().any()
    assert not result.gradient[0, 1].isfinite().any()
    assert result.joints[0, 0].isfinite().all()


@pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler")
@pytest.mark.parametrize("name", ["sum_tiles", "merge_tiles", "write_gradient"])
def test_compiles_for_a_gpu(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from integral_pose.heatmaps.backends import triton_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(triton_kernels, name)
    constants = {
        "SHAPE": (8, 8, 3, 8),
        "TILE_ROWS": 8,
        "PADDED_K": 8,
        "WITH_LOSS": True,
        "WITH_TERMS": True,
        "RADIUS": 2,
        "PADDED_TILES": 8,
    }
    float_tables = ("terms", "tile_sums", "joint_values", "joints_gradient", "weights", "row_sums", "sums_along_k")
    types = {"num_tiles": "i32", "height": "fp32", "volume": "*bf16", "result": "*bf16"}
    types |= dict.fromkeys(("tile_places", "peaks", "cells"), "*i32")
    types |= dict.fromkeys(float_tables, "*fp32")
    signature = {argument: types.get(argument, "constexpr") for argument in kernel.arg_names}
    own = {argument: value for argument, value in constants.items() if argument in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=own)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
