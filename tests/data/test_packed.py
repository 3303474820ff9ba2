"""Images inside the label file: the same batches as from files, and every fault by its message."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from integral_pose.bench.loader_speed import worker_memory_bytes
from integral_pose.contracts import SampleKey
from integral_pose.data.course import evenly_spaced, read_test, read_train
from integral_pose.data.loader import PoseImages, TrainingBatches
from integral_pose.errors import DataError


def pack(root: Path, splits: tuple[str, ...] = ("train", "valid")) -> Path:
    """Move the images of a data set into its label files."""
    for split in splits:
        names = (root / "annot" / f"{split}_images.txt").read_text().split()
        encoded = [(root / "images" / name).read_bytes() for name in names]
        with h5py.File(root / "annot" / f"{split}.h5", "a") as file:
            file["images/bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
            file["images/offsets"] = np.cumsum([0, *map(len, encoded)])
    shutil.rmtree(root / "images")
    return root


def as_batch(table, rows=(0, 1, 2)):
    return PoseImages(table, 64, (64, 64), None).__getitems__([SampleKey(0, row) for row in rows])


def test_batches_equal_those_of_files(make_course):
    files, packed = make_course("files"), pack(make_course("packed"))
    for read in (read_train, read_test):
        one, other = as_batch(read(files), (3, 1, 0)), as_batch(read(packed), (3, 1, 0))
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.joints_crop_px, other.joints_crop_px)
    table = read_train(packed)
    assert table.name(1) == "S5_Walking_1.54138969_000002.jpg"
    assert torch.equal(as_batch(evenly_spaced(table, 3)).images, as_batch(table, (0, 4, 9)).images)


def test_a_packed_test_set_without_labels(own_course_root):
    expected = as_batch(read_test(own_course_root)).images
    with h5py.File(own_course_root / "annot/valid.h5", "a") as file:
        del file["pose2d"], file["pose3d"]
    table = read_test(pack(own_course_root))
    assert not table.has_labels
    assert torch.equal(as_batch(table).images, expected)


def test_one_descriptor_a_process_and_none_in_a_pickle(own_course_root):
    table = read_train(pack(own_course_root))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert table.images._descriptor is None  # nothing is opened before it is needed
    content = [table.images.read(row) for row in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    again = pickle.loads(pickle.dumps(table))
    assert again.packed._descriptor is None
    del table
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(again.images.read, 7).result() == content[7]


def test_workers_read_what_one_process_reads(own_course_root):
    images = PoseImages(read_train(pack(own_course_root)), 64, (64, 64), None)
    images.table.images.read(0)  # the workers inherit an open descriptor
    settings = {"seed": 0, "rank": 0, "world": 1, "pin_memory": False}
    alone, helped = (TrainingBatches(images, 2, workers=workers, **settings) for workers in (0, 2))
    for one, other in zip(alone.epoch(0), helped.epoch(0), strict=True):
        assert torch.equal(one.images, other.images)


def test_memory_does_not_grow_with_the_number_of_samples(own_course_root):
    """312,188 rows and three workers, which share them: what 16 of them add stays below 1 GiB."""
    table = read_train(pack(own_course_root))
    # In a process of its own: forked workers would copy whatever this one has touched before.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        added = pool.submit(worker_memory_bytes, table, 64, workers=3).result()
    assert added is None or added < 2**30 / 16


def change(root, function):
    with h5py.File(root / "annot/train.h5", "a") as file:
        function(file)


def replace(file, name, **options):
    values = file[name][...]
    del file[name]
    file.create_dataset(name, data=values, **options)


def make_external(file):
    size = len(file["images/bytes"])
    del file["images/bytes"]
    file.create_dataset("images/bytes", (size,), np.uint8, external=[("/etc/passwd", 0, size)])


def make_virtual(file):
    layout = h5py.VirtualLayout((4,), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "images/bytes", (4,))
    del file["images/bytes"]
    file.create_virtual_dataset("images/bytes", layout)


def make_link(link):
    def function(file):
        del file["images/bytes"]
        file["images/bytes"] = link

    return function


def set_offsets(values):
    def function(file):
        del file["images/offsets"]
        file["images/offsets"] = values

    return function


FAULTS = {
    "external": (make_external, "'images/bytes' lies in another file, which is refused; copy it into this one"),
    "virtual": (make_virtual, "'images/bytes' lies in another file, which is refused"),
    "external link": (make_link(h5py.ExternalLink("o.h5", "x")), "have to be rows of numbers in this file, no links"),
    "soft link": (make_link(h5py.SoftLink("/pose2d")), "have to be rows of numbers in this file, no links to others"),
    "chunked": (lambda file: replace(file, "images/bytes", chunks=(64,), compression=1),
                "found uint8 in chunks and int64; write it anew with"),
    "no bytes": (lambda file: file.pop("images/bytes"), "'images/bytes' and 'images/offsets' have to be rows"),
    "no offsets": (lambda file: file.pop("images/offsets"), "'images/bytes' and 'images/offsets' have to be rows"),
    "dtype": (lambda file: replace(file, "images/bytes", dtype=np.int32), "as whole numbers, found int32 and int64"),
    "short": (set_offsets([0, 5]), "'images/offsets' has 2 entries, expected 11 rising ones from 0 to"),
    "falling": (set_offsets([0, 9, 5, *range(10, 18)]), "expected 11 rising ones"),
    "floats": (set_offsets(np.zeros(11)), "as whole numbers, found uint8 and float64; write it anew with"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_layouts_that_are_refused(name, own_course_root):
    function, message = FAULTS[name]
    change(pack(own_course_root), function)
    with pytest.raises(DataError) as caught:
        read_train(own_course_root)
    assert str(caught.value).startswith(f"{own_course_root}/annot/train.h5: ")
    assert message in str(caught.value)


def test_a_file_that_is_cut_short_while_it_is_read(own_course_root):
    table = read_train(pack(own_course_root))
    path = own_course_root / "annot/train.h5"
    os.truncate(path, int(table.packed.starts[4]) + 10)
    assert len(table.images.read(3)) == table.packed.sizes[3]
    with pytest.raises(DataError, match=r"train\.h5: S8_.*_000005\.jpg: the file ends inside this image"):
        table.images.read(4)
    with pytest.raises(DataError, match="is damaged, cut short or no HDF5 file"):
        read_train(own_course_root)


def damage(root, *rows):
    names = (root / "annot/train_images.txt").read_text().split()
    for row in rows:
        (root / "images" / names[row]).write_bytes(b"\xff\xd8 no picture")


def test_bad_images_give_their_places_to_the_next_ones(own_course_root, capsys):
    damage(own_course_root, 2, 3, 9)
    table = read_train(own_course_root)
    images = PoseImages(table, 64, (64, 64), None, skip_bad=True)
    batches = TrainingBatches(images, 10, seed=0, workers=0, rank=0, world=1, pin_memory=False)
    (batch,) = batches.epoch(4)
    order = batches.order.order(4)
    expected = [{2: 4, 3: 4, 9: 0}.get(row, row) for row in order.tolist()]
    assert batch.indices.tolist() == expected
    assert torch.equal(batch.joints_camera_mm, torch.from_numpy(table.joints_camera_mm[expected]))
    assert torch.equal(batch.images[expected.index(4)], as_batch(table, [4]).images[0])
    said = capsys.readouterr().err
    assert said.startswith("epoch 5: 4 images could not be read and others took their places:\n")  # 3 stood in for 2
    assert f"{table.images.describe(9)}: is damaged or no image (" in said


def test_where_no_image_can_be_read_skipping_ends(own_course_root):
    damage(own_course_root, *range(10))
    images = PoseImages(read_train(own_course_root), 64, (64, 64), None, skip_bad=True)
    error = images.__getitems__([SampleKey(0, 5)])
    assert isinstance(error, DataError)
    assert str(error).endswith("(and the 9 images after it cannot be read either)")
