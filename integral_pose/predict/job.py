"""One run of `integral-pose predict`: from a source of pictures to a folder of results."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from integral_pose.errors import ConfigError, DataError
from integral_pose.io.devices import choose_device
from integral_pose.predict.boxes import Boxes, BoxesFile, check_boxes, whole_picture
from integral_pose.predict.detector import PersonDetector
from integral_pose.predict.pose_model import LARGEST_BATCH, View, load_model
from integral_pose.predict.results import ResultFolder
from integral_pose.predict.sources import STDIN_NAME, NamedPicture, PictureSource, open_source

LARGEST_HELD_BYTES = 200_000_000  # of pictures that wait until a batch of people is full

Batch = list[tuple[NamedPicture, Boxes]]


@dataclass(frozen=True)
class PredictionJob:
    """What the command line asks for."""

    model: Path
    source: str
    out: Path
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    boxes_file: Path | None = None
    whole_image: bool = False
    detector_weights: Path | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    focal_px: float | None = None  # the principal point is the middle of the picture
    root_depth_mm: float | None = None
    flip: bool = False
    device: str = "auto"
    with_pictures: bool = True

    def view(self, picture: NamedPicture) -> View:
        """What is known of the camera that took a picture."""
        intrinsics = self.intrinsics
        if self.focal_px is not None:
            height_px, width_px = picture.pixels.shape[:2]
            intrinsics = (self.focal_px, self.focal_px, width_px / 2, height_px / 2)
        return View(intrinsics, self.root_depth_mm)


def run_job(job: PredictionJob) -> ResultFolder:
    """Poses in every picture of the source, written below `job.out`.

    Raises an IntegralPoseError where the job cannot be done; if single files of a folder cannot be read, at the end,
    when all else is written.
    """
    if job.out.exists() and not job.out.is_dir():
        raise ConfigError(f"--out {job.out}: is a file, expected a folder")
    source, device = open_source(job.source, job.out), choose_device(job.device)
    model = load_model(job.model).to(device)
    find_boxes = _BoxFinder(job, source, device)
    rate = source.video.rate if source.video else None
    with ExitStack() as stack:
        results = ResultFolder(job.out, model.description, stack, rate, job.with_pictures)
        bar = stack.enter_context(
            tqdm(desc="predict", total=source.total, unit="image", leave=False, disable=source.total == 1)
        )
        for batch in _batches(source.pictures(), find_boxes):
            views = [job.view(picture) for picture, _ in batch]
            pixels, boxes = [picture.pixels for picture, _ in batch], [own for _, own in batch]
            poses = model.predict_batch(pixels, boxes, views, flip=job.flip)
            for (picture, _), own in zip(batch, poses, strict=True):
                results.add(picture, own, find_boxes.origin)
            bar.update(len(batch))
    if results.num_images:
        results.write(job.source, str(model.source), source.faults)
    if source.faults:
        done = f"; the other {results.num_images} are in {job.out}" if results.num_images else ""
        raise DataError(f"{len(source.faults)} of {source.total} images could not be read{done}. {source.faults[0]}")
    return results


class _BoxFinder:
    """The boxes of each picture: given, from a file, the whole image, or found by the detector."""

    def __init__(self, job: PredictionJob, source: PictureSource, device: torch.device) -> None:
        self._given = job.boxes
        self._file = BoxesFile(job.boxes_file) if job.boxes_file else None
        if self._file:
            self._require_a_match(self._file, source)
        self._detector: PersonDetector | None = None
        self.origin = "given" if job.boxes else "file" if self._file else "whole image"
        if not (job.boxes or self._file or job.whole_image):
            self._detector, self.origin = PersonDetector(job.detector_weights, device), "detector"

    def __call__(self, picture: NamedPicture) -> Boxes:
        height_px, width_px = picture.pixels.shape[:2]
        if self._detector:
            return self._detector.boxes(picture.pixels)
        if self._file:
            name, number = picture.name.removeprefix("./"), picture.number
            found = self._file.of_image(name) if number is None else self._file.of_frame(number)
            return check_boxes(found or [], width_px, height_px, f"{self._file.path}, {picture.source}")
        if self._given:
            return check_boxes(self._given, width_px, height_px, picture.source)
        return whole_picture(width_px, height_px)

    @staticmethod
    def _require_a_match(file: BoxesFile, source: PictureSource) -> None:
        """Raise DataError where a file of boxes has none for any of the pictures: it belongs to others."""
        if source.video:
            wanted, is_of_some = "frame numbers, from 0", any(name.isdecimal() for name in file.by_name)
        else:
            names = [name.removeprefix("./") for name, _ in source.paths] or [STDIN_NAME]
            wanted, is_of_some = repr(names[0]), any(file.of_image(name) for name in names)
        if not is_of_some:
            found = next(iter(file.by_name))
            raise DataError(
                f"{file.path}: has no box for any of these pictures; expected {wanted}, found {found!r:.200}"
            )


def _batches(pictures: Iterable[NamedPicture], find_boxes: Callable[[NamedPicture], Boxes]) -> Iterator[Batch]:
    """Pictures with their boxes, together until the people fill a batch or the pictures the memory."""
    batch: Batch = []
    for picture in pictures:
        batch.append((picture, find_boxes(picture)))
        num_people, num_bytes = sum(len(own) for _, own in batch), sum(each.pixels.nbytes for each, _ in batch)
        if num_people >= LARGEST_BATCH or num_bytes >= LARGEST_HELD_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch
