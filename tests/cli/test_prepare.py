"""The converters from the command line: text, status, faults."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from PIL import Image

from integral_pose.cli.main import main
from integral_pose.geometry.camera import human36m_camera
from tests.geometry.test_sides import standing


def test_plan_needs_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "h36m", "--plan", "--subjects", "S1,S11", "--drifted", "exclude"]) == 0
    printed = capsys.readouterr().out
    assert "49,732 training images" in printed
    assert "S5" not in printed


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["h36m"], 2, "--source is missing"),
        (["h36m", "--source", "."], 2, "--out is missing"),
        (["h36m", "--plan", "--subjects", "S2"], 2, "--subjects: S2; subjects with public poses are S1"),
        (["h36m", "--plan", "--every", "0"], 2, "--every is 0; it has to be 1 or more"),
        (["c2f", "--source", "nowhere", "--out", "x"], 3, "nowhere: there is no such file or folder"),
        (["mmpose", "--source", ".", "--out", "x", "--workers", "0"], 2, "--workers is 0"),
    ],
)
def test_faults(
    arguments: list[str], status: int, text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == status
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_convert_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, names = tmp_path / "c2f", [f"S9_Posing_1.55011271_{i + 1:06d}.jpg" for i in range(12)]
    (source / "annot").mkdir(parents=True)
    (source / "images").mkdir()
    for name in names:
        Image.new("RGB", (1000, 1000)).save(source / "images" / name)
    joints_mm = standing(12)[:, [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]] * 0.9 + [0, 0, 5000]
    with h5py.File(source / "annot/valid.h5", "w") as file:
        file["S"], file["part"] = joints_mm, human36m_camera("S9", "55011271").camera_to_image_px(joints_mm)
    (source / "annot/valid_images.txt").write_text("\n".join(names))
    command = ["prepare", "c2f", "--source", str(source), "--out", str(tmp_path / "out"), "--crop", "metric"]
    assert main([*command, "--layout", "packed", "--workers", "1"]) == 3
    printed, said = capsys.readouterr()
    assert f"out: holds no training images, since {source} has none; it serves test alone" in said
    assert "joint order c2f, turned to official" in printed
    assert "0 training and 12 test images, written" in printed
    assert main([*command, "--layout", "packed", "--workers", "1"]) == 3
    assert "was complete already" in capsys.readouterr().out
    assert main([*command, "--layout", "files"]) == 3
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert main(["check-data", str(tmp_path / "out"), "--sheet", str(tmp_path / "sheet.png"), "--workers", "1"]) == 0
    assert (tmp_path / "sheet.png").exists()
    capsys.readouterr()
    for said in ("", f"{tmp_path / 'contact_sheet.png'}: is replaced\n"):
        assert main(["check-data", str(tmp_path / "out"), "--out", str(tmp_path), "--workers", "1"]) == 0
        found = capsys.readouterr()
        assert "".join(line + "\n" for line in found.err.splitlines() if "replaced" in line) == said
        assert f"contact sheet: {tmp_path / 'contact_sheet.png'}" in found.out
