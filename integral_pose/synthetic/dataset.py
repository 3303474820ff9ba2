"""The embedded data set: rendered people with exact labels, in the course layout.

It needs no download, so that anybody can train and evaluate at once; the figures it gives say nothing about
real pictures. Every picture's randomness follows from (seed, split, index) alone: the same seed gives the
same bytes, whatever the number of workers and however often the rendering was interrupted.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import simplejpeg

from integral_pose.datasets.conversion import SPLITS, ConversionSummary, Request, convert
from integral_pose.datasets.recording import LabelledCrop
from integral_pose.errors import DataError
from integral_pose.io.labels import image_list_of
from integral_pose.io.readers import read_lines
from integral_pose.synthetic.painter import MannequinPainter, Painter
from integral_pose.synthetic.presets import EASY, Difficulty, find_preset
from integral_pose.synthetic.shots import Shot, list_shots

JPEG_QUALITY = 90
MOST_IMAGES = 2_000_000  # which are listed in memory
IMAGES_A_RECORDING = 40  # few enough to lose little at an end, many enough to hide what each costs


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
) -> ConversionSummary:
    """Write a data set of rendered people to the folder `out`, as `datasets.conversion.convert` does.

    `painter` None paints mannequins. With `first_of` its pictures are the same as in a set of so many training and test
    pictures. Raises DataError where `out` holds something else already, or where a number makes no sense.
    """
    counts = {"train": num_train, "valid": num_valid}
    for name, value, least, most in (("train", num_train, 1, MOST_IMAGES), ("valid", num_valid, 0, MOST_IMAGES),
                                     ("seed", seed, 0, math.inf), ("workers", workers, 1, math.inf)):  # fmt: skip
        if value < least:
            raise DataError(f"--{name} is {value}; it has to be {least} or more")
        if value > most:
            raise DataError(f"--{name} is {value:,}; it has to be {most:,} or less. Render several sets of other seeds")
    painter = painter or MannequinPainter(seed, difficulty)
    whole = dict(zip(counts, first_of or counts.values(), strict=True))
    recordings = [
        RenderedRecording(f"{first:06d}", split, painter, shots[first : first + IMAGES_A_RECORDING])
        for split in SPLITS
        for shots in [_indexed_shots(split, counts[split], whole[split])]
        for first in range(0, len(shots), IMAGES_A_RECORDING)
    ]
    request = Request(out, "synthetic", workers=workers, show_progress=show_progress, title="rendering")
    return convert(recordings, request, {**counts, "first_of": whole, **painter.settings()})


def render_preset(
    out: Path, name: str, *, workers: int, painter: Painter | None = None, show_progress: bool = True
) -> bool | None:
    """`render_dataset` of a set in PRESETS; returns whether its pictures are byte for byte those of the definition.

    None where the definition has no checksum.

    Raises ConfigError for an unknown name.
    """
    preset = find_preset(name)
    render_dataset(
        out, num_train=preset.num_train, num_valid=preset.num_valid, seed=preset.seed, workers=workers,
        difficulty=preset.difficulty, painter=painter, first_of=preset.first_of, show_progress=show_progress,
    )  # fmt: skip
    return pictures_sha256(out) == preset.sha256 if preset.sha256 else None


def pictures_sha256(root: Path) -> str:
    """Of all image files of a set, one after the other in the order of the lists, training first."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for name in read_lines(image_list_of(root / "annot" / f"{split}.h5")):
            digest.update((root / "images" / name).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class RenderedRecording:
    """Some pictures of a split, each with its index in the whole set."""

    name: str
    split: str
    painter: Painter
    shots: list[tuple[int, Shot]]

    @property
    def num_images(self) -> int:
        """How many there are."""
        return len(self.shots)

    def frames(self, _: list[str]) -> Iterator[LabelledCrop]:
        """The pictures in order."""
        for index, shot in self.shots:
            image, labels = self.painter.paint(self.split, index, shot)
            jpeg = simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
            yield LabelledCrop(
                jpeg, {**labels, "subject": shot.subject, "action": shot.action, "file_name": shot.file_name}
            )


def _indexed_shots(split: str, count: int, whole: int) -> list[tuple[int, Shot]]:
    """The `count` pictures dealt first of a set of `whole`, with their indices in it."""
    chosen = set(list_shots(split, count))
    return [(index, shot) for index, shot in enumerate(list_shots(split, whole)) if shot in chosen]
