"""What kills, full disks and flipped bits leave behind: at every moment a whole checkpoint, and no doubt about it."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from integral_pose.errors import CheckpointError
from integral_pose.io import atomic
from integral_pose.io.atomic import remove_leftovers
from integral_pose.io.checkpoint_file import (
    FORMAT,
    FORMAT_WITHOUT_CHECKSUM,
    load_checkpoint,
    save_checkpoint,
    size_bytes,
    to_plain,
)
from integral_pose.runs.checkpoint import load_newest, previous_checkpoints, save_with_predecessors


def content(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    return {"step": step, "model": {"w": torch.randn(500, generator=generator), "n": torch.tensor(step)}, "best": 0.5}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def loads(path: Path, load: Callable[[Path], Any]) -> bool:
    try:
        load(path)
    except Exception:
        return False
    return True


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path, damaged = tmp_path / "last.pt", tmp_path / "damaged.pt"
    save_checkpoint(path, content(1))
    whole = path.read_bytes()
    bits = random.Random(0).sample(range(8 * len(whole)), 300)
    passed_by_torch = 0
    for bit in bits:
        damaged.write_bytes(whole)
        flip(damaged, bit)
        passed_by_torch += loads(damaged, lambda file: torch.load(file, weights_only=True))
        with pytest.raises(CheckpointError, match=r"damaged\.pt"):
            load_checkpoint(damaged)
    assert passed_by_torch > 200  # so it is our checksum that finds them


def test_a_flipped_bit_in_each_byte_of_the_end_is_found(tmp_path: Path) -> None:
    """Where the archive's directory and the checksum itself lie."""
    path, damaged = tmp_path / "last.pt", tmp_path / "damaged.pt"
    save_checkpoint(path, content(1))
    whole = path.read_bytes()
    for byte in range(len(whole) - 130, len(whole)):
        damaged.write_bytes(whole)
        flip(damaged, 8 * byte + byte % 8)
        with pytest.raises(CheckpointError, match=r"damaged\.pt"):
            load_checkpoint(damaged)


