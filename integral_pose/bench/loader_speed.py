"""How many images a second one core brings from disk into a batch, part by part and against the common way.

Times are CPU time of this process with one thread, so that neighbours disturb them little; candidates take turns,
and a figure is the median over the rounds. Files are warm: what a disk adds is the disk's.
"""

import gc
import importlib.util
import io
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from integral_pose.bench.measuring import in_own_process, interleaved, median_ratio, proc_bytes
from integral_pose.config.augmentation_section import AugmentationConfig
from integral_pose.contracts import PoseBatch, PoseSample, SampleKey
from integral_pose.data.augmentation import Augmentation, build_augmentation, build_device_augmentation
from integral_pose.data.course import PoseTable, evenly_spaced, read_train
from integral_pose.data.image_source import FileImages, PackedImages
from integral_pose.data.loader import PoseImages, TrainingBatches
from integral_pose.io.images import decode_crop_scaled
from integral_pose.skeleton import HUMAN36M
from integral_pose.synthetic.dataset import render_dataset

NUM_IMAGES = 128  # a round
BATCH = 32
# OpenCV, which comes with imgaug, would multiply its CPU time by threads of its own.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
HUMAN36M_ROWS = 312_188
MEMORY_WORKERS = 4
MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]

BASELINE = "files + Pillow + imgaug + float"
WHOLE = "packed: read + decode + collate"
MEANINGS = {
    "images_per_s_per_core": WHOLE,
    "vs_baseline": f"times the images/s of {BASELINE} (- without imgaug and its OpenCV)",
    "packed_read_vs_files": "time of reading a file an image over that of reading them packed",
    "worker_memory_mib": f"MiB that a worker over {HUMAN36M_ROWS:,} rows adds to the memory of all (PSS)",
}


def measure_loading(root: Path | None, rounds: int) -> dict[str, Any]:
    """Measure the data in `root`, or rendered people where it is None, in a process of one thread."""
    return in_own_process(ONE_THREAD, time_loading, root, rounds)


def time_loading(root: Path | None, rounds: int) -> dict[str, Any]:
    """The figures of MEANINGS and the speed of every part; the keys are those of the JSON file."""
    with tempfile.TemporaryDirectory(prefix="integral-pose-bench-") as folder:
        source = root or Path(folder) / "rendered"
        if root is None:
            render_dataset(source, num_train=NUM_IMAGES, num_valid=1, seed=1, workers=1, show_progress=False)
        table = evenly_spaced(read_train(source), NUM_IMAGES)
        files, packed = _both_layouts(table, Path(folder))
        with Image.open(io.BytesIO(packed.images.read(0))) as picture:
            size = picture.width
        candidates = _candidates(files, packed, size)
        times_s = interleaved(candidates, torch.device("cpu"), rounds=rounds, clock=time.process_time)
        memory = worker_memory_bytes(packed, size)
    per_s = {name: len(table) / statistics.median(seconds) for name, seconds in times_s.items()}
    return {
        "images_per_s_per_core": round(per_s[WHOLE]),
        "vs_baseline": round(median_ratio(times_s[BASELINE], times_s[WHOLE]), 2) if BASELINE in times_s else None,
        "packed_read_vs_files": round(median_ratio(times_s["files: read"], times_s["packed: read"]), 2),
        "images_per_s_per_core_by_part": {name: round(value) for name, value in per_s.items()},
        "worker_memory_mib": None if memory is None else round(memory / 2**20),
        "rows_in_memory_test": HUMAN36M_ROWS,
        "images": len(table),
        "side_px": size,
        "rounds": rounds,
        "root": str(root) if root else "rendered",
    }


