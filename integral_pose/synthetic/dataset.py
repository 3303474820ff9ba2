"""The embedded data set: rendered people with exact labels, in the course layout.

It needs no download, so that anybody can train and evaluate at once; the figures it gives say nothing about
real pictures. Every picture's randomness follows from (seed, split, index) alone: the same seed gives the
same bytes, whatever the number of workers.
"""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simplejpeg

from integral_pose.datasets.writer import COLUMNS, write_split
from integral_pose.errors import DataError
from integral_pose.io.parallel import run_tasks
from integral_pose.synthetic.painter import MannequinPainter, Painter
from integral_pose.synthetic.presets import EASY, Difficulty, find_preset
from integral_pose.synthetic.shots import SUBJECTS, Shot, list_shots

NOT_RENDERED = ("visible", "sub_action", "frame")  # columns of other sets

JPEG_QUALITY = 90
IMAGES_A_TASK = 25  # few enough for an even end, many enough to hide the cost of handing over


def render_dataset(
    out: Path,
    *,
    num_train: int,
    num_valid: int,
    seed: int,
    workers: int,
    difficulty: Difficulty = EASY,
    painter: Painter | None = None,
    first_of: tuple[int, int] | None = None,
    show_progress: bool = True,
) -> str:
    """Write a data set of rendered people to the folder `out`, which appears only when it is whole.

    `painter` None paints mannequins. With `first_of` its pictures are the same as in a set of so many training and test
    pictures. Returns the SHA-256 of all image files, one after the other in the order of the lists. Raises DataError
    where `out` holds something already, or where a number makes no sense.
    """
    _check_request(out, num_train, num_valid, seed, workers)
    counts = {"train": num_train, "valid": num_valid}
    whole = dict(zip(counts, first_of or counts.values(), strict=True))
    shots = {split: _indexed_shots(split, counts[split], whole[split]) for split in SUBJECTS}
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".unfinished", dir=out.parent))
    try:
        _render_into(unfinished, shots, painter or MannequinPainter(seed, difficulty), workers, show_progress)
        digest = _digest(unfinished, [shot for split in SUBJECTS for _, shot in shots[split]])
        unfinished.chmod(0o755)
        unfinished.replace(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return digest


def render_preset(
    out: Path, name: str, *, workers: int, painter: Painter | None = None, show_progress: bool = True
) -> bool | None:
    """`render_dataset` of a set in PRESETS; returns whether its pictures are byte for byte those of the definition.

    None where the definition has no checksum.

    Raises ConfigError for an unknown name.
    """
    preset = find_preset(name)
    digest = render_dataset(
        out, num_train=preset.num_train, num_valid=preset.num_valid, seed=preset.seed, workers=workers,
        difficulty=preset.difficulty, painter=painter, first_of=preset.first_of, show_progress=show_progress,
    )  # fmt: skip
    return digest == preset.sha256 if preset.sha256 else None


@dataclass(frozen=True)
class _RenderTask:
    """Some pictures of a split, each with its index in the whole set."""

    images: Path
    split: str
    painter: Painter
    shots: list[tuple[int, Shot]]


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
    painter: Painter,
    workers: int,
    show_progress: bool,
) -> None:
    annot, images = root / "annot", root / "images"
    annot.mkdir()
    images.mkdir()
    tasks = [
        _RenderTask(images, split, painter, shots[split][first : first + IMAGES_A_TASK])
        for split in SUBJECTS
        for first in range(0, len(shots[split]), IMAGES_A_TASK)
    ]
    results = run_tasks(
        _render,
        tasks,
        workers,
        unit="images",
        title="rendering",
        show_progress=show_progress,
        sizes=[len(task.shots) for task in tasks],
    )
    for split in SUBJECTS:
        rows = [row for task, of_task in zip(tasks, results, strict=True) if task.split == split for row in of_task]
        columns = {name: [row[name] for row in rows] for name in COLUMNS if name not in NOT_RENDERED}
        write_split(annot, split, [shot.file_name for _, shot in shots[split]], columns)


def _render(task: _RenderTask) -> list[dict[str, Any]]:
    """Write the pictures; returns a row of labels each."""
    rows: list[dict[str, Any]] = []
    for index, shot in task.shots:
        painted = task.painter.paint(task.split, index, shot)
        jpeg = simplejpeg.encode_jpeg(painted.image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
        (task.images / shot.file_name).write_bytes(jpeg)
        rows.append({**painted.labels, "subject": shot.subject, "action": shot.action})
    return rows
