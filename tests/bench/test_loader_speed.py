"""`bench data` on a small set: every part is measured, and the goals are met with room to spare."""

from __future__ import annotations

import json

from integral_pose.cli.main import main


def test_bench_data(make_course, tmp_path, capsys):
    root, path = make_course(num_train=32, side=128), tmp_path / "found.json"
    assert main(["bench", "data", "--root", str(root), "--rounds", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["images"] == 32
    assert found["side_px"] == 128
    assert len(found["images_per_s_per_core_by_part"]) == 8
    assert all(value > 0 for value in found["images_per_s_per_core_by_part"].values())
    assert found["images_per_s_per_core"] == found["images_per_s_per_core_by_part"]["packed: read + decode + collate"]
    assert found["vs_baseline"] > 4
    assert "times the images/s of files + Pillow + imgaug + float" in capsys.readouterr().out
