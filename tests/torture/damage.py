"""Flipped bits, hostile files, and data that changed between a kill and the next start."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_checkpoint
from tests.conftest import write_course
from tests.torture.trials import Trials, wait_for_saves

FLIPS = "flipped bit in a checkpoint: found"
REFUSED = "hostile file: refused in under 0.1 s and 50 MB"
CHANGED = "data changed between kill and start: refused with what differs, nothing written"
AFTERWARDS = "data changed and put back: final state equal, bit for bit"


def flip_a_bit(trials: Trials) -> None:
    """Change one bit of a checkpoint and try to load it."""
    content = bytearray((trials.folder / "whole/last.pt").read_bytes())
    at, bit = trials.random.randrange(len(content)), trials.random.randrange(8)
    content[at] ^= 1 << bit
    path = trials.folder / "flipped.pt"
    path.write_bytes(content)
    try:
        load_checkpoint(path)
        trials.count(FLIPS).check(False, f"bit {bit} of byte {at} of {len(content)} was not noticed")
    except CheckpointError:
        trials.count(FLIPS).check(True, "")


def try_hostile_files(trials: Trials) -> None:
    """Every file of tests/test_hostile.py once."""
    from tests.test_hostile import CASES, import_everything, test_hostile_files_are_refused

    import_everything()
    for name in CASES:
        with tempfile.TemporaryDirectory(dir=trials.folder) as folder:
            fault = ""
            try:
                test_hostile_files_are_refused(name, Path(folder))
            except BaseException as error:  # pytest's own "did not raise" is no Exception
                fault = f"{name}: {error!r}"
            trials.count(REFUSED).check(not fault, fault)


def change_data(trials: Trials) -> None:
    """Kill a run, change its data in one way after the other, put it back, and let the run end."""
    run = trials.new_run("changed")
    data = write_course(trials.folder / f"{run.name}.data")
    yaml = trials.write_yaml(run.name, data)
    process = trials.start(run, yaml=yaml)
    wait_for_saves(process, run, trials.random.randint(1, 3))
    process.send(signal.SIGKILL)
    process.wait()
    for change, told in CHANGES.items():
        kept = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
        before = {path: path.read_bytes() for path in run.rglob("*") if path.suffix in (".pt", ".json", ".yaml")}
        change(data)
        said = trials.folder / f"{run.name}.{change.__name__}"
        process = trials.start(run, yaml=yaml, said=said)
        refused = trials.ends(process, [5], run.name) and told in process.said
        same = all(path.read_bytes() == content for path, content in before.items() if path.name != "status.json")
        trials.count(CHANGED).check(refused and same, f"{change.__name__}: status {process.exit_code}, {process.said}")
        for path, content in kept.items():
            path.write_bytes(content)
    trials.continues_to_the_same(AFTERWARDS, run, yaml=yaml)


def a_label_moved(data: Path) -> None:
    """One joint of one training image by a millimetre."""
    with h5py.File(data / "annot/train.h5", "r+") as file:
        file["pose3d"][0, 3, 0] += np.float32(1)


def two_images_exchanged(data: Path) -> None:
    """In the list alone, so that both have the other one's labels."""
    path = data / "annot/train_images.txt"
    first, second, *others = path.read_text().splitlines()
    path.write_text("\n".join([second, first, *others]) + "\n")


def an_image_gone(data: Path) -> None:
    """With its labels."""
    path = data / "annot/train_images.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    with h5py.File(data / "annot/train.h5", "r+") as file:
        for name in ("pose2d", "pose3d"):
            kept = file[name][1:]
            del file[name]
            file[name] = kept


def another_picture(data: Path) -> None:
    """Under the name of one, with another size in bytes."""
    first, second, *_ = sorted((data / "images").glob("S5_*"))
    first.write_bytes(second.read_bytes())


def a_held_out_label_moved(data: Path) -> None:
    """One joint of S8, which is held out."""
    names = (data / "annot/train_images.txt").read_text().splitlines()
    row = next(at for at, name in enumerate(names) if name.startswith("S8"))
    with h5py.File(data / "annot/train.h5", "r+") as file:
        file["pose3d"][row, 3, 0] += np.float32(1)


CHANGES: dict[Callable[[Path], None], str] = {
    a_label_moved: "training images: other labels in mm",
    two_images_exchanged: "training images: the same images, listed in another order now",
    an_image_gone: "training images: 8 images there, 7 now",
    another_picture: "training images: the same names, but the image files have other sizes",
    a_held_out_label_moved: "held-out images: other labels in mm",
}
