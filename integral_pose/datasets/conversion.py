"""What all converters do with the recordings they found: recordings -> crops and labels in the course layout.

The work is done in `.NAME.unfinished` beside the output, recording by recording. Whatever is finished there is not
redone by the next start with the same settings; the output itself appears at the end, whole.
"""

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.frame_labels import crop_frame
from integral_pose.datasets.recording import Recording
from integral_pose.datasets.writer import JpegFiles, write_split
from integral_pose.errors import ConfigError, DataError
from integral_pose.io.atomic import atomic_write, held_alone, sync_file_system, sync_folder, write_text_atomic
from integral_pose.io.parallel import run_tasks

CROPS = ("c2f", "tight", "posenet", "metric")
LAYOUTS = ("files", "packed")
SPLITS = ("train", "valid")
BYTES_PER_IMAGE = 20_000  # above the mean of 256 x 256 JPEG files of quality 90
PREPARED = "prepared.json"  # in annot/: how the set was made


@dataclass(frozen=True)
class Request:
    """What to write, where and how."""

    out: Path
    source: str  # name of the converter
    layout: str = "files"
    crop: str = "c2f"
    workers: int = 1
    show_progress: bool = True
    title: str = "converting"  # of the progress

    def check(self) -> None:
        """Raise ConfigError for unknown names."""
        for option, value, known in (("layout", self.layout, LAYOUTS), ("crop", self.crop, CROPS)):
            if value not in known:
                raise ConfigError(f"--{option} '{value}' is unknown; known: {', '.join(known)}")

    @property
    def unfinished(self) -> Path:
        """Where the work is done."""
        return self.out.parent / f".{self.out.name}.unfinished"


@dataclass(frozen=True)
class ConversionSummary:
    """What a conversion wrote."""

    num_train: int
    num_valid: int
    notes: list[str]
    was_complete: bool = False  # by an earlier run


def convert(
    recordings: Sequence[Recording], request: Request, settings: dict[str, Any], beside: Mapping[str, str] | None = None
) -> ConversionSummary:
    """Write the recordings as a data set; `settings` are the converter's own options, kept with the set.

    `beside` are further files of annot/, by name their text.

    Raises DataError naming the file at fault; what was finished until then is used by the next start.
    """
    request.check()
    settings = {"source": request.source, "layout": request.layout, "crop": request.crop, **settings}
    settings["images"] = sum(recording.num_images for recording in recordings)
    if (finished := _already_there(request.out, settings)) is not None:
        return finished
    if not recordings:
        raise DataError("the source holds nothing to convert")
    try:
        with held_alone(request.unfinished.with_suffix(".lock")) as is_alone:
            if not is_alone:
                raise DataError(f"{request.out}: is just being written by another process; wait for it to end")
            finished = _already_there(request.out, settings)  # by one that has just ended
            return finished or _convert_all(recordings, request, settings, beside or {})
    except OSError as error:
        raise disk_error(error, request.out) from None


def _convert_all(
    recordings: Sequence[Recording], request: Request, settings: dict[str, Any], beside: Mapping[str, str]
) -> ConversionSummary:
    _prepare_folder(request, settings)
    tasks = [_Conversion(recording, request) for recording in recordings]
    pending = [task for task in tasks if not task.is_whole()]
    counts = [task.recording.num_images for task in pending]
    # The packed layout is put together from pieces, which lie beside it until the end.
    check_disk_space(request.unfinished, sum(counts) * BYTES_PER_IMAGE * (2 if request.layout == "packed" else 1))
    run_tasks(_convert_recording, pending, request.workers, unit="images", title=request.title, sizes=counts,
              done=settings["images"] - sum(counts), show_progress=request.show_progress)  # fmt: skip
    return _assemble(tasks, request, settings, beside)


def check_disk_space(folder: Path, needed_bytes: int) -> None:
    """Raise DataError where `folder` has not that much room left."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DataError(
            f"{folder}: about {needed_bytes / 1e6:,.0f} MB are needed and {free_bytes / 1e6:,.0f} MB are free; "
            "make room or choose another --out. What was finished is kept"
        )


def disk_error(error: OSError, out: Path) -> DataError:
    """A fault of the disk as an error that names the file."""
    return DataError(
        f"{error.filename or out}: {error.strerror or error}. What was finished is kept; mend it and start the same "
        "command again"
    )


@dataclass(frozen=True)
class _Conversion:
    """One recording on its way into the unfinished set."""

    recording: Recording
    request: Request

    @property
    def labels(self) -> Path:
        """Its labels; the file is written last, so it says that all of the recording is there."""
        return self.request.unfinished / "recordings" / self.recording.split / f"{self.recording.name}.npz"

    def is_whole(self) -> bool:
        """Whether its labels are there, and all its images in the sizes that these say."""
        if not self.labels.exists():
            return False
        try:
            part = _read_labels(self.labels)
        except DataError:
            return False
        if "size" not in part:
            return True
        if self.request.layout == "packed":
            return _size_bytes(self.images) == part["size"].sum()
        folder = self.request.unfinished / "set/images"
        pairs = zip(part["file_name"], part["size"], strict=True)
        return all(_size_bytes(folder / name) == size for name, size in pairs)

    @property
    def images(self) -> Path:
        """The packed layout's images of the recording, end to end."""
        return self.labels.with_suffix(".jpegs")


