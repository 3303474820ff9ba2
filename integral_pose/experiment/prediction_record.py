"""What predictions.csv is of: predictions.json says which checkpoint, by its checksum, and which data."""

import json
from pathlib import Path
from typing import Any

from integral_pose.data.course import PoseTable
from integral_pose.data.fingerprint import fingerprint
from integral_pose.errors import DataError
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.checkpoint_file import checksum_of
from integral_pose.io.untrusted import read_regular

LARGEST_RECORD_BYTES = 1_000_000
# A picture that was damaged since changes no other prediction.
UNIMPORTANT = ("sizes",)


def write_record(path: Path, checkpoint: Path, root: Path, table: PoseTable, settings: dict[str, Any]) -> None:
    """Written after everything else of a test, so that what it says is whole."""
    record = {
        "checkpoint": str(checkpoint), "checkpoint_checksum": checksum_of(checkpoint), "data_root": str(root),
        "data": fingerprint(table), **settings,
    }  # fmt: skip
    write_text_atomic(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """None where there is none, or none that can be read: then nothing is known."""
    try:
        record = json.loads(read_regular(path, LARGEST_RECORD_BYTES))
    except (OSError, ValueError, DataError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("data"), dict) else None


def is_of_checkpoint(record: dict[str, Any], checkpoint: Path) -> bool:
    """Whether the predictions were made by this very file, whatever its time stamp."""
    return record.get("checkpoint_checksum") == checksum_of(checkpoint)


def is_of_folder(record: dict[str, Any], root: Path) -> bool:
    """Whether the predictions are of the data set in this folder."""
    return isinstance(kept := record.get("data_root"), str) and Path(kept).resolve() == root.resolve()


def is_of_data(record: dict[str, Any], table: PoseTable) -> bool:
    """Whether the predictions are of these images and labels, wherever they lie."""
    found = fingerprint(table)
    return all(record["data"].get(part) == found[part] for part in found if part not in UNIMPORTANT)
