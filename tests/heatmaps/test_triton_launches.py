"""Every launch of the volume operator compiles for several GPUs, none of which is here, and spills nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from volume_cases import GAUSSIAN, channels_last

from tests.ahead_of_time import compiled_launches, resources

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter replaces the compiler"
)
SHAPE = (2, 17, 64, 64, 64)  # of the experiments; the batch is no constant of the kernels
MOST_REGISTERS = {"sum_tiles": 96, "merge_tiles": 112, "write_gradient": 120}
CASES = [  # each architecture in both precisions and both memory orders
    (80, torch.bfloat16, True), (80, torch.float32, False), (90, torch.bfloat16, False), (90, torch.float32, True),
    (100, torch.bfloat16, True), (100, torch.float32, False),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "dtype", "is_channels_last"), CASES)
def test_launches_compile(architecture: int, dtype: torch.dtype, is_channels_last: bool, tmp_path: Path) -> None:
    from integral_pose.heatmaps.backends.triton_volume import read_volume_with_triton

    with compiled_launches(architecture, tmp_path) as kernels, torch.device("meta"):
        logits = torch.empty(SHAPE, dtype=dtype)
        logits = (channels_last(logits) if is_channels_last else logits).requires_grad_()
        joints, loss = read_volume_with_triton(logits, torch.empty(*SHAPE[:2], 3), GAUSSIAN, None)
        (joints.sum() + loss).backward()
    assert logits.grad is not None
    assert logits.grad.stride() == logits.stride()
    assert kernels.keys() == MOST_REGISTERS.keys()
    for name, kernel in kernels.items():
        use = resources(kernel, tmp_path)
        assert use["LOCAL"] == use["STACK"] == 0, (name, use)  # nothing is spilled
        assert use["REG"] <= MOST_REGISTERS[name], (name, use)
        if name != "merge_tiles":  # 16 bytes at once
            assert re.search(r"ld\.global\S*\.v4\.b32", kernel.asm["ptx"]), name
    assert re.search(r"st\.global\S*\.v4\.b32", kernels["write_gradient"].asm["ptx"])
