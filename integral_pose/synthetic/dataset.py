"""The embedded data set: rendered people with exact labels, in the course layout.

It needs no download, so that anybody can train and evaluate at once; the figures it gives say nothing about
real pictures. Every picture's randomness follows from (seed, split, index) alone: the same seed gives the
same bytes, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from tqdm import tqdm

from integral_pose.datasets.writer import Labels, write_labels, write_statistics
from integral_pose.errors import ConfigError, DataError, IntegralPoseError
from integral_pose.io.child_processes import end_with_parent
from integral_pose.synthetic.actions import ACTIONS
from integral_pose.synthetic.body import BODIES
from integral_pose.synthetic.difficulty import EASY, PRESETS, Difficulty
from integral_pose.synthetic.mannequin import Clothes, draw_clothes
from integral_pose.synthetic.render import render
from integral_pose.synthetic.roster import SUBJECTS, Shot, list_shots
from integral_pose.synthetic.scene import Scene, draw_scene

Array = NDArray[np.float64]

JPEG_QUALITY = 90
CHUNK = 25  # pictures a task: small enough for an even end, large enough to hide the cost of handing over
STREAMS = {"train": 0, "valid": 1, "clothes": 2}  # first words of the random streams
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def render_dataset(
    out: Path,
    *,
    num_train: int,
    num_valid: int,
    seed: int,
    workers: int,
    difficulty: Difficulty = EASY,
    first_of: tuple[int, int] | None = None,
    show_progress: bool = True,
) -> str:
    """Write a data set of rendered people to the folder `out`, which appears only when it is whole.

    With `first_of` its pictures are the same as in a set of so many training and test pictures. Returns the SHA-256 of
    all image files, one after the other in the order of the lists. Raises DataError where `out` holds something
    already, or where a number makes no sense.
    """
    _check_request(out, num_train, num_valid, seed, workers)
    counts = {"train": num_train, "valid": num_valid}
    whole = dict(zip(counts, first_of or counts.values(), strict=True))
    shots = {split: _indexed_shots(split, counts[split], whole[split]) for split in SUBJECTS}
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".unfinished", dir=out.parent))
    try:
        _render_into(unfinished, shots, seed, difficulty, workers, show_progress)
        digest = _digest(unfinished, [shot for split in SUBJECTS for _, shot in shots[split]])
        unfinished.chmod(0o755)
        unfinished.replace(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return digest


def render_preset(out: Path, name: str, *, workers: int, show_progress: bool = True) -> bool:
    """`render_dataset` of a set in PRESETS; returns whether its pictures are byte for byte those of the definition.

    Raises ConfigError for an unknown name.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'. Known: {', '.join(PRESETS)}")
    preset = PRESETS[name]
    digest = render_dataset(
        out,
        num_train=preset.num_train,
        num_valid=preset.num_valid,
        seed=preset.seed,
        workers=workers,
        difficulty=preset.difficulty,
        first_of=preset.first_of,
        show_progress=show_progress,
    )
    return digest == preset.sha256


class _Task(NamedTuple):
    """Some pictures of a split, each with its index in the whole set."""

    images: Path
    split: str
    seed: int
    difficulty: Difficulty
    shots: list[tuple[int, Shot]]


class _Rows(NamedTuple):
    """Labels of a task's pictures, in order; shapes as in `Labels`."""

    joints_crop_px: list[Array]
    joints_camera_mm: list[Array]
    camera: list[Array]
    crop_to_image: list[Array]
    root_camera_mm: list[Array]


