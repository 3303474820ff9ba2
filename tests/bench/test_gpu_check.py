"""`scripts/gpu_check.sh`: the parts that need no GPU, and what it says of parts that fail, hang or cannot run."""

from __future__ import annotations

import json

import pytest
import torch

from integral_pose.bench import gpu_check, kernel_check
from integral_pose.bench.gpu_check import Part
from integral_pose.heatmaps import reference

WHERE = {"device": "a device", "torch": "2.11", "python": "3.12"}
WRITE = "import sys, json, pathlib; pathlib.Path(sys.argv[2]).write_text(json.dumps({'value': 3}))"


def part(code: str, limit_s: int = 60, read=lambda found: (found["value"] == 3, f"value {found['value']}")) -> Part:
    return Part("a part", ("-c", code), limit_s, read)


def test_kernels_equal_the_reference():
    rows = kernel_check.check_kernels(torch.device("cpu"))
    assert len(rows) == 144
    assert gpu_check._read_kernels({"rows": rows}) == (True, "144 of 144 cases equal the float64 reference")


def test_a_wrong_kernel_is_seen(monkeypatch):
    def wrong(logits, joints_norm, target):
        position, loss = reference.soft_argmax_and_heatmap_loss(logits.float(), joints_norm, target)
        return position * 1.001, loss

    monkeypatch.setattr(kernel_check, "soft_argmax_and_heatmap_loss", wrong)
    passed, line = gpu_check._read_kernels({"rows": kernel_check.check_kernels(torch.device("cpu"))})
    assert not passed
    assert "; first wrong: {'logits': 'random'" in line


def test_a_non_finite_error_is_wrong(monkeypatch):
    def broken(logits, joints_norm, target):
        position, loss = reference.soft_argmax_and_heatmap_loss(logits.float(), joints_norm, target)
        return position * float("nan"), loss

    monkeypatch.setattr(kernel_check, "soft_argmax_and_heatmap_loss", broken)
    assert not any(row["passed"] for row in kernel_check.check_kernels(torch.device("cpu")))


@pytest.mark.parametrize(
    ("code", "ran", "passed", "line"),
    [
        (WRITE, True, True, "value 3"),
        (WRITE.replace("3", "4"), True, False, "value 4"),
        ("raise ValueError('no such thing')", True, False, "ValueError: no such thing"),
        ("import surely_not_installed", False, False, "No module named 'surely_not_installed'"),
        ("pass", True, False, "no message"),
    ],
)
def test_a_part(code, ran, passed, line):
    result = gpu_check.run_parts([part(code)], WHERE)
    row = result["parts"][0]
    assert (row["ran"], row["passed"]) == (ran, passed)
    assert line in row["line"]
    assert ("not run" in gpu_check.parts_table(result)) == (not ran)


def test_a_part_that_hangs_leaves_the_next_its_turn():
    rows = gpu_check.run_parts([part("import time; time.sleep(60)", limit_s=1), part(WRITE)], WHERE)["parts"]
    assert [row["passed"] for row in rows] == [False, True]
    assert rows[0]["line"] == "did not end within 1 s"


def test_a_part_for_which_no_time_is_left(monkeypatch):
    monkeypatch.setattr(gpu_check, "TOTAL_S", 5)
    assert gpu_check.run_parts([part(WRITE)], WHERE)["parts"][0]["line"] == "no time was left"


def test_all_parts_fit_the_time_and_end_in_json():
    todo = gpu_check.list_parts("cuda", quick=False)
    assert [item.name for item in todo[:3]] == ["kernels", "training", "bench loss"]
    assert sum(item.name.startswith("bench step") for item in todo) == 3


def test_a_loss_that_does_not_fall_is_wrong():
    assert gpu_check._read_training({"losses": [1.0] * 200})[0] is False
    assert gpu_check._read_training({"losses": [1.0] * 100 + [0.5] * 100})[0] is True


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA GPU"):
        gpu_check.require_device("cuda")
    assert json.loads(json.dumps(gpu_check.require_device("cpu"))).keys() == {*WHERE, "threads"}
