"""Who is in a picture: by the column 'subject' of the labels, or else by the picture's path."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.io.readers import read_hdf5
from integral_pose.io.text_columns import SUBJECT, texts_of_column

_OFFICIAL = re.compile(r"(?P<set>T?S)(?P<number>\d+)_", re.ASCII)  # S1_Directions_1.54138969_000001.jpg
_NUMBERED = re.compile(r"s_(?P<number>\d+)_act_", re.ASCII)  # s_01_act_02_subact_01_ca_01_000001.jpg, as in 3DMPPE


def read_subjects(label_path: Path, names: Sequence[str]) -> NDArray[np.str_]:
    """(N,) Of each named image. Raises DataError where the column does not belong to the list."""
    stored = read_hdf5(label_path, (SUBJECT,)).get(SUBJECT) if label_path.exists() else None
    return subjects_of_column(stored, names, label_path)


def subjects_of_column(stored: NDArray[Any] | None, names: Sequence[str], label_path: Path) -> NDArray[np.str_]:
    """(N,) What the column says, text or numbers; by the paths of the images where there is none."""
    if stored is None:
        return np.array([subject_of_path(name) for name in names])
    return texts_of_column(stored, SUBJECT, len(names), label_path)


def is_guessed(name: str) -> bool:
    """Whether the path of an image says nothing but a folder or a word that may be a subject or not."""
    file_name = name.replace("\\", "/").rpartition("/")[2]
    return not (_OFFICIAL.match(file_name) or _NUMBERED.match(file_name))


def subject_of_path(name: str) -> str:
    """`S1` of Human3.6M's names and 3DMPPE's; else the first folder, or what comes before the first `_`."""
    *folders, file_name = name.replace("\\", "/").split("/")
    if official := _OFFICIAL.match(file_name):
        return f"{official['set']}{official['number']}"
    if numbered := _NUMBERED.match(file_name):
        return f"S{int(numbered['number'])}"
    return folders[0] if folders else file_name.partition("_")[0]
