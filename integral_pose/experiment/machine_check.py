"""What a run needs of the machine, looked at before it starts: one line a check, with advice where it falls short."""

import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from integral_pose.data.course import read_test, read_train
from integral_pose.errors import ConfigError, IntegralPoseError, OutputError
from integral_pose.heatmaps.backends.compiler import CompilerUnavailableError, load_library
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.devices import choose_device, why_no_gpu
from integral_pose.runs.lock import FolderLock

Verdict = Literal["ok", "note", "BAD"]

PACKAGES = ("torch", "torchvision", "numpy", "h5py", "pydantic", "simplejpeg", "pillow", "tensorboard")
OLDEST_TORCH = (2, 10)  # CVE-2026-24747: until then a checkpoint could break out of `weights_only`
LEAST_DISK_BYTES = 5e9  # three checkpoints of a ResNet-50 with Adam and average, and the pictures
LEAST_SHARED_BYTES = 1e9  # batches travel from the workers through /dev/shm
LEAST_FILES = 1024


class Check(NamedTuple):
    """One thing that was looked at; BAD means that a run would fail."""

    name: str
    verdict: Verdict
    finding: str
    advice: str = ""


def check_machine(data_root: Path | None, run_dir: Path) -> list[Check]:
    """Look at the machine, the data set and the folder that runs are written to."""
    place = next(folder for folder in (run_dir.absolute(), *run_dir.absolute().parents) if folder.exists())
    checks = [*_software(), _gpu(), _compiler(), *_limits(), _disk(place), _run_folder(run_dir, place)]
    return [*checks, *(_data(data_root) if data_root else [])]


def _software() -> Iterator[Check]:
    fits = sys.version_info >= (3, 11)
    yield Check("python", "ok" if fits else "BAD", f"{platform.python_version()}, {sys.executable}",
                "" if fits else "install Python 3.11 or newer")  # fmt: skip
    for package in PACKAGES:
        try:
            yield Check(package, "ok", version(package))
        except PackageNotFoundError:
            yield Check(package, "BAD", "not installed", "run scripts/setup.sh")
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < OLDEST_TORCH:
        yield Check("torch is safe", "BAD", torch.__version__, "a checkpoint can run code before 2.10: install a newer")


def _gpu() -> Check:
    try:
        device = choose_device("auto")
    except ConfigError as error:
        fault, _, advice = str(error).partition(". ")
        return Check("GPU", "BAD", fault, advice)
    if device.type == "cpu":
        return Check("GPU", "note", why_no_gpu().text, "training runs on the CPU; for a GPU look at nvidia-smi")
    names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return Check("GPU", "ok", ", ".join(f"{each.name} {each.total_memory / 1e9:.0f} GB" for each in names))


def _compiler() -> Check:
    try:
        load_library()
    except CompilerUnavailableError as error:
        return Check("CPU kernels", "note", str(error).splitlines()[0], "install g++ or clang, or set CXX; the plain "
                     "PyTorch form is used until then, which is slower")  # fmt: skip
    return Check("CPU kernels", "ok", "compiled")


def _limits() -> Iterator[Check]:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = files < LEAST_FILES
    yield Check("open files", "note" if few else "ok", f"{files:,}",
                f"ulimit -n {LEAST_FILES}, or fewer data.workers" if few else "")  # fmt: skip
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("CPU cores", "ok", f"{cores}, good for data.workers={max(cores - 1, 1)}")
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        short = free < LEAST_SHARED_BYTES
        yield Check("/dev/shm", "note" if short else "ok", f"{free / 1e9:.1f} GB free",
                    "start the container with --shm-size=8g, or set data.workers=0" if short else "")  # fmt: skip


def _disk(place: Path) -> Check:
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("disk", "BAD", f"{place}: {error.strerror}", "choose another folder with --run-dir DIR")
    short = free < LEAST_DISK_BYTES
    return Check("disk", "note" if short else "ok", f"{free / 1e9:.1f} GB free at {place}",
                 f"make room: a long run needs about {LEAST_DISK_BYTES / 1e9:.0f} GB" if short else "")  # fmt: skip


def _run_folder(run_dir: Path, place: Path) -> Check:
    """By what a run does there: permissions alone say nothing to root and on network file systems."""
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".integral-pose-") as probe:
            lock = FolderLock(Path(probe))
            lock.acquire()
            try:
                for _ in range(2):
                    write_text_atomic(Path(probe) / "last.pt", "integral-pose")
            finally:
                lock.release()
    except (OSError, OutputError) as error:
        fault = error.strerror if isinstance(error, OSError) else error
        finding = f"{run_dir}: cannot be written: {fault}"
        return Check("run folder", "BAD", finding, "choose another folder: run_dir=DIR")
    return Check("run folder", "ok", f"{run_dir} can be written")


def _data(root: Path) -> Iterator[Check]:
    for name, read in (("training data", read_train), ("test data", read_test)):
        try:
            split = read(root)
        except IntegralPoseError as error:
            yield Check(name, "BAD", str(error), f"integral-pose check-data {root} reads it critically")
            continue
        labels = "with labels" if split.has_labels else "without labels"
        yield Check(name, "ok", f"{len(split):,} images {labels} in {root}")