def _already_there(out: Path, settings: dict[str, Any]) -> ConversionSummary | None:
    """The summary of an earlier run that wrote just this. Raises DataError where something else is there."""
    try:
        kept = json.loads((out / "annot" / PREPARED).read_text("utf-8"))
        if kept["settings"] == settings:
            _require_whole(out, kept.get("bytes", {}))
            return ConversionSummary(kept["train"], kept["valid"], kept["notes"], was_complete=True)
    except (OSError, ValueError, KeyError):
        pass
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not an empty folder; name another --out, or remove it first")
    return None


def _require_whole(out: Path, sizes: dict[str, dict[str, int]]) -> None:
    """Raise DataError where a file of a finished set is not as long as it was written."""
    for folder, of_folder in sizes.items():
        for name, size in of_folder.items():
            if (found := _size_bytes(out / folder / name)) != size:
                state = "is missing" if found is None else f"has {found:,} bytes"
                raise DataError(
                    f"{out / folder / name}: {state}, {size:,} were written; remove {out} and start the same command "
                    "again"
                )


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _prepare_folder(request: Request, settings: dict[str, Any]) -> None:
    """Folders to work in. Raises DataError where they hold what was begun with other settings."""
    for folder in ("set/annot", "set/images", *(f"recordings/{split}" for split in SPLITS)):
        (request.unfinished / folder).mkdir(parents=True, exist_ok=True)
    kept_path = request.unfinished / "settings.json"
    kept = json.loads(kept_path.read_text("utf-8")) if kept_path.exists() else settings
    differing = [
        f"{key}: {kept.get(key)!r} there, {settings.get(key)!r} now"
        for key in {**kept, **settings}
        if kept.get(key) != settings.get(key)
    ]
    if differing:
        raise DataError(
            f"{request.unfinished}: holds an unfinished set with other settings ({'; '.join(differing)}). "
            "Start it again with those, or remove that folder"
        )
    write_text_atomic(kept_path, json.dumps(settings, indent=1, ensure_ascii=False))


def _convert_recording(task: _Conversion) -> None:
    """Write the crops and labels of a recording."""
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    jpegs: list[bytes] = []
    try:
        for frame in task.recording.frames(notes):
            jpeg, columns_of_crop = crop_frame(frame, task.request.crop)
            if task.request.layout == "packed":
                jpegs.append(jpeg)
            else:
                (task.request.unfinished / "set/images" / columns_of_crop["file_name"]).write_bytes(jpeg)
            rows.append({**columns_of_crop, "size": len(jpeg)})
        if jpegs:
            with atomic_write(task.images) as file:
                file.writelines(jpegs)
        else:
            sync_file_system(task.request.unfinished)  # the pictures before what says that they are there
        columns: dict[str, Any] = {key: np.array([row[key] for row in rows]) for key in rows[0]} if rows else {}
        with atomic_write(task.labels) as file:
            np.savez(file, notes=np.array(json.dumps(notes)), **columns)
    except OSError as error:
        raise disk_error(error, task.labels) from None


def _assemble(
    tasks: Sequence[_Conversion], request: Request, settings: dict[str, Any], beside: Mapping[str, str]
) -> ConversionSummary:
    """The annotation files from the labels of the recordings; then the whole set takes its place."""
    annot = request.unfinished / "set/annot"
    shutil.rmtree(annot)  # what an earlier start that was ended here left
    annot.mkdir()
    counts, notes = dict.fromkeys(SPLITS, 0), list[str]()
    images_bytes: dict[str, int] = {}
    for split in SPLITS:
        of_split = [(task, _read_labels(task.labels)) for task in tasks if task.recording.split == split]
        notes += [note for _, part in of_split for note in json.loads(str(part.pop("notes")))]
        filled = [(task, part) for task, part in of_split if part]
        if not filled:
            continue
        columns = {key: np.concatenate([part[key] for _, part in filled]) for key in filled[0][1]}
        names = columns["file_name"].tolist()
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(f"the source has the image {twice[0]} twice; take one of them out")
        images = JpegFiles([task.images for task, _ in filled], columns["size"])
        write_split(annot, split, names, columns, images if request.layout == "packed" else None)
        counts[split] = len(names)
        if request.layout == "files":
            images_bytes |= dict(zip(names, columns["size"].tolist(), strict=True))
    for name, text in beside.items():
        write_text_atomic(annot / name, text)
    annot_bytes = {path.name: path.stat().st_size for path in sorted(annot.iterdir())}
    kept = {"settings": settings, **counts, "notes": notes, "bytes": {"annot": annot_bytes, "images": images_bytes}}
    write_text_atomic(annot / PREPARED, json.dumps(kept, indent=1, ensure_ascii=False))
    sync_file_system(request.unfinished)
    (request.unfinished / "set").replace(request.out)
    sync_folder(request.out.parent)  # before what it was made from goes
    shutil.rmtree(request.unfinished, ignore_errors=True)
    return ConversionSummary(counts["train"], counts["valid"], notes)


def _read_labels(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as columns:
            return dict(columns)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is damaged ({error}); remove this file and start the same command again") from None
