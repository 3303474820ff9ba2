"""The CSV of predictions: one row an image, one column a joint and axis, in mm from the root."""

import csv
import gzip
import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import FloatArray
from integral_pose.errors import DataError
from integral_pose.geometry.coordinates import root_relative
from integral_pose.io.atomic import atomic_write
from integral_pose.io.readers import read_text
from integral_pose.skeleton import Skeleton

# Nine significant digits are the fewest that give every float32 back exactly.
NUMBER_FORMAT = "%.9g"
# Half a torso is some 250 mm: a file without any coordinate this far from the root is in another unit.
LEAST_PLAUSIBLE_MM = 200.0
UNITS = ((3.0, "metres"), (90.0, "inches"), (LEAST_PLAUSIBLE_MM, "centimetres"))  # a person's reach is below each
MOST_PLAUSIBLE_MM = 5000.0  # people are half as tall

PathLike = str | os.PathLike[str]


def csv_header(skeleton: Skeleton, columns: Sequence[str] = "xyz") -> list[str]:
    """Id, Hip_x, Hip_y, Hip_z, RHip_x, .."""
    return ["Id", *(f"{name}_{column}" for name in skeleton.names for column in columns)]


def write_predictions_csv(path: PathLike, joints_camera_mm: FloatArray, skeleton: Skeleton) -> None:
    """Write (N, J, 3) poses in the order of the data set, Ids from 1, as float32 in NUMBER_FORMAT.

    The root is subtracted (nothing changes for root-relative poses). Compressed where the name ends in .gz;
    the same poses give the same bytes. The file appears whole or not at all. Raises DataError for a value
    that is not finite and for an array of another shape.
    """
    joints_mm = np.asarray(joints_camera_mm, dtype=np.float32)
    if joints_mm.ndim != 3 or joints_mm.shape[1:] != (skeleton.num_joints, 3):
        raise DataError(f"{path}: expected poses (N, {skeleton.num_joints}, 3), found {joints_mm.shape}")
    bad = ~np.isfinite(joints_mm).all(axis=(1, 2))
    if bad.any():
        raise DataError(f"{path}: not written, the pose of row {int(np.argmax(bad))} is NaN or infinite")
    values = root_relative(joints_mm, skeleton.root).reshape(len(joints_mm), -1) + np.float32(0)  # no "-0"
    _write(path, csv_header(skeleton), values)


def write_confidence_csv(path: PathLike, confidence: NDArray[np.float32], skeleton: Skeleton) -> None:
    """Write (N, J, 2) as Id, Hip_mass, Hip_entropy, RHip_mass, ..; rows and bytes as in `write_predictions_csv`."""
    if confidence.shape[1:] != (skeleton.num_joints, 2):
        raise DataError(f"{path}: expected confidences (N, {skeleton.num_joints}, 2), found {confidence.shape}")
    _write(path, csv_header(skeleton, ("mass", "entropy")), confidence.reshape(len(confidence), -1))


def write_sigma_csv(path: PathLike, sigma_mm: NDArray[np.float32], skeleton: Skeleton) -> None:
    """Write (N, J) as Id, Hip_sigma, RHip_sigma, .. in mm; rows and bytes as in `write_predictions_csv`."""
    if sigma_mm.shape[1:] != (skeleton.num_joints,):
        raise DataError(f"{path}: expected standard deviations (N, {skeleton.num_joints}), found {sigma_mm.shape}")
    _write(path, csv_header(skeleton, ("sigma",)), sigma_mm)


def _write(path: PathLike, header: Sequence[str], values: NDArray[np.float32]) -> None:
    """Rows (N, columns) behind Ids from 1."""
    row_format = "%d" + f",{NUMBER_FORMAT}" * values.shape[1]
    with atomic_write(path) as file, ExitStack() as stack:
        output: IO[bytes] | gzip.GzipFile = file
        if Path(path).suffix == ".gz":
            # Neither name nor time in the header, so that the bytes follow from the poses alone.
            output = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0))
        table = np.column_stack([np.arange(1, len(values) + 1), values.astype(np.float64)])
        np.savetxt(output, table, row_format, header=",".join(header), comments="")


def read_predictions_csv(path: PathLike, skeleton: Skeleton) -> NDArray[np.float32]:
    """(N, J, 3) float32 mm in the order of the Ids, from a plain or gzipped file; the rows may be in any order.

    Raises DataError, naming line and column, for another header, a value that is no finite number, and Ids
    that are not 1 to N each once. Warns where the numbers look like another unit.
    """
    lines = [line.strip() for line in _read_text(path).splitlines()]
    if not any(lines):
        raise DataError(f"{path}: the file is empty; expected a header line and one line an image")
    if any('"' in line for line in lines):
        lines = _unquoted(lines, path)
    _check_header([name.strip() for name in lines[0].split(",")], path, skeleton)
    if not any(lines[1:]):
        raise DataError(f"{path}: there is no row below the header; expected one line an image")
    try:
        table = np.loadtxt(lines[1:], delimiter=",", dtype=np.float64, comments=None, ndmin=2)
    except ValueError as error:
        _raise_for_bad_line(lines, path)
        raise DataError(f"{path}: {error}") from error
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(table.astype(np.float32)).all())
    if table.shape[1] != len(csv_header(skeleton)) or not finite:
        _raise_for_bad_line(lines, path)
    joints_mm = table[_id_order(table[:, 0], path), 1:].astype(np.float32)
    joints_mm = joints_mm.reshape(len(joints_mm), skeleton.num_joints, 3)
    _warn_if_not_mm(root_relative(joints_mm, skeleton.root), path)
    return joints_mm


