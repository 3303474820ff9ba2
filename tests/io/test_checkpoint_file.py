"""Checkpoints: whole or not there, never run, and clear about what is wrong with them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from integral_pose.errors import CheckpointError
from integral_pose.io import checkpoint_file
from integral_pose.io.checkpoint_file import FORMAT, load_checkpoint, load_weights, save_checkpoint


def test_round_trip(tmp_path: Path) -> None:
    content = {"model": {"w": torch.arange(3.0)}, "progress": {"step": 3, "best_mm": float("inf")}, "average": None}
    save_checkpoint(tmp_path / "new" / "last.pt", content)
    loaded = load_checkpoint(tmp_path / "new" / "last.pt")
    assert loaded.pop("format") == FORMAT
    assert torch.equal(loaded["model"].pop("w"), torch.arange(3.0))
    assert loaded == {"model": {}, "progress": {"step": 3, "best_mm": float("inf")}, "average": None}


def test_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(TypeError, match=r"content\['bad'\]\[1\] is a function, which no checkpoint may hold"):
        save_checkpoint(path, {"step": 2, "bad": [0, lambda: None]})
    assert load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


class Payload:
    """Runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.mark)!r}, 'w')",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_payload_is_refused_and_not_run(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # makes torch's own default unsafe
    path, mark = tmp_path / "evil.pt", tmp_path / "executed"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Payload(mark)))
    else:
        torch.save({"format": FORMAT, "x": Payload(mark)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match="is damaged, cut short or no zip archive|holds .*which is no plain data"):
        load_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_cut_file_is_named(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"w": torch.zeros(1000)}})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"last\.pt: is damaged"):
        load_checkpoint(path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt: is not a checkpoint of this program"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"none\.pt: there is no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_weights_of_another_model_are_listed() -> None:
    model = nn.Linear(2, 3)
    weights = {"weight": torch.zeros(3, 5), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, weights, Path("x.pt"))
    assert str(error.value).splitlines()[:-1] == [
        "x.pt: is of another model: 0 of the 2 tensors of this one fit",
        "  missing (1):",
        "    bias",
        "  unknown (1):",
        "    extra",
        "  of another shape (1):",
        "    weight is (3, 5), the model has (3, 2)",
    ]


def test_long_lists_of_names_are_cut_at_ten_and_say_what_to_do() -> None:
    model = nn.Linear(2, 3)
    foreign = {f"backbone.{i}": torch.zeros(1) for i in range(300)}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, {**model.state_dict(), **foreign}, Path("x.pt"))
    lines = str(error.value).splitlines()
    assert lines[0] == "x.pt: is of another model: 2 of the 2 tensors of this one fit"
    assert lines[1:4] == ["  unknown (300):", "    backbone.0", "    backbone.1"]
    assert lines[-2] == "    and 290 more"
    assert "goes into model.pretrained=PATH" in lines[-1]
    assert len(lines) == 14


def test_what_is_not_on_the_disk_as_it_was_written_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gives back another byte than it was given."""
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"step": 1})

    def exchange_first(self: checkpoint_file._Summed, data: bytes) -> int:
        self.sum.update(data)
        changed = bytearray(data)
        changed[0] ^= 1
        return self.file.write(changed)

    monkeypatch.setattr(checkpoint_file._Summed, "write", exchange_first)
    with pytest.raises(CheckpointError, match="bytes have changed since it was written"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pt"]
