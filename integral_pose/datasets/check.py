"""check-data: read a data set critically, before a training does.

A finding is an offender (the set must not be used like this) or a remark; each says how many rows it concerns and
shows a few of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from integral_pose.datasets.check_labels import Finding, check_labels, check_names
from integral_pose.datasets.contact_sheet import COLUMNS, Crop, write_contact_sheet
from integral_pose.datasets.stored import StoredSplit, read_split
from integral_pose.errors import DataError
from integral_pose.io.images import decode_picture
from integral_pose.io.parallel import as_finished

SHEET_ROWS = 4
CHUNK = 500  # images a task
SHOWN = 5  # offenders of a kind


@dataclass
class Report:
    """What was found."""

    root: Path
    findings: list[Finding] = field(default_factory=list)
    sheet: Path | None = None

    @property
    def offenders(self) -> list[Finding]:
        """The findings that make the set unfit for use."""
        return [finding for finding in self.findings if finding.is_bad]

    def table(self) -> str:
        """One line a check, then the offenders one by one."""
        width = max((len(finding.check) for finding in self.findings), default=0)
        lines = [f"{f.split:<6} {f.check:<{width}}  {'BAD' if f.is_bad else 'ok':<4} {f.result}" for f in self.findings]
        for finding in self.offenders:
            lines += [
                f"\n{finding.split} {finding.check}: {finding.result}",
                *(f"  {row}" for row in finding.rows[:SHOWN]),
            ]
            if len(finding.rows) > SHOWN:
                lines.append(f"  and {len(finding.rows) - SHOWN:,} more")
        if self.sheet is not None:
            lines.append(f"\ncontact sheet: {self.sheet} (blue is the person's right, vermilion the left)")
        count = len(self.offenders)
        lines.append(
            f"{self.root}: " + (f"{count} of {len(self.findings)} checks failed" if count else "all checks passed")
        )
        return "\n".join(lines)


def check_data(root: Path, sheet: Path | None = None, *, workers: int = 1, show_progress: bool = True) -> Report:
    """Check the data set in `root` and write the contact sheet, if one is wanted.

    Raises DataError where there is no data set at all.
    """
    report = Report(root)
    splits: list[StoredSplit] = []
    for name in ("train", "valid"):
        try:
            split = read_split(root, name)
        except DataError as error:
            report.findings.append(Finding(name, "files", True, str(error)))
            continue
        if split is not None:
            splits.append(split)
    if not splits and not report.findings:
        raise DataError(f"{root}: holds no data set; expected annot/train_images.txt or annot/valid_images.txt in it")
    for split in splits:
        report.findings += check_names(split) + check_labels(split)
        report.findings += _check_images(split, workers, show_progress)
    report.findings += _check_subjects(splits)
    if sheet is None:
        return report
    crops = [crop for split in splits for crop in _pick(split, COLUMNS * SHEET_ROWS // len(splits))]
    if crops:
        write_contact_sheet(sheet, crops)
        report.sheet = sheet
    return report


class _Chunk(NamedTuple):
    split: StoredSplit
    first: int
    end: int


class _Decoded(NamedTuple):
    """What is known of a chunk's images once they are decoded."""

    sizes: Counter[tuple[int, int]]  # (width, height)
    odd: list[tuple[int, tuple[int, int]]]  # rows of every size but 256 x 256 and their size
    faults: list[str]
    digests: list[bytes]


def _check_images(split: StoredSplit, workers: int, show_progress: bool) -> list[Finding]:
    """Every image decodes, all have one size, none is there twice."""
    total = len(split.names)
    # A chunk travels to its worker without the labels, which it does not need.
    bare = StoredSplit(split.root, split.split, split.names, {}, split.packed)
    chunks = [_Chunk(bare, first, min(first + CHUNK, total)) for first in range(0, total, CHUNK)]
    parts: dict[int, _Decoded] = {}
    with (
        tqdm(total=total, unit=" images", desc=split.split, disable=not show_progress) as progress,
        as_finished(_decode, chunks, workers) as results,
    ):
        for chunk, decoded in results:
            parts[chunk.first] = decoded
            progress.update(chunk.end - chunk.first)
    ordered = [parts[first] for first in sorted(parts)]
    faults = [fault for part in ordered for fault in part.faults]
    sizes = sum((part.sizes for part in ordered), Counter())
    common = sizes.most_common(1)[0][0] if sizes else (0, 0)
    odd = [f"{split.names[row]}: {w} x {h} px" for part in ordered for row, (w, h) in part.odd if (w, h) != common]
    return [
        Finding(split.split, "images decode", bool(faults), f"{total - len(faults):,} of {total:,}", faults),
        Finding(split.split, "image size", bool(odd), f"{common[0]} x {common[1]} px, {len(odd):,} others", odd),
        _duplicates(split, [digest for part in ordered for digest in part.digests]),
    ]


def _decode(chunk: _Chunk) -> _Decoded:
    result = _Decoded(Counter(), [], [], [])
    for row in range(chunk.first, chunk.end):
        try:
            encoded, name = chunk.split.encoded(row)
            height, width = decode_picture(encoded, name).shape[:2]
        except DataError as error:
            result.faults.append(str(error))
            result.digests.append(b"")
            continue
        result.digests.append(hashlib.blake2b(encoded, digest_size=12).digest())
        result.sizes[width, height] += 1
        if (width, height) != (256, 256):
            result.odd.append((row, (width, height)))
    return result


def _duplicates(split: StoredSplit, digests: Sequence[bytes]) -> Finding:
    """Names listed twice are an error; equal pictures only a remark, since videos stand still at times."""
    first_row: dict[bytes, int] = {}
    same = [
        f"{split.names[row]} = {split.names[first_row[digest]]}"
        for row, digest in enumerate(digests)
        if digest and first_row.setdefault(digest, row) != row
    ]
    twice = [f"{name}: listed {count} times" for name, count in Counter(split.names).items() if count > 1]
    result = f"{len(twice):,} names listed twice, {len(same):,} pictures equal to an earlier one"
    return Finding(split.split, "duplicates", bool(twice), result, twice)


def _check_subjects(splits: Sequence[StoredSplit]) -> list[Finding]:
    """Nobody should be in both the training and the test set."""
    if len(splits) < 2:
        return []
    train, test = ({_subject(name) for name in split.names} for split in splits)
    both = sorted(train & test)
    result = f"{', '.join(sorted(train))} train; {', '.join(sorted(test))} test"
    return [Finding("both", "subjects apart", bool(both), result, [f"{name} is in both" for name in both])]


def _subject(name: str) -> str:
    return name.rpartition("/")[2].partition("_")[0]


def _pick(split: StoredSplit, count: int) -> list[Crop]:
    """Crops for the contact sheet, spread over the split; what cannot be read is left to the checks."""
    if not split.names:
        return []
    rows = np.unique(np.linspace(0, len(split.names) - 1, count).round().astype(int))
    crops = []
    joints_crop_px = split.columns.get("pose2d")
    for row in rows:
        try:
            picture = decode_picture(*split.encoded(row))
        except (DataError, IndexError):
            continue
        fits = joints_crop_px is not None and joints_crop_px.shape == (len(split.names), 17, 2)
        joints = joints_crop_px[row] if fits and joints_crop_px is not None else None
        crops.append(Crop(picture, joints, f"{split.split} {row}: {split.names[row].rpartition('/')[2]}"))
    return crops
