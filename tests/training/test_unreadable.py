"""Of a checkpoint that cannot be read just now nothing is known: nothing is renamed, replaced or gone back to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integral_pose.config.loading import load_config
from integral_pose.errors import CheckpointError, UnreadableCheckpointError
from integral_pose.experiment import train
from integral_pose.io import checkpoint_file
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.runs.status import RunStatus, read_status

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
@pytest.mark.parametrize("fault", [PermissionError(13, "Permission denied"), OSError(5, "EIO"), MemoryError()])
def test_nothing_is_done_with_it(name: str, fault: Exception, tiny_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["data.val_subjects=[S8]", "evaluation.every=1", "stages.0.epochs=3"]
    run = train(load_config(str(tiny_yaml), [*overrides, "trainer.max_steps=2"]).config)
    before = {path.name: path.read_bytes() for path in run.glob("*.pt*")}
    check = checkpoint_file._has_right_checksum

    def fails(path: Path) -> bool:
        if path.name == name:
            raise fault
        return check(path)

    monkeypatch.setattr(checkpoint_file, "_has_right_checksum", fails)
    with pytest.raises(UnreadableCheckpointError, match=f"{name}: cannot be read: ") as caught:
        train(load_config(str(tiny_yaml), overrides).config)
    assert caught.value.exit_code == 5
    assert {path.name: path.read_bytes() for path in run.glob("*.pt*")} == before


def test_content_that_is_wrong_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"PK" + bytes(100))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "last.pt")
    assert not isinstance(caught.value, UnreadableCheckpointError)


def test_a_full_disk_does_not_leave_a_status_of_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from integral_pose.runs import status as module

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    status = RunStatus(tmp_path, 0)
    status.is_ours = True
    status.running(3, 10)
    monkeypatch.setattr(module, "write_text_atomic", full)
    status.ended(RuntimeError("out of everything"))
    assert (read_status(tmp_path)["state"], read_status(tmp_path)["exit_code"]) == ("failed", 1)
    status.ended(None)  # shorter
    assert read_status(tmp_path)["state"] == "done"
