"""Files that were made to harm: each is refused with one clear message, quickly and in little memory."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import resource
import struct
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from integral_pose.config.loading import load_config
from integral_pose.data.course import read_train
from integral_pose.data.image_source import read_image_list
from integral_pose.data.pose_statistics import read_statistics
from integral_pose.datasets.human36m_files import unpack
from integral_pose.datasets.stored import read_split
from integral_pose.errors import CheckpointError, ConfigError, DataError, IntegralPoseError
from integral_pose.evaluation.csv_scores import score_csv
from integral_pose.evaluation.predictions_csv import read_predictions_csv, write_predictions_csv
from integral_pose.io.checkpoint_file import load_checkpoint, load_tensors
from integral_pose.io.images import read_picture
from integral_pose.io.readers import optional, read_hdf5, read_json, read_mat, read_npz, read_pickle
from integral_pose.models.backbones.resnet import RESNETS, ResNetFeatures
from integral_pose.predict.detector import WEIGHTS, PersonDetector
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights.model_file import ModelDescription, save_model_file
from integral_pose.weights.stored_network import load_network

read_poses = partial(read_predictions_csv, skeleton=HUMAN36M)

LONGEST_S = 0.1
LARGEST_BYTES = 50e6
ZEROS = b"\0" * (1 << 20)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def little_work() -> Iterator[None]:
    """Processor time of the block and the growth of the process's memory, looked at every ms, stay small."""
    before, ended = resident_bytes(), threading.Event()
    most = before

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.001):
            most = max(most, resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    try:
        yield
    finally:
        spent = time.process_time() - start
        ended.set()
        watcher.join()
    assert spent < LONGEST_S
    assert most - before < LARGEST_BYTES


class Payload:
    """Unpickled carelessly it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def zip_bomb(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(member, "w") as file:
        for _ in range(64):
            file.write(ZEROS)


def checkpoint_payload(path: Path) -> None:
    torch.save({"format": Payload(path.with_name("ran"))}, path)


def checkpoint_legacy(path: Path) -> None:
    torch.save({"format": Payload(path.with_name("ran"))}, path, _use_new_zipfile_serialization=False)


def checkpoint_bomb(path: Path) -> None:
    zip_bomb(path, "archive/data/0")


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(path.with_name("ran"))))


def text(content: str | bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode()) and None


def npz_bomb(path: Path) -> None:
    zip_bomb(path, "S.npy")


def memo_bomb(path: Path) -> None:
    """A place in the memo that makes the unpickler of C set aside 34 GB."""
    path.write_bytes(b"\x80\x02N" + b"r" + struct.pack("<I", 2**31 - 1) + b".")


def bytearray_bomb(path: Path) -> None:
    path.write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 10**11) + b".")


def mat_bomb(path: Path) -> None:
    packed = zlib.compress(struct.pack("<2I", 14, 2 * 10**9) + ZEROS)
    header = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    path.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)


def unwritten_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("pose3d", (10_000_000, 17, 3), "f4")  # claimed, never written


def packed_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        chunk = (2000, 17, 3)
        data = file.create_dataset("pose3d", (200_000, 17, 3), "f4", chunks=chunk, compression="gzip")
        zeros = zlib.compress(np.zeros(chunk, "f4").tobytes())
        for first in range(0, 200_000, 2000):
            data.id.write_direct_chunk((first, 0, 0), zeros)


def external_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("pose3d", (1, 17, 3), "f4", external=[("/etc/passwd", 0, 204)])


def linked_group(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["images/bytes"], file["images/offsets"] = np.zeros(4, "u1"), np.array([0, 4])
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink(str(path.with_name("other.h5")), "images")


def png_bomb(path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(path, "PNG")


def jpeg_bomb(path: Path) -> None:
    encoded = io.BytesIO()
    Image.new("L", (16, 16)).save(encoded, "JPEG")
    content = encoded.getvalue()
    at = content.index(b"\xff\xc0") + 5  # height and width in the frame's header
    path.write_bytes(content[:at] + struct.pack(">2H", 30_000, 30_000) + content[at + 4 :])


def postscript(path: Path) -> None:
    """Pillow would start another program."""
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def csv_bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(ZEROS * 64))


def weights_of_nothing(path: Path) -> None:
    """Four bytes that claim to be 4 GB, in a list that holds itself a million times over."""
    content: Any = torch.zeros(1).expand(10**9)
    for _ in range(20):
        content = [content, content]
    torch.save(content, path)


def model_file(network: dict[str, Any], weights: dict[str, Any]) -> Callable[[Path], None]:
    description = ModelDescription({"backbone": "resnet18", "deconv_channels": [1024], **network}, (64, 64), HUMAN36M)
    return lambda path: save_model_file(path, description, weights)


def score(path: Path) -> None:
    csv = path.with_name("good.csv")
    write_predictions_csv(csv, np.arange(51.0).reshape(1, 17, 3) * 20, HUMAN36M)
    score_csv(csv, path)


CASES: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any], type[Exception], str]] = {
    "checkpoint with a payload": (checkpoint_payload, load_checkpoint, CheckpointError, "holds posix.mkdir"),
    "old checkpoint with a payload": (checkpoint_legacy, load_checkpoint, CheckpointError, "no zip archive"),
    "pickle as a checkpoint": (bare_pickle, load_checkpoint, CheckpointError, "no zip archive"),
    "checkpoint bomb": (checkpoint_bomb, load_checkpoint, CheckpointError, "unpacks to 67 MB"),
    "weights bomb": (checkpoint_bomb, load_tensors, CheckpointError, "unpacks to 67 MB"),
    "old weights with a payload": (checkpoint_legacy, load_tensors, CheckpointError, "holds posix.mkdir"),
    "views of nothing": (weights_of_nothing, load_tensors, CheckpointError, "claims 4,000,000,000 bytes, 4 are"),
    "model file of a giant": (model_file({"volume_depth": 3_000_000}, {}), load_network, CheckpointError, "to 4096"),
    "model file without weights": (
        model_file({"volume_depth": 4096}, {"head.to_volume.weight": torch.zeros(1)}),
        load_network, CheckpointError, "of another model: 0 of the 1",
    ),
    "model file of no tensors": (model_file({}, {"w": 1}), load_network, CheckpointError, "expected a state dict"),
    "YAML tag": (text("a: !!python/name:os.system x"), lambda p: load_config(str(p)), ConfigError, "tags such as"),
    "YAML bomb": (text("a: &a [x]\nb: [*a]"), lambda p: load_config(str(p)), ConfigError, "anchors and aliases"),
    "YAML nesting": (text("a: " + "[" * 10_000), lambda p: load_config(str(p)), ConfigError, "nested deeper"),
    "YAML twice": (text("a: 1\na: 2"), lambda p: load_config(str(p)), ConfigError, "given twice"),
    "YAML with NUL": (text('run_dir: "a\\0b"'), lambda p: load_config(str(p)), ConfigError, "run_dir.*holds a NUL"),
    "YAML not UTF-8": (text(b"run_dir: \xff"), lambda p: load_config(str(p)), ConfigError, "cannot be read as UTF-8"),
    "endless YAML": (device, lambda p: load_config(str(p)), ConfigError, "larger than 20,000 bytes"),
    "pickle with a payload": (bare_pickle, read_pickle, DataError, "posix.mkdir.*refused"),
    "pickle memo bomb": (memo_bomb, lambda p: _expect_none(read_pickle(p)), DataError, "^harmless$"),
    "pickle bytes bomb": (bytearray_bomb, read_pickle, DataError, "damaged or no pickle"),
    "JSON nesting": (text("[" * 200_000), read_json, DataError, "cannot be read as JSON"),
    "npz bomb": (npz_bomb, read_npz, DataError, "unpacks to 67 MB"),
    "mat bomb": (mat_bomb, read_mat, DataError, "unpacks to 2,000 MB"),
    "HDF5 claim": (unwritten_hdf5, lambda p: read_hdf5(p, ("pose3d",)), DataError, "unpacks to 2,040 MB"),
    "HDF5 claim, scored": (unwritten_hdf5, score, DataError, "unpacks to 2,040 MB"),
    "HDF5 bomb": (packed_hdf5, lambda p: read_hdf5(p, ("pose3d",)), DataError, "unpacks to 41 MB"),
    "HDF5 of another file": (external_hdf5, lambda p: read_hdf5(p, ("pose3d",)), DataError, "in another file"),
    "HDF5 of another file, scored": (external_hdf5, score, DataError, "in another file"),
    "PNG bomb": (png_bomb, read_picture, DataError, "12000 x 12000 px"),
    "JPEG bomb": (jpeg_bomb, read_picture, DataError, "30000 x 30000 px"),
    "PostScript as a picture": (postscript, read_picture, DataError, "of no known kind"),
    "pipe as a picture": (pipe, read_picture, DataError, "a device or pipe"),
    "CSV bomb": (csv_bomb, read_poses, DataError, "unpacks to"),
    "endless CSV": (device, read_poses, DataError, "a device or pipe"),
    "formula in a CSV": (text("=cmd|'/c calc'!A1,x\n"), read_poses, DataError, "column 1 of the header"),
}  # fmt: skip


def _expect_none(value: Any) -> None:
    """A bomb that does not go off: the value is there and took no memory."""
    assert value is None
    raise DataError("harmless")


def import_everything() -> None:
    """What is loaded at first use is not the cost of a file."""
    optional("scipy.io")
    Image.init()


@pytest.fixture(scope="module", autouse=True)
def _everything_is_imported() -> None:
    import_everything()


@pytest.mark.filterwarnings("ignore:Image size .* exceeds limit")
@pytest.mark.parametrize("name", CASES)
def test_hostile_files_are_refused(name: str, tmp_path: Path) -> None:
    make, read, error, message = CASES[name]
    path = tmp_path / "file"
    make(path)
    with little_work(), pytest.raises(error, match=message) as caught:
        read(path)
    assert isinstance(caught.value, IntegralPoseError)
    assert len(str(caught.value)) < 1200
    assert not (tmp_path / "ran").exists(), "code from the file was run"


@pytest.mark.parametrize("read", [lambda: ResNetFeatures("resnet18").load_pretrained("imagenet"), PersonDetector])
def test_a_payload_in_the_cache_of_torchvision(
    read: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for url in (RESNETS["resnet18"][1].url, WEIGHTS.url):
        checkpoint_payload(folder / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="holds posix.mkdir"):
        read()
    assert not (folder / "ran").exists(), "code from the file was run"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("../a.jpg", "leaves"), ("/etc/passwd", "leaves"), ("a/../../b.jpg", "leaves"), ("C:\\a.jpg", "leaves"),
        ("..\\a.jpg", "leaves"), ("a\0.jpg", "control"), ("\x1b[2Ja.jpg", "control"), ("=1+2.jpg", "formula"),
        ("+a.jpg", "formula"), ("-a.jpg", "formula"), ("@a.jpg", "formula"), ("a" * 1001, "longer"), (" ", "empty"),
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere(line: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"a.jpg\n{line}\nb.jpg\n")
    with little_work(), pytest.raises(DataError, match=rf"list\.txt:2: .*{fault}"):
        read_image_list(tmp_path / "list.txt", tmp_path, are_files=False)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\xff.jpg\n")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_image_list(tmp_path / "list.txt", tmp_path)


def test_links_and_pipes_among_the_images(own_course_root: Path, tmp_path: Path) -> None:
    images = own_course_root / "images"
    first = images / (own_course_root / "annot/train_images.txt").read_text().splitlines()[0]
    first.rename(images / "elsewhere.jpg")
    first.symlink_to("elsewhere.jpg")
    assert len(read_train(own_course_root)) == 10, "a link inside the folder is fine"
    (tmp_path / "secret").write_bytes(b"secret")
    for make, message in (
        (lambda: first.symlink_to(tmp_path / "secret"), "is a link that leaves the images folder"),
        (lambda: os.mkfifo(first), "is no regular file"),
    ):
        first.unlink()
        make()
        with little_work(), pytest.raises(DataError, match=message):
            read_train(own_course_root)


def test_a_folder_that_is_a_link(own_course_root: Path) -> None:
    images, outside = own_course_root / "images", own_course_root / "outside"
    names = (own_course_root / "annot/train_images.txt").read_text().splitlines()
    outside.mkdir()
    (images / "S1").symlink_to(outside)
    (own_course_root / "annot/train_images.txt").write_text("".join(f"S1/{name}\n" for name in names))
    with pytest.raises(DataError, match="is a link that leaves .* or make the images folder as a whole the link"):
        read_train(own_course_root)
    (images / "S1").unlink()
    images.rename(own_course_root / "pictures")
    images.symlink_to("pictures")
    (own_course_root / "annot/train_images.txt").write_text("".join(f"{name}\n" for name in names))
    assert len(read_train(own_course_root)) == 10


def test_statistics_do_not_read_other_files(own_course_root: Path) -> None:
    for name in ("mean.txt", "std.txt"):
        (own_course_root / "annot" / name).write_text("1 " * 51)
    (own_course_root / "annot/train.h5").unlink()
    external_hdf5(own_course_root / "annot/train.h5")
    with pytest.raises(DataError, match="in another file"):
        read_statistics(own_course_root)


def test_checks_do_not_read_other_files(own_course_root: Path) -> None:
    path = own_course_root / "annot/train_images.txt"
    path.write_text("../annot/train.h5\n" * 10)
    split = read_split(own_course_root, "train")
    assert split is not None
    with pytest.raises(DataError, match="leaves the images folder"):
        split.encoded(0)
    linked_group(own_course_root / "linked.h5")
    (own_course_root / "annot/train.h5").unlink()
    (own_course_root / "linked.h5").rename(own_course_root / "annot/train.h5")
    with pytest.raises(DataError, match="rows of numbers in this file, no links to others"):
        read_split(own_course_root, "train")


def test_archives_do_not_fill_the_disk_or_leave_their_folder(tmp_path: Path) -> None:
    archive, name = tmp_path / "Videos_S1.tgz", "Directions 1.54138969.mp4"
    with tarfile.open(archive, "w:gz") as content:
        for path, size in ((f"../../{name}", 4), (f"S1/{name}", 64 << 20)):
            member = tarfile.TarInfo(path)
            member.size = size
            content.addfile(member, io.BytesIO(bytes(size)))
    with pytest.raises(DataError, match="unpacks to 67 MB"):
        unpack(archive, "S1", "Videos", [name], tmp_path / "out" / "unpacked")
    assert [path.name for path in tmp_path.rglob("*.mp4") if "unfinished" not in str(path)] == []
