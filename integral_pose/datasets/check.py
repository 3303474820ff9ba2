"""check-data: read a data set critically, before a training does.

A finding is an offender (the set must not be used like this) or a remark; each says how many rows it concerns and
shows a few of them.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from integral_pose.data.course import read_test, read_train
from integral_pose.data.pose_statistics import read_statistics
from integral_pose.datasets.check_labels import Finding, check_labels, check_names, wrong_shape, wrong_visible
from integral_pose.datasets.contact_sheet import COLUMNS, Cell, write_contact_sheet
from integral_pose.datasets.stored import StoredSplit, read_split
from integral_pose.errors import DataError
from integral_pose.io.images import decode_picture
from integral_pose.io.parallel import run_tasks

SHEET_ROWS = 4
IMAGES_A_TASK = 500
DEFAULT_STORED_PX = 256  # data.stored_size where a configuration does not say it
SHOWN = 5  # offenders of a kind


@dataclass
class CheckReport:
    """What the checks found."""

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


def check_data(root: Path, sheet: Path | None = None, *, workers: int = 1, show_progress: bool = True) -> CheckReport:
    """Check the data set in `root` and write the contact sheet, if one is wanted.

    Raises DataError where there is no data set at all.
    """
    report = CheckReport(root)
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
    sizes_px = {}
    for split in splits:
        of_images, sizes_px[split.split] = _check_images(split, workers, show_progress)
        findings = check_names(split) + check_labels(split, sizes_px[split.split]) + of_images
        report.findings += findings if any(f.is_bad for f in findings) else [*findings, _check_loading(split)]
    report.findings += _check_sizes(sizes_px) + _check_subjects(splits)
    if sheet is None:
        return report
    crops = [crop for split in splits for crop in _pick(split, COLUMNS * SHEET_ROWS // len(splits))]
    if crops:
        write_contact_sheet(sheet, crops, splits[0].skeleton)
        report.sheet = sheet
    return report


class _Image(NamedTuple):
    """What is known of an image once it is decoded."""

    fault: str | None
    size_px: tuple[int, int] = (0, 0)  # width, height
    digest: bytes = b""


def _check_loading(split: StoredSplit) -> Finding:
    """What training and test say of the split, which the other checks found nothing wrong with."""
    try:
        table = {"train": read_train, "valid": read_test}[split.split](split.root)
        if split.split == "train" and not split.is_flat:
            read_statistics(split.root)
    except DataError as error:
        return Finding(split.split, "loads", True, str(error))
    return Finding(split.split, "loads", False, f"{len(table):,} as {split.split} data")


def _check_sizes(sizes_px: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Training and test take square crops of one size, `data.stored_size`."""
    found = sorted(set(sizes_px.values()))
    shown = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes_px.items())
    if len(found) > 1:
        return [Finding("both", "one image size", True, f"{shown}; crop all images to one size")]
    if not found:  # no split can be read
        return []
    width, height = found[0]
    if width != height:
        return [Finding("both", "one image size", True, f"{shown}; crops have to be square")]
    hint = "" if width == DEFAULT_STORED_PX else f"; to be used with data.stored_size={width}"
    return [Finding("both", "one image size", False, f"{shown}{hint}")]


def _check_images(split: StoredSplit, workers: int, show_progress: bool) -> tuple[list[Finding], tuple[int, int]]:
    """Every image decodes, all have one size, none is there twice; and the width and height that most have."""
    total = len(split.names)
    parts = [split.images_only(first, first + IMAGES_A_TASK) for first in range(0, total, IMAGES_A_TASK)]
    results = run_tasks(_decode, parts, workers, unit="images", title=split.split, show_progress=show_progress,
                        sizes=[len(part.names) for part in parts])  # fmt: skip
    images = [image for part in results for image in part]
    faults = [image.fault for image in images if image.fault]
    sizes = Counter(image.size_px for image in images if not image.fault)
    common = sizes.most_common(1)[0][0] if sizes else (0, 0)
    odd = [
        f"{name}: {image.size_px[0]} x {image.size_px[1]} px"
        for name, image in zip(split.names, images, strict=True)
        if not image.fault and image.size_px != common
    ]
    findings = [
        Finding(split.split, "images decode", bool(faults), f"{total - len(faults):,} of {total:,}", faults),
        Finding(split.split, "image size", bool(odd), f"{common[0]} x {common[1]} px, {len(odd):,} others", odd),
        _duplicates(split, [image.digest for image in images]),
    ]
    return findings, common


def _decode(split: StoredSplit) -> list[_Image]:
    images = []
    for row in range(len(split.names)):
        try:
            encoded, name = split.encoded(row)
            height, width = decode_picture(encoded, name).shape[:2]
        except DataError as error:
            images.append(_Image(str(error)))
        else:
            images.append(_Image(None, (width, height), hashlib.blake2b(encoded, digest_size=12).digest()))
    return images


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
    """Nobody should be in both the training and the test set; who is guessed from a path is a remark."""
    if len(splits) < 2:
        return []
    train, test = (set(split.subjects.tolist()) for split in splits)
    both = sorted(train & test & splits[0].certain_subjects & splits[1].certain_subjects)
    result = f"{', '.join(sorted(train))} train; {', '.join(sorted(test))} test"
    if guessed := sorted((train & test).difference(both)):
        result += f"; {', '.join(guessed)} in both, as guessed from the paths: say who it is in a column 'subject'"
    return [Finding("both", "subjects apart", bool(both), result, [f"{name} is in both" for name in both])]


def _pick(split: StoredSplit, count: int) -> list[Cell]:
    """Crops for the contact sheet, spread over the split; what cannot be read is left to the checks."""
    if not split.names:
        return []
    joints_crop_px = None if wrong_shape(split, "pose2d", 2) or wrong_visible(split) else split.joints("pose2d")
    cells = []
    for row in np.unique(np.linspace(0, len(split.names) - 1, count).round().astype(int)):
        with suppress(DataError):
            picture = decode_picture(*split.encoded(row))
            title = f"{split.split} {row}: {split.names[row].rpartition('/')[2]}"
            cells.append(Cell(picture, None if joints_crop_px is None else joints_crop_px[row], title))
    return cells
