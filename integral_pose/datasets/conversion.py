"""What all converters share: recordings of a source -> crops and labels in the course layout.

The work is done in `.NAME.unfinished` beside the output, recording by recording. Whatever is finished there is not
redone by the next start with the same settings; the output itself appears at the end, whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from integral_pose.datasets.writer import Labels, PackedImages, write_labels, write_statistics
from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import Crop, crop_c2f, crop_metric, crop_tight
from integral_pose.io.atomic import atomic_write, write_text_atomic
from integral_pose.io.images import Picture
from integral_pose.io.parallel import as_finished
from integral_pose.io.resampling import encode_crop

Array = NDArray[np.float64]

CROPS = ("c2f", "tight", "metric")
LAYOUTS = ("files", "packed")
SPLITS = ("train", "valid")
SIZE_PX = 256
BYTES_PER_IMAGE = 20_000  # a generous mean of 256 x 256 JPEG files of quality 90
PREPARED = "prepared.json"  # in annot/: how the set was made


class Frame(NamedTuple):
    """One person in one picture, with everything that is known."""

    file_name: str  # of the crop to write
    picture: Picture  # (H, W, 3) RGB
    joints_image_px: Array  # (17, 2) official order
    joints_camera_mm: Array  # (17, 3) official order, from the camera's centre
    camera: Camera
    subject: str
    action: str
    sub_action: int
    frame: int


class Recording(Protocol):
    """A piece of a source that is read from its beginning to its end: a video, or a run of pictures."""

    @property
    def name(self) -> str:
        """Unique in its split; a file name."""
        ...

    @property
    def split(self) -> str:
        """'train' or 'valid'."""
        ...

    @property
    def num_images(self) -> int:
        """How many frames are expected, for the progress bar and the room on the disk."""
        ...

    def frames(self, notes: list[str]) -> Iterator[Frame]:
        """The frames in order; what a user should know of them is added to `notes`. Raises DataError."""
        ...


@dataclass(frozen=True)
class Request:
    """What to write, where and how."""

    out: Path
    source: str  # name of the converter
    layout: str = "files"
    crop: str = "c2f"
    workers: int = 1
    show_progress: bool = True

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
class Summary:
    """What a conversion wrote."""

    num_train: int
    num_valid: int
    notes: list[str]
    was_complete: bool = False  # by an earlier run


def convert(recordings: Sequence[Recording], request: Request, settings: dict[str, Any]) -> Summary:
    """Write the recordings as a data set; `settings` are the converter's own options, kept with the set.

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
        _open_workshop(request, settings)
        tasks = [_Task(recording, request) for recording in recordings]
        pending = [task for task in tasks if not task.part.exists()]
        check_disk_space(request.unfinished, room_needed(sum(t.recording.num_images for t in pending), request.layout))
        _run(pending, settings["images"], request)
        return _assemble(tasks, request, settings)
    except OSError as error:
        raise explain(error, request.out) from None


def room_needed(num_images: int, layout: str) -> int:
    """Bytes on the disk; the packed layout is put together from pieces, which lie beside it until the end."""
    return num_images * BYTES_PER_IMAGE * (2 if layout == "packed" else 1)


def check_disk_space(folder: Path, needed_bytes: int) -> None:
    """Raise DataError where `folder` has not that much room left."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DataError(
            f"{folder}: about {needed_bytes / 1e9:.1f} GB are needed and {free_bytes / 1e9:.1f} GB are free; "
            "make room or choose another --out. What was finished is kept"
        )


def explain(error: OSError, out: Path) -> DataError:
    """A fault of the disk as an error that names the file."""
    return DataError(
        f"{error.filename or out}: {error.strerror or error}. What was finished is kept; mend it and start the same "
        "command again"
    )


def choose_crop(frame: Frame, crop: str) -> Crop:
    """The square round the person of a frame."""
    if crop == "metric":
        root_camera_mm = frame.joints_camera_mm[0]
        root_image_px = frame.camera.camera_to_image_px(root_camera_mm)
        return crop_metric(root_image_px, float(root_camera_mm[2]), frame.camera.focal_px, SIZE_PX)
    return {"c2f": crop_c2f, "tight": crop_tight}[crop](frame.joints_image_px, SIZE_PX)


@dataclass(frozen=True)
class _Task:
    """One recording on its way into the workshop."""

    recording: Recording
    request: Request

    @property
    def part(self) -> Path:
        """The labels of a finished recording; the file is written last, so it says that all is there."""
        return self.request.unfinished / "parts" / self.recording.split / f"{self.recording.name}.npz"

    @property
    def piece(self) -> Path:
        """The packed layout's images of the recording, end to end."""
        return self.part.with_suffix(".jpegs")


def _already_there(out: Path, settings: dict[str, Any]) -> Summary | None:
    """The summary of an earlier run that wrote just this. Raises DataError where something else is there."""
    try:
        kept = json.loads((out / "annot" / PREPARED).read_text("utf-8"))
        if kept["settings"] == settings:
            return Summary(kept["train"], kept["valid"], kept["notes"], was_complete=True)
    except (OSError, ValueError, KeyError):
        pass
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not an empty folder; name another --out, or remove it first")
    return None