def worker_memory_bytes(table: PoseTable, side_px: int, *, workers: int = MEMORY_WORKERS) -> int | None:
    """What each worker adds to the memory of all processes together (proportional set size), their mean.

    Over a table of Human3.6M's length, its rows repeated; None where the system does not tell.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        return None
    large = table.take(np.arange(HUMAN36M_ROWS) % len(table))
    gc.collect()
    before = proc_bytes("self/smaps_rollup", "Pss")
    images = PoseImages(large, side_px, (side_px, side_px), None, scaled_decoding=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, of more workers than cores: their speed is no matter here
        batches = TrainingBatches(images, 8, seed=0, workers=workers, rank=0, world=1, pin_memory=False)
        epoch = batches.epoch(0)
        for _ in itertools.islice(epoch, 8 * workers):
            pass
    processes = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children() if worker.pid)]
    after = sum(proc_bytes(f"{process}/smaps_rollup", "Pss") for process in processes)
    return max(0, after - before) // workers


def _both_layouts(table: PoseTable, folder: Path) -> tuple[PoseTable, PoseTable]:
    """The same images as a file each and end to end in one file."""
    encoded = [table.images.read(row) for row in range(len(table))]
    names = np.array([f"{row:06d}.img".encode() for row in range(len(table))])
    images, packed = folder / "images", folder / "packed"
    images.mkdir()
    for name, content in zip(names.tolist(), encoded, strict=True):
        (images / name.decode()).write_bytes(content)
    packed.write_bytes(b"".join(encoded))
    sizes = np.array([len(content) for content in encoded], np.int64)
    source = PackedImages(packed, names, np.cumsum(sizes) - sizes, sizes)
    labels = table.joints_camera_mm, table.joints_crop_px
    files = PoseTable(images, names, *labels, skeleton=table.skeleton)
    return files, replace(files, packed=source)


def _candidates(files: PoseTable, packed: PoseTable, side_px: int) -> dict[str, Callable[[], object]]:
    rows, size = range(len(files)), (side_px, side_px)
    file_images, packed_images = FileImages(files.images_folder, files.names), packed.images
    encoded = [packed_images.read(row) for row in rows]
    pixels = np.empty((side_px, side_px, 3), np.uint8)
    on_device = build_device_augmentation(AugmentationConfig(backend="device"), 0, HUMAN36M.flip_order)
    assert on_device is not None, "asked for"
    images = partial(PoseImages, stored_size=side_px, image_size=size, scaled_decoding=True)
    loaded = _batches(images(packed, augmentation=None, on_device=on_device))
    candidates: dict[str, Callable[[], object]] = {
        "files: read": lambda: [file_images.read(row) for row in rows],
        "packed: read": lambda: [packed_images.read(row) for row in rows],
        "decode": lambda: _decode(encoded, pixels),
        "files: read + decode + collate": lambda: _batches(images(files, augmentation=None)),
        WHOLE: lambda: _batches(images(packed, augmentation=None)),
        "device backend alone, on the CPU": lambda: [on_device.change_pixels(batch) for batch in loaded],
    }
    if importlib.util.find_spec("imgaug") and importlib.util.find_spec("cv2"):
        imgaug = build_augmentation(AugmentationConfig(backend="imgaug"), 0, HUMAN36M.flip_order)
        assert imgaug is not None, "asked for"
        candidates["packed, imgaug backend"] = lambda: _batches(images(packed, augmentation=imgaug))
        candidates[BASELINE] = lambda: _baseline(files, imgaug)
    return candidates


def _decode(encoded: list[bytes], pixels: NDArray[np.uint8]) -> None:
    for content in encoded:
        decode_crop_scaled(content, len(pixels), pixels)


def _batches(images: PoseImages) -> list[PoseBatch]:
    rows = range(len(images))
    return [images.read(rows[first : first + BATCH]) for first in range(0, len(images), BATCH)]


def _baseline(files: PoseTable, imgaug: Augmentation) -> None:
    """What most projects do: a file an image, Pillow, imgaug with key points, normalised floats, then stacked."""
    for first in range(0, len(files), BATCH):
        samples = []
        for row in range(first, min(first + BATCH, len(files))):
            with Image.open(files.images_folder / files.name(row)) as picture:
                image: NDArray[np.uint8] = np.array(picture.convert("RGB"))
            sample = PoseSample(row, image, files.joints_camera_mm[row], files.joints_crop_px[row])
            image = np.ascontiguousarray(imgaug(sample, SampleKey(0, row)).image)
            floats = torch.from_numpy(image).permute(2, 0, 1).contiguous().float().div(255)
            samples.append((floats - MEAN) / STD)
        torch.stack(samples)
