"""Batches: an order of (seed, epoch) alone, shared out among processes and workers without a difference."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from integral_pose.contracts import PoseBatch, SampleKey
from integral_pose.data.augmentation import ImgaugAugmentation
from integral_pose.data.batch_order import BatchOrder
from integral_pose.data.course import read_train
from integral_pose.data.loader import EvaluationBatches, PoseImages, TrainingBatches
from integral_pose.errors import DataError
from integral_pose.io.images import read_picture


def make_order(
    num_samples=20, batch_size=4, *, seed=0, shuffle=True, rank=0, world=1, epoch=0, first_batch=0, epoch_images=None
):
    order = BatchOrder(
        num_samples, batch_size, seed=seed, shuffle=shuffle, rank=rank, world=world, epoch_images=epoch_images
    )
    order.epoch, order.first_batch = epoch, first_batch
    return order


def make_images(root, augmentation=None, size=(64, 64)):
    return PoseImages(read_train(root), 64, size, augmentation)


def training(images, **options):
    return TrainingBatches(
        images, **({"batch_size": 4, "seed": 0, "workers": 0, "rank": 0, "world": 1, "pin_memory": False} | options)
    )


def assert_same(one: PoseBatch, other: PoseBatch):
    for name in ("indices", "images", "joints_camera_mm", "joints_crop_px"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_order_is_a_function_of_seed_and_epoch():
    first = list(make_order(seed=3, epoch=2))
    np.random.seed(1)  # noqa: NPY002 - global generators must not matter
    torch.manual_seed(1)
    assert list(make_order(seed=3, epoch=2)) == first
    assert {key.epoch for batch in first for key in batch} == {2}
    orders = [make_order(seed=seed).order(epoch).tolist() for seed in range(4) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 16
    assert all(sorted(order) == list(range(20)) for order in orders)


@pytest.mark.parametrize("first_batch", [0, 1, 4, 5])
def test_an_epoch_from_any_batch_on(first_batch):
    whole = list(make_order(epoch=1))
    assert list(make_order(epoch=1, first_batch=first_batch)) == whole[first_batch:]


def walk(epochs, **options):
    """The keys of some epochs, one after the other."""
    return [key for epoch in range(epochs) for batch in make_order(epoch=epoch, **options) for key in batch]


@pytest.mark.parametrize("epoch_images", [4, 6, 11, 20, 37, 64])
@pytest.mark.parametrize("num_samples", [7, 20])
def test_epochs_of_any_length_walk_through_whole_passes(num_samples, epoch_images):
    keys = walk(12, num_samples=num_samples, epoch_images=epoch_images)
    assert len(keys) == 12 * (epoch_images // 4 * 4)
    for number in range(len(keys) // num_samples):
        one_pass = keys[number * num_samples : (number + 1) * num_samples]
        assert [key.row for key in one_pass] == make_order(num_samples).order(number).tolist()
        assert {key.epoch for key in one_pass} == {number}  # so that augmentation draws anew in each pass
    assert len(set(keys)) == len(keys)


def test_an_epoch_of_all_images_is_the_usual_one():
    for epoch in range(3):
        assert list(make_order(epoch=epoch, epoch_images=20)) == list(make_order(epoch=epoch))


@pytest.mark.parametrize("first_batch", range(10))
@pytest.mark.parametrize("world", [1, 2])
def test_an_epoch_of_any_length_from_any_batch_on(first_batch, world):
    options = {"num_samples": 7, "epoch": 2, "epoch_images": 38}
    whole = list(make_order(**options))
    assert len(whole) == len(make_order(**options)) == 9
    for rank in range(world):
        share = list(make_order(**options, first_batch=first_batch, rank=rank, world=world))
        assert share == [batch[rank::world] for batch in whole[first_batch:]]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_step_sees_the_same_samples_for_any_number_of_processes(world):
    shares = [list(make_order(23, 8, rank=rank, world=world)) for rank in range(world)]
    assert {len(share) for share in shares} == {2}  # the partial batch is dropped
    assert {len(batch) for share in shares for batch in share} == {8 // world}
    for step, batch in enumerate(make_order(23, 8)):
        together = sorted(itertools.chain.from_iterable(share[step] for share in shares))
        assert together == sorted(batch)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("num_samples", range(1, 10))
def test_evaluation_sees_every_row_once(num_samples, world):
    for first_batch in (0, 1):
        rows = [
            key.row
            for rank in range(world)
            for batch in make_order(
                num_samples, 4 * world, shuffle=False, rank=rank, world=world, first_batch=first_batch
            )
            for key in batch
        ]
        assert sorted(rows) == list(range(4 * world * first_batch, num_samples))
        assert len(make_order(num_samples, 4 * world, shuffle=False)) == -(-num_samples // (4 * world))


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_batches(course_root, world):
    images, rows = make_images(course_root), []
    for rank in range(world):
        batches = EvaluationBatches(images, 2, workers=0, rank=rank, world=world, pin_memory=False)
        for _ in range(2):  # again and again
            found = [batch.indices.tolist() for batch in batches]
        assert all(len(batch) <= 2 for batch in found)
        rows += itertools.chain.from_iterable(found)
    assert sorted(rows) == list(range(10))


def test_what_a_batch_holds(course_root):
    images = make_images(course_root)
    batch = images.__getitems__([SampleKey(0, 3), SampleKey(0, 1)])
    assert batch.indices.tolist() == [3, 1]
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    path = images.table.images_folder / images.table.name(3)
    np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0), read_picture(path))
    np.testing.assert_array_equal(batch.joints_camera_mm[1], images.table.joints_camera_mm[1])
    assert batch.joints_camera_mm.dtype == batch.joints_crop_px.dtype == torch.float32
    halves = batch.split(2)
    assert [half.indices.tolist() for half in halves] == [[3], [1]]
    assert torch.equal(halves[1].images[0], batch.images[1])


def test_joints_scale_with_the_picture(course_root):
    images = make_images(course_root, size=(32, 96))
    batch = images.__getitems__([SampleKey(0, 0)])
    assert batch.images.shape == (1, 3, 32, 96)
    np.testing.assert_allclose(batch.joints_crop_px[0], images.table.joints_crop_px[0] * [1.5, 0.5], rtol=1e-6)


def test_workers_make_no_difference(course_root):
    ranges = {"translate_percent": [-0.1, 0.1], "scale": [0.8, 1.2], "hue_saturation": [-9, 9], "contrast": [0.8, 1.2]}
    images = make_images(course_root, ImgaugAugmentation(seed=1, brightness=[0.5, 1.5], **ranges))
    alone, helped = training(images), training(images, workers=2)
    for epoch, first_batch in ((0, 0), (1, 1)):
        one, other = list(alone.epoch(epoch, first_batch)), list(helped.epoch(epoch, first_batch))
        assert len(one) == len(other) == 2 - first_batch
        for pair in zip(one, other, strict=True):
            assert_same(*pair)


def test_a_batch_of_two_passes_draws_for_each_of_them(course_root):
    drawn = []

    class Augmentation:
        def draw(self, number, rows):
            drawn.append((number, rows.tolist()))
            return torch.from_numpy(rows + 100.0 * number)[:, None]

        def change_labels(self, batch):
            return batch

    images = PoseImages(read_train(course_root), 64, (64, 64), None, on_device=Augmentation())
    batches = training(images, batch_size=8, epoch_images=16)
    first, second = batches.epoch(0)
    assert [number for number, _ in drawn] == [0, 0, 1]
    assert len(drawn[1][1]) == 2  # ten images: the second batch has the last two of them and six again
    assert second.changes[:, 0].tolist() == [*drawn[1][1], *(100.0 + row for row in drawn[2][1])]
    assert second.indices.tolist() == drawn[1][1] + drawn[2][1]
    assert first.changes[:, 0].tolist() == first.indices.tolist()


def test_an_epoch_draws_nothing_from_the_global_stream(course_root):
    batches = training(make_images(course_root))
    before = torch.get_rng_state()
    list(batches.epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_that_was_left_and_begun_again(course_root):
    batches = training(make_images(course_root))
    whole = [batch.indices.tolist() for batch in batches.epoch(4)]
    next(batches.epoch(4))
    assert [batch.indices.tolist() for batch in batches.epoch(4)] == whole
    assert len(batches) == 2
    assert batches.name(0) == "S1_Directions_1.54138969_000001.jpg"


def test_processes_see_parts_of_one_batch(course_root):
    images = make_images(course_root)
    whole = next(training(images).epoch(0))
    shares = [next(training(images, rank=rank, world=2).epoch(0)) for rank in range(2)]
    for rank, share in enumerate(shares):
        assert torch.equal(share.images, whole.images[rank::2])
        assert torch.equal(share.indices, whole.indices[rank::2])


def test_workers_that_are_left_end_with_python(course_root):
    """Workers ignore SIGTERM, by which Python ends its children before it waits for them."""
    code = (
        "from pathlib import Path\n"
        "from integral_pose.data.course import read_train\n"
        "from integral_pose.data.loader import PoseImages, TrainingBatches\n"
        f"images = PoseImages(read_train(Path({str(course_root)!r})), 64, (64, 64), None)\n"
        "batches = TrainingBatches(images, 2, seed=0, workers=1, rank=0, world=1, pin_memory=False)\n"
        "epoch = batches.epoch(0)\n"
        "print(len(next(epoch)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (0, "2\n")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_says_so_from_a_worker_too(own_course_root, workers):
    images = make_images(own_course_root)
    path = images.table.images_folder / images.table.name(6)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError) as caught:
        list(training(images, batch_size=10, workers=workers).epoch(0))
    assert str(caught.value).startswith(f"{path}: is damaged or no image (")
    assert "Traceback" not in str(caught.value)


def test_fewer_images_than_a_batch(course_root):
    with pytest.raises(DataError) as caught:
        training(make_images(course_root), batch_size=11)
    assert str(caught.value) == (
        "10 training images are fewer than trainer.batch_size 11, which would give no step at all; take a smaller batch"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_one_batch_once_more_while_the_epoch_goes_on(workers, course_root):
    batches = training(make_images(course_root), workers=workers, batch_size=2)
    epoch = batches.epoch(1)
    given = [next(epoch), next(epoch)]
    assert_same(batches.again(1, 1), given[1])
    assert_same(batches.again(1, 0), given[0])
    rest = [batch.indices.tolist() for batch in epoch]
    assert rest == [batch.indices.tolist() for batch in training(make_images(course_root), batch_size=2).epoch(1, 2)]