def _open_workshop(request: Request, settings: dict[str, Any]) -> None:
    for folder in ("set/annot", "set/images", *(f"parts/{split}" for split in SPLITS)):
        (request.unfinished / folder).mkdir(parents=True, exist_ok=True)
    kept_path = request.unfinished / "settings.json"
    if kept_path.exists():
        kept = json.loads(kept_path.read_text("utf-8"))
        differing = [
            f"{key}: {kept.get(key)!r} there, {settings.get(key)!r} now"
            for key in {**kept, **settings}
            if kept.get(key) != settings.get(key)
        ]
        if differing:
            raise DataError(
                f"{request.unfinished}: holds an unfinished conversion with other settings ({'; '.join(differing)}). "
                "Start it again with those, or remove that folder"
            )
    write_text_atomic(kept_path, json.dumps(settings, indent=1, ensure_ascii=False))


def _run(pending: Sequence[_Task], total: int, request: Request) -> None:
    done = total - sum(task.recording.num_images for task in pending)
    with (
        tqdm(total=total, initial=done, unit=" images", disable=not request.show_progress) as progress,
        as_finished(_convert, pending, request.workers) as results,
    ):
        for task, _ in results:
            progress.update(task.recording.num_images)


def _convert(task: _Task) -> int:
    """Write the crops and labels of a recording; returns their number."""
    notes: list[str] = []
    rows: dict[str, list[Any]] = {}
    jpegs: list[bytes] = []
    try:
        for frame in task.recording.frames(notes):
            jpeg, row = _crop_and_label(frame, task.request.crop)
            if task.request.layout == "packed":
                jpegs.append(jpeg)
            else:
                (task.request.unfinished / "set/images" / frame.file_name).write_bytes(jpeg)
            for key, value in {**row, "size": len(jpeg)}.items():
                rows.setdefault(key, []).append(value)
        if jpegs:
            with atomic_write(task.piece) as file:
                file.writelines(jpegs)
        with atomic_write(task.part) as file:
            columns: dict[str, Any] = {key: np.array(rows[key]) for key in rows}
            np.savez(file, notes=np.array(json.dumps(notes)), **columns)
    except OSError as error:
        raise explain(error, task.part) from None
    return len(rows.get("size", ()))


def _crop_and_label(frame: Frame, crop_name: str) -> tuple[bytes, dict[str, Any]]:
    camera, crop = frame.camera, choose_crop(frame, crop_name)
    return encode_crop(frame.picture, crop), {
        "file_name": frame.file_name,
        "joints_crop_px": crop.image_px_to_crop_px(frame.joints_image_px),
        "joints_camera_mm": frame.joints_camera_mm - frame.joints_camera_mm[0],
        "camera": np.concatenate([camera.focal_px, camera.principal_px, camera.radial, camera.tangential]),
        "crop_to_image": np.array([crop.left_px, crop.top_px, crop.scale]),
        "root_camera_mm": frame.joints_camera_mm[0],
        "subject": frame.subject,
        "action": frame.action,
        "sub_action": frame.sub_action,
        "frame": frame.frame,
    }


def _assemble(tasks: Sequence[_Task], request: Request, settings: dict[str, Any]) -> Summary:
    """Parts -> the annotation files; then the whole set takes its place."""
    annot = request.unfinished / "set/annot"
    counts, notes = dict.fromkeys(SPLITS, 0), []
    for split in SPLITS:
        of_split = [task for task in tasks if task.recording.split == split]
        parts = [_read_part(task) for task in of_split]
        notes += [note for part in parts for note in json.loads(str(part["notes"]))]
        filled = [(task, part) for task, part in zip(of_split, parts, strict=True) if "size" in part]
        if not filled:
            continue
        columns = {key: np.concatenate([part[key] for _, part in filled]) for key in filled[0][1] if key != "notes"}
        images = PackedImages([task.piece for task, _ in filled], columns["size"])
        labels = _labels(columns)
        write_labels(annot, split, labels, images if request.layout == "packed" else None)
        if split == "train":
            write_statistics(annot, labels.joints_camera_mm)
        counts[split] = len(labels.image_names)
    kept = {"settings": settings, **counts, "notes": notes}
    write_text_atomic(annot / PREPARED, json.dumps(kept, indent=1, ensure_ascii=False))
    (request.unfinished / "set").replace(request.out)
    shutil.rmtree(request.unfinished, ignore_errors=True)
    return Summary(counts["train"], counts["valid"], notes)


def _read_part(task: _Task) -> dict[str, NDArray[Any]]:
    try:
        with np.load(task.part, allow_pickle=False) as part:
            return dict(part)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{task.part}: is damaged ({error}); remove this file and start the same command again"
        ) from None


def _labels(columns: dict[str, NDArray[Any]]) -> Labels:
    names = columns["file_name"].tolist()
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"the source has the image {twice} twice; take one of them out")
    return Labels(
        image_names=names,
        joints_crop_px=columns["joints_crop_px"],
        joints_camera_mm=columns["joints_camera_mm"],
        camera=columns["camera"],
        crop_to_image=columns["crop_to_image"],
        root_camera_mm=columns["root_camera_mm"],
        subjects=columns["subject"].tolist(),
        actions=columns["action"].tolist(),
        sub_actions=columns["sub_action"].tolist(),
        frames=columns["frame"].tolist(),
    )
