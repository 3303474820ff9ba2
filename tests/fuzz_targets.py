"""Parsers as functions of bytes, for fuzzing: they return a value or raise an IntegralPoseError.

Used with small budgets by `test_fuzz` and with large ones by `scripts/fuzz.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from PIL import Image

from integral_pose.config.loading import load_config_text
from integral_pose.data.course import read_test
from integral_pose.data.image_source import read_image_list
from integral_pose.errors import IntegralPoseError
from integral_pose.evaluation.predictions_csv import read_predictions_csv, write_predictions_csv
from integral_pose.io.checkpoint_file import load_checkpoint, save_checkpoint
from integral_pose.io.images import decode_picture
from integral_pose.io.readers import read_hdf5, read_json, read_npz, read_pickle
from integral_pose.predict.boxes import BoxesFile
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights.translation import read_other_project
from tests.conftest import STANDING_MM

# Metadata of one entry: the orientation 6, a quarter turn.
TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
REPOSITORY = Path(__file__).parent.parent
_OWN = tempfile.TemporaryDirectory(prefix="fuzz-")  # removed when the process ends
FOLDER = Path(_OWN.name)


class Target(NamedTuple):
    """A parser and a valid file for it."""

    read: Callable[[bytes], object]
    seed: Callable[[], bytes]


def _by_file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    def parse(content: bytes) -> object:
        path = FOLDER / name
        path.write_bytes(content)
        return read(path)

    return parse


def _written(write: Callable[[Path], object], name: str) -> Callable[[], bytes]:
    def make() -> bytes:
        path = FOLDER / f"seed.{name}"
        write(path)
        return path.read_bytes()

    return make


def _poses(path: Path) -> None:
    write_predictions_csv(path, 20 * np.arange(102.0).reshape(2, 17, 3), HUMAN36M)


def _labels(path: Path) -> None:
    poses_mm = np.stack([STANDING_MM, STANDING_MM]).astype("f4")
    with h5py.File(path, "w") as file:
        file["pose2d"], file["pose3d"] = 128 + poses_mm[..., :2] / 10, poses_mm


def _read_course(content: bytes) -> object:
    root = FOLDER / "course"
    for name in ("annot", "images"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "images/a.jpg").write_bytes(b"")
    (root / "annot/valid_images.txt").write_text("a.jpg\na.jpg\n")
    (root / "annot/valid.h5").write_bytes(content)
    return read_test(root)


def _picture(form: str, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        content = io.BytesIO()
        pixels = np.arange(3 * 16**2).astype(np.uint8)
        Image.fromarray(pixels.reshape(16, 16, 3)).save(content, form, **options)
        return content.getvalue()

    return make


def _config(content: bytes) -> object:
    return load_config_text(content.decode("utf-8", "replace"), "fuzz.yaml", ())


TARGETS = {
    "config": Target(_config, lambda: (REPOSITORY / "configs/demo.yaml").read_bytes()),
    "csv": Target(_by_file(partial(read_predictions_csv, skeleton=HUMAN36M), "p.csv"),
                  _written(_poses, "csv")),
    "csv.gz": Target(_by_file(partial(read_predictions_csv, skeleton=HUMAN36M), "p.csv.gz"),
                     _written(_poses, "csv.gz")),
    "labels": Target(_read_course, _written(_labels, "h5")),
    "hdf5": Target(_by_file(lambda path: read_hdf5(path, ("pose3d",)), "any.h5"), _written(_labels, "h5")),
    "image list": Target(_by_file(lambda path: read_image_list(path, FOLDER, are_files=False), "list.txt"),
                         lambda: b"S9/a.jpg\nS9/b.jpg\n"),
    **{
        f"image {form}": Target(lambda content: decode_picture(content, "a"), _picture(form))
        for form in ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
    },
    "turned JPEG": Target(lambda content: decode_picture(content, "a"),
                          _picture("JPEG", exif=TURNED)),
    "boxes json": Target(_by_file(BoxesFile, "b.json"), lambda: json.dumps({"a.jpg": [[1, 2, 3, 4]]}).encode()),
    "boxes csv": Target(_by_file(BoxesFile, "b.csv"), lambda: b"file,x,y,w,h\na.jpg,1,2,3,4\n"),
    "npz": Target(_by_file(read_npz, "a.npz"), _written(lambda path: np.savez(path.open("wb"), S=np.ones(3)), "npz")),
    "pickle": Target(_by_file(read_pickle, "a.pkl"), lambda: pickle.dumps({("S1", "5"): {"R": np.ones(3), "n": 1}})),
    "json": Target(_by_file(read_json, "a.json"), lambda: json.dumps({"a": [1, {"b": None}]}).encode()),
    "checkpoint": Target(_by_file(load_checkpoint, "a.pt"),
                         _written(lambda path: save_checkpoint(path, {"model": {"w": torch.ones(3)}}), "pt")),
    "weights": Target(_by_file(read_other_project, "b.pth"),
                      _written(lambda path: torch.save({"network": {"module.w": torch.ones(3)}}, path), "pth")),
    "old weights": Target(_by_file(read_other_project, "c.pth"),
                          _written(lambda path: torch.save({"network": {"module.w": torch.ones(3)}, "epoch": 3}, path,
                                                           _use_new_zipfile_serialization=False), "old.pth")),
}  # fmt: skip


def refuses_or_reads(name: str, content: bytes) -> None:
    """Raise whatever the parser raises but IntegralPoseError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(IntegralPoseError):
            TARGETS[name].read(content)