def predicted_joints(path: PathLike, skeleton: Skeleton) -> Skeleton:
    """The joints of a file of predictions, where they are some of the skeleton's, its root among them; else all of it.

    Of those `read_predictions_csv` then says what is wrong. Raises DataError as it does where the file cannot be read.
    """
    columns = [name.strip(' "') for name in _read_text(path).partition("\n")[0].strip().split(",")]
    names = [name for name in skeleton.names if f"{name}_x" in columns]
    some = skeleton.of_joints(names) if skeleton.names[skeleton.root] in names else skeleton
    return some if columns == csv_header(some) else skeleton


def _read_text(path: PathLike) -> str:
    """The file's text, unpacked by content rather than name; DataError where it cannot be read."""
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file ({error}); expected CSV as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if "\0" in text:
        raise DataError(f"{path}: not a text file (it holds NUL bytes); expected CSV as UTF-8")
    return text


def _check_header(found: list[str], path: PathLike, skeleton: Skeleton) -> None:
    """Raise DataError naming the first column that is not what the skeleton asks for."""
    expected = csv_header(skeleton)
    if found == expected:
        return
    column = next((i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), None)
    if column is None:
        missing = f"; '{expected[len(found)]}' is the first that is missing" if len(found) < len(expected) else ""
        raise DataError(f"{path}: the header has {len(found)} columns, expected {len(expected)}{missing}")
    separator = next((other for other in ";\t" if len(found) == 1 and found[0].count(other) > 1), None)
    if separator:
        raise DataError(f"{path}: the columns are separated by {separator!r}, expected ',' (and '.' for decimals)")
    if all(_is_finite_number(name) for name in found):
        raise DataError(f"{path}: there is no header, the first line holds numbers; expected {expected[0]},"
                        f"{expected[1]},{expected[2]},..")  # fmt: skip
    reordered = " (the same columns in another order)" if sorted(found) == sorted(expected) else ""
    raise DataError(
        f"{path}: column {column + 1} of the header is {_shown(found[column])}, expected '{expected[column]}'"
        f"{reordered}; the order is Id, then x, y, z of {', '.join(skeleton.names)}"
    )


def _unquoted(lines: list[str], path: PathLike) -> list[str]:
    """Lines of which some fields stand in quotes, as other writers do it, without them."""
    plain: list[str] = []
    try:
        for fields in csv.reader(lines):
            if comma := next((field for field in fields if "," in field), None):
                raise DataError(
                    f"{path}, line {len(plain) + 1}: {_shown(comma)} has a comma inside quotes; numbers take no "
                    "thousands separators"
                )
            plain.append(",".join(fields))
    except csv.Error as error:
        raise DataError(f"{path}, line {len(plain) + 1}: its quotes cannot be read ({error})") from None
    return plain


def _raise_for_bad_line(lines: list[str], path: PathLike) -> None:
    """Raise DataError for the first line below the header with a wrong count or a value that is no number."""
    header = lines[0].split(",")
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(",")
        if len(fields) != len(header) and line.strip():
            raise DataError(f"{path}, line {number}: {len(fields)} columns, expected {len(header)}")
        for column, text in zip(header, fields, strict=False):
            if line.strip() and not _is_finite_number(text):
                raise DataError(f"{path}, line {number}: {column} is {_shown(text)}, expected a finite number")


def _shown(text: str) -> str:
    """In quotes, cut where it is long; what terminals obey is written out."""
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}.."


def _is_finite_number(text: str) -> bool:
    try:
        # As float32, since 1e39 fits a float64 but not what the file is read into.
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(text))) and "_" not in text
    except ValueError:
        return False


def _id_order(ids: NDArray[np.float64], path: PathLike) -> NDArray[np.int64]:
    """Positions of Ids 1 to N; DataError where one is missing, double or no whole number."""
    order = np.argsort(ids, kind="stable")
    ordered, expected = ids[order], np.arange(1, len(ids) + 1)
    if np.array_equal(ordered, expected):
        return order
    fractions = ids[ids != np.floor(ids)]
    if len(fractions):
        raise DataError(f"{path}: Id {fractions[0]:g} is no whole number")
    repeated = ordered[1:][np.diff(ordered) == 0]
    if len(repeated):
        raise DataError(f"{path}: Id {repeated[0]:.0f} stands there more than once")
    wrong = int(np.argmax(ordered != expected))
    if ordered[wrong] < 1:
        raise DataError(f"{path}: there is an Id {ordered[wrong]:.0f}; Ids count from 1")
    raise DataError(f"{path}: Id {wrong + 1} is missing; {len(ids)} rows should have Ids 1 to {len(ids)}")


def _warn_if_not_mm(joints_mm: NDArray[np.float32], path: PathLike) -> None:
    """Warn where poses, root-relative, are too small or too large for people."""
    largest = float(np.abs(joints_mm).max())
    doubt = None
    if largest == 0:
        doubt = "every coordinate is that of the root joint. Is the file a template?"
    elif largest < LEAST_PLAUSIBLE_MM:
        unit = next(name for bound, name in UNITS if largest < bound)
        doubt = f"the largest coordinate is {largest:g}. Is the file in {unit}? Expected mm."
    elif largest > MOST_PLAUSIBLE_MM:
        doubt = f"the largest coordinate is {largest:g} mm from the root joint, farther than people reach. Expected mm."
    if doubt:
        warnings.warn(f"{path}: {doubt}", stacklevel=3)