def _check_request(out: Path, num_train: int, num_valid: int, seed: int, workers: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not an empty folder; name another --out, or remove it first")
    for name, value, least in (
        ("train", num_train, 1),
        ("valid", num_valid, 0),
        ("seed", seed, 0),
        ("workers", workers, 1),
    ):
        if value < least:
            raise DataError(f"--{name} is {value}; it has to be {least} or more")


def _indexed_shots(split: str, count: int, whole: int) -> list[tuple[int, Shot]]:
    """The `count` pictures dealt first of a set of `whole`, with their indices in it."""
    chosen = set(list_shots(split, count))
    return [(index, shot) for index, shot in enumerate(list_shots(split, whole)) if shot in chosen]


def _digest(root: Path, shots: list[Shot]) -> str:
    digest = hashlib.sha256()
    for shot in shots:
        digest.update((root / "images" / shot.file_name).read_bytes())
    return digest.hexdigest()


def _render_into(
    root: Path,
    shots: dict[str, list[tuple[int, Shot]]],
    seed: int,
    difficulty: Difficulty,
    workers: int,
    show_progress: bool,
) -> None:
    annot, images = root / "annot", root / "images"
    annot.mkdir()
    images.mkdir()
    tasks = [
        _Task(images, split, seed, difficulty, shots[split][first : first + CHUNK])
        for split in SUBJECTS
        for first in range(0, len(shots[split]), CHUNK)
    ]
    rows: dict[str, list[_Rows]] = {split: [] for split in SUBJECTS}
    total = sum(map(len, shots.values()))
    with (
        _in_order(tasks, workers) as results,
        tqdm(total=total, unit=" images", desc="rendering", disable=not show_progress) as progress,
    ):
        for task, result in zip(tasks, results, strict=True):
            rows[task.split].append(result)
            progress.update(len(task.shots))
    for split in SUBJECTS:
        labels = _join([shot for _, shot in shots[split]], rows[split])
        write_labels(annot, split, labels)
        if split == "train":
            write_statistics(annot, labels.joints_camera_mm)


@contextmanager
def _in_order(tasks: list[_Task], workers: int) -> Iterator[Iterator[_Rows]]:
    """The results of the tasks, in their order; with one worker in this process."""
    if workers == 1:
        yield map(_render_task, tasks)
        return
    # Fresh processes: a fork would copy whatever threads the caller has started. They read the number of
    # their threads from the environment when they import NumPy, so it has to be set before they start.
    with (
        mock.patch.dict(os.environ, ONE_THREAD),
        ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=end_with_parent,  # else it would wait for tasks for ever where this process was killed
            initargs=(signal.SIGKILL,),
        ) as pool,
    ):
        try:
            yield pool.map(_render_task, tasks)
        except BrokenProcessPool:
            raise IntegralPoseError(
                "a worker process died, perhaps for want of memory. Start the same again with fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _render_task(task: _Task) -> _Rows:
    rows = _Rows([], [], [], [], [])
    for index, shot in task.shots:
        rng = np.random.default_rng([STREAMS[task.split], index, task.seed])
        scene = draw_scene(shot.subject, shot.action, shot.camera_id, rng, task.difficulty.looseness)
        image = render(scene, BODIES[shot.subject], _clothes_of(shot, task.seed), rng, task.difficulty)
        jpeg = simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
        (task.images / shot.file_name).write_bytes(jpeg)
        _append(rows, scene)
    return rows


def _clothes_of(shot: Shot, seed: int) -> Clothes:
    """The same in all pictures of a sequence, from whichever camera."""
    sequence = [list(BODIES).index(shot.subject), list(ACTIONS).index(shot.action), shot.sub_action]
    return draw_clothes(np.random.default_rng([STREAMS["clothes"], *sequence, seed]))


def _append(rows: _Rows, scene: Scene) -> None:
    joints_mm, camera, crop = scene.figure.joints_mm, scene.camera, scene.crop
    rows.joints_crop_px.append(crop.image_px_to_crop_px(scene.joints_image_px))
    rows.joints_camera_mm.append(joints_mm - joints_mm[0])
    rows.camera.append(np.concatenate([camera.focal_px, camera.principal_px, camera.radial, camera.tangential]))
    rows.crop_to_image.append(np.array([crop.left_px, crop.top_px, crop.scale]))
    rows.root_camera_mm.append(joints_mm[0])


def _join(shots: list[Shot], parts: list[_Rows]) -> Labels:
    def column(at: int, *shape: int) -> Array:
        return np.array([row for part in parts for row in part[at]], dtype=np.float64).reshape(-1, *shape)

    return Labels(
        image_names=[shot.file_name for shot in shots],
        joints_crop_px=column(0, 17, 2),
        joints_camera_mm=column(1, 17, 3),
        camera=column(2, 9),
        crop_to_image=column(3, 3),
        root_camera_mm=column(4, 3),
        subjects=[shot.subject for shot in shots],
        actions=[shot.action for shot in shots],
    )