def test_plain_torch_and_other_tools_open_the_file(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, content(3))
    for options in ({}, {"mmap": True}):
        assert torch.equal(torch.load(path, weights_only=True, **options)["model"]["w"], content(3)["model"]["w"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"integral-pose sha256 ")


def test_a_checksum_that_was_cut_off_or_replaced_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save({"format": FORMAT, **content(1)}, path)
    with pytest.raises(CheckpointError, match=r"last\.pt: is damaged: the checksum at its end has changed"):
        load_checkpoint(path)


def test_files_from_before_the_checksum_are_read_and_their_parts_verified(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save({"format": FORMAT_WITHOUT_CHECKSUM, **content(4)}, path)
    assert load_checkpoint(path)["step"] == 4
    at = path.read_bytes().index(content(4)["model"]["w"].numpy().tobytes())
    flip(path, 8 * (at + 1001))
    with pytest.raises(CheckpointError, match=r"is damaged: its part \S+ has changed since it was written"):
        load_checkpoint(path)


def test_only_plain_types_get_in(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, {"mm": np.float64(1.5), "n": np.int32(2), "model": {"w": torch.nn.Parameter(torch.ones(2))}})
    found = torch.load(path, weights_only=True)
    assert (type(found["mm"]), found["mm"], type(found["n"]), found["n"]) == (float, 1.5, int, 2)
    assert type(found["model"]["w"]) is torch.Tensor
    for bad in (np.ones(2), Path("x"), {1.5: 1}, {0}, torch.__version__):
        with pytest.raises(TypeError, match=r"content\['bad'\]"):
            save_checkpoint(path, {"bad": bad})


def test_a_copy_does_not_change_with_its_source_and_keeps_the_layout() -> None:
    weight = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    copied = to_plain({"model": [weight]}, copy=True)["model"][0]
    expected = weight.clone()
    weight.zero_()
    assert torch.equal(copied, expected)
    assert copied.stride() == expected.stride()


def test_the_size_of_the_file_is_known_before(tmp_path: Path) -> None:
    for number, length in ((1, 1), (300, 3), (2, 100_000)):
        one = {"model": {f"layer{i}.weight": torch.zeros(length) for i in range(number)}, "config": "x" * 5000}
        save_checkpoint(tmp_path / "a.pt", one)
        written = (tmp_path / "a.pt").stat().st_size
        assert written <= size_bytes(one) + 65536 <= written + 1024 * number + 90_000


def test_predecessors_age_and_surplus_goes(tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    for step in range(1, 6):
        save_with_predecessors(last, content(step), 2)
    three = ["last.pt", "previous.pt", "previous2.pt"]
    assert names(tmp_path) == three
    assert [load_checkpoint(tmp_path / name)["step"] for name in three] == [5, 4, 3]
    save_with_predecessors(last, content(6), 1)
    assert names(tmp_path) == three[:2]
    save_checkpoint(last, content(7))
    assert [load_checkpoint(path)["step"] for path in (last, *previous_checkpoints(last))] == [7, 5]


def test_without_hard_links_predecessors_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    for step in (1, 2, 3):
        save_with_predecessors(tmp_path / "last.pt", content(step), 1)
    assert [load_checkpoint(tmp_path / name)["step"] for name in ("last.pt", "previous.pt")] == [3, 2]


def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    assert load_newest(last) is None
    for step in (1, 2, 3):
        save_with_predecessors(last, content(step), 2)
    flip(last, 4000)
    found = load_newest(last)
    assert found is not None
    assert (found.path.name, found.content["step"]) == ("previous.pt", 2)
    assert list(found.damaged) == [last]
    assert "is damaged" in found.damaged[last]
    for path in previous_checkpoints(last):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"(?s)last\.pt.*previous\.pt.*previous2\.pt.*No checkpoint in .* can be"):
        load_newest(last)


def in_child(work: Callable[[], None]) -> int:
    """Exit status of a fork that does `work`: a whole process to kill, without the wait for its imports."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


OPERATIONS = ("fsync", "replace", "rename", "link", "unlink", "remove", "posix_fallocate")


def test_killed_before_and_after_every_operation_of_a_save(tmp_path: Path) -> None:
    """In place of 60 kills at random moments: one at each that matters, and what is left holds a whole checkpoint."""
    survived, kills = [], 0
    for at in range(60):
        folder = tmp_path / str(at)
        for step in (1, 2):
            save_with_predecessors(folder / "last.pt", content(step), 1)
        if in_child(lambda at=at, folder=folder: save_and_be_killed(folder / "last.pt", at)) == 0:
            break  # it had fewer operations than that
        kills += 1
        found = load_newest(folder / "last.pt")
        assert found is not None
        assert found.damaged == {}
        assert found.path.name == "last.pt"
        survived.append(found.content["step"])
        leftovers = {name for name in names(folder) if name.endswith(".tmp")}
        assert set(remove_leftovers(folder, {"last.pt", "previous.pt"})) == leftovers
        for path in (folder / "last.pt", *previous_checkpoints(folder / "last.pt")):
            assert loads(path, load_checkpoint)
        save_with_predecessors(folder / "last.pt", content(4), 1)
        assert names(folder) == ["last.pt", "previous.pt"]
    assert kills >= 10
    assert survived == sorted(survived)
    assert set(survived) == {2, 3}


def save_and_be_killed(path: Path, at: int) -> None:
    count = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            for half in range(2):
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                if half == 0:
                    found = operation(*arguments, **options)
            return found

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    save_with_predecessors(path, content(3), 1)


def test_order_of_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What power loss asks for: the content is on disk before its name, and the name before the next save begins."""
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def kind(path: str | os.PathLike[str]) -> str:
        return "temporary" if str(path).endswith(".tmp") else Path(path).name

    def record_sync(descriptor: int) -> None:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        events.append("sync folder" if target == str(tmp_path) else f"sync {kind(target)}")
        sync(descriptor)

    def record_replace(old: Any, new: Any) -> None:
        events.append(f"{kind(old)} becomes {kind(new)}")
        replace(old, new)

    save_with_predecessors(tmp_path / "last.pt", content(1), 1)
    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    save_with_predecessors(tmp_path / "last.pt", content(2), 1)
    assert events == [
        "sync temporary", "temporary becomes previous.pt", "temporary becomes last.pt", "sync folder",
    ]  # fmt: skip


def save_under_a_limit(folder: Path, *, reserves: bool) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    if not reserves:
        atomic._take_room = lambda *_: None
    big = {"model": {f"w{i}": torch.randn(5000) for i in range(20)}}
    try:
        save_checkpoint(folder / "last.pt", big)
    except Exception as error:
        chain = [error, error.__context__, error.__cause__]
        (folder / "said").write_text("\n".join(f"{type(e).__name__}: {e}" for e in chain))


@pytest.mark.parametrize("reserves", [True, False])
def test_a_file_that_may_not_grow_so_large_leaves_the_old_one(reserves: bool, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", content(1))
    assert in_child(lambda: save_under_a_limit(tmp_path, reserves=reserves)) == 0
    said = (tmp_path / "said").read_text()
    assert "File too large" in said
    if reserves:
        assert said.startswith("OSError: [Errno 27] File too large: ")
        assert "bytes are needed and" in said
        assert "a quota or limit stands in the way" in said
    assert names(tmp_path) == ["last.pt", "said"]
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_says_how_much_is_missing(small_disk: Path) -> None:
    last = small_disk / "last.pt"
    save_checkpoint(last, content(1))
    (small_disk / "other").write_bytes(bytes(700_000))
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    with pytest.raises(
        OSError, match=f"No space left on device: [0-9,]+ bytes are needed and {free:,} free; "
    ) as error:
        save_checkpoint(last, {"model": {"w": torch.zeros(200_000)}})
    found = re.search("([0-9,]+) bytes are needed.* ([0-9,]+) bytes are missing", str(error.value))
    assert found is not None
    needed, missing = (int(number.replace(",", "")) for number in found.groups())
    assert needed - free == missing > 0
    assert 800_000 < needed < 900_000
    assert names(small_disk) == ["last.pt", "other"]
    assert load_checkpoint(last)["step"] == 1
    (small_disk / "other").unlink()
    save_checkpoint(last, content(2))
    assert load_checkpoint(last)["step"] == 2


def test_leftovers_are_ours_alone(tmp_path: Path) -> None:
    stays = [
        "last.pt",
        ".last.pt.tmp",
        ".notes.0123456789ab.tmp",
        ".last.pt.0123456789AB.tmp",
        "last.pt.0123456789ab.tmp",
    ]
    for name in [*stays, ".last.pt.0123456789ab.tmp"]:
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".last.pt.0123456789ab.tmp").touch()
    (tmp_path / ".last.pt.ffffffffffff.tmp").mkdir()
    assert remove_leftovers(tmp_path, {"last.pt"}) == [".last.pt.0123456789ab.tmp"]
    assert names(tmp_path) == sorted([*stays, "below", ".last.pt.ffffffffffff.tmp"])
    assert names(tmp_path / "below") == [".last.pt.0123456789ab.tmp"]
