"""The boxes of each picture: given, from a file, the whole image, or found by the detector."""

from pathlib import Path
from typing import NamedTuple

import torch

from integral_pose.errors import ConfigError, DataError
from integral_pose.predict.box_forms import XYWH, Boxes, FormCheck, as_box, boxes_to_px
from integral_pose.predict.boxes import BoxesFile, check_boxes, whole_picture
from integral_pose.predict.coco_people import PeopleWanted
from integral_pose.predict.detector import PersonDetector
from integral_pose.predict.image_tables import by_image
from integral_pose.predict.sources import NamedPicture, PictureSource


class BoxChoice(NamedTuple):
    """Where boxes come from; with none of the first three a detector looks for people."""

    given: tuple[tuple[float, ...], ...] = ()
    file: Path | None = None
    whole_image: bool = False
    detector_weights: Path | None = None
    form: str = XYWH
    wanted: PeopleWanted = PeopleWanted()


class BoxFinder:
    """Boxes of a picture in px, checked; `doubt` says at the end whether they look like those of another form."""

    def __init__(self, choice: BoxChoice, source: PictureSource, device: torch.device) -> None:
        self._form = choice.form
        try:
            self._given = [as_box(box, choice.form, "--box") for box in choice.given]
        except DataError as error:
            raise ConfigError(str(error)) from None
        self._file = BoxesFile(choice.file, choice.form, choice.wanted) if choice.file else None
        if self._file:
            source.require_a_match(self._file.by_name, f"{self._file.path}: has no box")
            self._form = self._file.form
        self._detector: PersonDetector | None = None
        self.origin = "given" if choice.given else "file" if self._file else "whole image"
        if not (choice.given or self._file or choice.whole_image):
            self._detector, self.origin = PersonDetector(choice.detector_weights, device), "detector"
        self._check = FormCheck(self._form)

    def __call__(self, picture: NamedPicture) -> Boxes:
        """(N, 4) x, y, w, h in px. Raises DataError where a box is none of this picture."""
        height_px, width_px = picture.pixels.shape[:2]
        if self._detector:
            return self._detector.boxes(picture.pixels)
        if not (self._file or self._given):
            return whole_picture(width_px, height_px)
        found, place = self._given, picture.source
        if self._file:
            found = by_image(self._file.by_name, picture.name, picture.number) or []
            place = f"{self._file.path}, {place}"
        self._check.add(found, width_px, height_px)
        try:
            return check_boxes(boxes_to_px(found, self._form, width_px, height_px), width_px, height_px, place)
        except DataError as error:
            raise DataError(f"{error} ({self.doubt})" if self.doubt else str(error)) from None

    @property
    def doubt(self) -> str:
        """What speaks for another form than the one said; empty where nothing does."""
        return self._check.doubt
