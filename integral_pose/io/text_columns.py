"""Columns of a label file that say in words or numbers what a picture is of, a row a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.io.readers import read_hdf5

SUBJECT, SEQUENCE = "subject", "sequence"


def texts_of_column(stored: NDArray[Any], name: str, num_images: int, label_path: Path) -> NDArray[np.str_]:
    """(N,) The column `name`, of text or numbers. Raises DataError where it is of another length."""
    if stored.shape != (num_images,):
        raise DataError(f"{label_path}: '{name}' has the shape {stored.shape}, expected ({num_images:,},)")
    return np.array([value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in stored])


def read_sequences(label_path: Path, num_images: int) -> NDArray[np.str_] | None:
    """(N,) The recording that each picture is of; None where the file does not say it.

    Recordings of two subjects are two, whatever the column calls them.
    """
    columns = {
        name: texts_of_column(stored, name, num_images, label_path)
        for name, stored in read_hdf5(label_path, (SUBJECT, SEQUENCE)).items()
    }
    if SEQUENCE not in columns:
        return None
    if SUBJECT not in columns:
        return columns[SEQUENCE]
    return np.array([f"{subject} {name}" for subject, name in zip(columns[SUBJECT], columns[SEQUENCE], strict=True)])
