import errno
import os
import stat
from pathlib import Path

import pytest

from integral_pose.io.atomic import atomic_write, make_folder, write_text_atomic


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.bin"]


def test_after_an_exception_the_old_content_stays_and_nothing_is_left(tmp_path):
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")

    def interrupted():
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt  # not an Exception, and no less likely

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.bin"]


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync

    def record(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, (tmp_path / "a").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_text_atomic(tmp_path / "a", "x")
    assert synced == [("file", False), ("folder", True)]


def test_a_power_cut_does_not_take_a_new_folder_with_all_in_it(tmp_path, monkeypatch):
    """Its name is synced in the folder above it, before anything is written into it."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    write_text_atomic(tmp_path / "runs" / "one" / "a", "x")
    assert synced[:2] == [tmp_path, tmp_path / "runs"]
    assert synced[3:] == [tmp_path / "runs/one"]
    del synced[:]
    make_folder(tmp_path / "runs" / "one")
    assert synced == []


def test_text_is_utf8_with_the_line_ends_it_came_with_and_missing_folders_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "text"
    write_text_atomic(path, "a\r\nµ\n")
    assert path.read_bytes() == b"a\r\n\xc2\xb5\n"


def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_text("")
    write_text_atomic(atomic, "")
    assert atomic.stat().st_mode == plain.stat().st_mode


def test_a_link_is_replaced_and_what_it_pointed_at_stays(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept")
    link.symlink_to(target)
    write_text_atomic(link, "new")
    assert (target.read_text(), link.read_text(), link.is_symlink()) == ("kept", "new", False)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_does_not_sync_folders(number, tmp_path, monkeypatch):
    """FUSE and SMB mounts: the file is written and in its place, so that is no failure. A disk's fault stays one."""
    fsync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    write_text_atomic(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        write_text_atomic(tmp_path / "a", "y")


def test_a_folder_that_may_be_written_and_not_read(tmp_path, monkeypatch):
    """Permissions say nothing to root, so the system's word is put in."""
    real = os.open

    def refuse(path, flags, *more, **named):
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    write_text_atomic(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"
