"""One run of `integral-pose predict`: from a source of pictures to a folder of results."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from integral_pose.errors import ConfigError, DataError
from integral_pose.io.devices import choose_device
from integral_pose.io.notices import notify
from integral_pose.io.progress import ProgressDisplay
from integral_pose.predict.box_finder import BoxChoice, BoxFinder
from integral_pose.predict.box_forms import Boxes
from integral_pose.predict.image_tables import by_image
from integral_pose.predict.intrinsics_file import Intrinsics, read_intrinsics
from integral_pose.predict.pose_model import LARGEST_BATCH, View, load_model
from integral_pose.predict.results import ResultFolder
from integral_pose.predict.sources import NAMED, NamedPicture, open_source
from integral_pose.weights.packaged_model import packaged_model

LARGEST_HELD_BYTES = 200_000_000  # of pictures that wait until a batch of people is full

Batch = list[tuple[NamedPicture, Boxes]]


@dataclass(frozen=True)
class PredictionJob:
    """What the command line asks for."""

    model: Path | None  # None: the packaged one
    source: str
    out: Path
    boxes: BoxChoice = field(default_factory=BoxChoice)
    intrinsics: Intrinsics | Path | None = None  # a file has one of each picture
    focal_px: float | None = None  # the principal point is the middle of the picture
    root_depth_mm: float | None = None
    flip: bool = False
    device: str = "auto"
    with_pictures: bool = True

    def view(self, picture: NamedPicture, of_each: dict[str, Intrinsics]) -> View:
        """What is known of the camera that took a picture."""
        intrinsics = self.intrinsics
        if isinstance(intrinsics, Path):
            intrinsics = by_image(of_each, picture.name, picture.number)
            return View(intrinsics, self.root_depth_mm if intrinsics else None)
        if self.focal_px is not None:
            height_px, width_px = picture.pixels.shape[:2]
            intrinsics = (self.focal_px, self.focal_px, width_px / 2, height_px / 2)
        return View(intrinsics, self.root_depth_mm)


def run_job(job: PredictionJob) -> ResultFolder:
    """Poses in every picture of the source, written below `job.out`.

    Raises an IntegralPoseError where the job cannot be done; if single files of a folder cannot be read, at the end,
    when all else is written.
    """
    path = packaged_model() if job.model is None else job.model
    if job.out.exists() and not job.out.is_dir():
        raise ConfigError(f"--out {job.out}: is a file, expected a folder")
    if (job.out / "poses.json").exists():
        notify(f"{job.out}: poses.json and poses.csv of an earlier call are replaced; other pictures of it stay")
    source, device = open_source(job.source, job.out), choose_device(job.device)
    model = load_model(path).to(device)
    if job.model is None and model.description.card:
        notify(f"the packaged model: {model.description.card.summary()}")
    find_boxes = BoxFinder(job.boxes, source, device)
    intrinsics = read_intrinsics(job.intrinsics) if isinstance(job.intrinsics, Path) else {}
    if intrinsics:
        source.require_a_match(intrinsics, f"{job.intrinsics}: has no intrinsics")
    rate, without = source.video.rate if source.video else None, 0
    with ExitStack() as stack:
        results = ResultFolder(job.out, model.description, stack, rate, job.with_pictures)
        progress = stack.enter_context(ProgressDisplay(source.total, "images", "predicting", show=source.total != 1))
        for batch in _batches(source.pictures(), find_boxes, progress):
            views = [job.view(picture, intrinsics) for picture, _ in batch]
            without += sum(view.intrinsics is None for view in views) if intrinsics else 0
            pixels, boxes = [picture.pixels for picture, _ in batch], [own for _, own in batch]
            poses = model.predict_batch(pixels, boxes, views, flip=job.flip)
            for (picture, _), own in zip(batch, poses, strict=True):
                results.add(picture, own, find_boxes.origin)
    if find_boxes.doubt:
        notify(f"warning: {find_boxes.doubt}")
    if without:
        notify(
            f"warning: {job.intrinsics} has no intrinsics for {without} of {results.num_images} pictures: no distance"
        )
    if results.num_images:
        results.write(job.source, str(model.source), source.faults)
    if source.faults:
        done = f"; the other {results.num_images} are in {job.out}" if results.num_images else ""
        if source.video:
            raise DataError(f"{source.faults[0]}; the frames before are in {job.out}")
        shown = [*source.faults[:NAMED], *(["..; poses.json has them all"] if len(source.faults) > NAMED else [])]
        faults = "\n  ".join(shown)
        raise DataError(f"{len(source.faults)} of {source.total} images could not be read{done}. {faults}")
    return results


def _batches(
    pictures: Iterable[NamedPicture], find_boxes: Callable[[NamedPicture], Boxes], progress: ProgressDisplay
) -> Iterator[Batch]:
    """Pictures with their boxes, together until the people fill a batch or the pictures the memory."""
    batch: Batch = []
    for picture in pictures:
        batch.append((picture, find_boxes(picture)))
        progress.add()
        num_people, num_bytes = sum(len(own) for _, own in batch), sum(each.pixels.nbytes for each, _ in batch)
        if num_people >= LARGEST_BATCH or num_bytes >= LARGEST_HELD_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch
