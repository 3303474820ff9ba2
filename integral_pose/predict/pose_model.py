"""A trained network that takes photographs and boxes of people and says where their joints are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from integral_pose.errors import ConfigError, DataError
from integral_pose.geometry.camera import Camera
from integral_pose.geometry.crop import Rectangle, rectangle_round_box
from integral_pose.geometry.placement import pinhole
from integral_pose.heatmaps.confidence import RADIUS_CELLS
from integral_pose.heatmaps.uncertain_output import deviation_of
from integral_pose.io.images import Picture, read_picture, require_sensible_size, shrink_crop, upright_rgb
from integral_pose.io.resampling import resample_rectangle
from integral_pose.predict.boxes import check_boxes, whole_picture
from integral_pose.predict.placing import CropSpace, place_in_box, place_in_crop
from integral_pose.weights.packaged_model import packaged_model
from integral_pose.weights.stored_network import LoadedNetwork, Weights, load_network

Photograph = str | PathLike[str] | Image.Image | Picture

LARGEST_BATCH = 8  # people; their heat maps of 64 cells a side take 143 MB


@dataclass(frozen=True)
class View:
    """What is known of the camera. Without `intrinsics` (fx, fy, cx, cy in px) there is no distance either."""

    intrinsics: tuple[float, float, float, float] | None = None
    root_depth_mm: float | None = None

    def __post_init__(self) -> None:
        if self.intrinsics is not None:
            numbers = tuple(self.intrinsics)
            if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers) or min(numbers[:2]) <= 0:
                raise ConfigError(f"intrinsics: expected fx,fy,cx,cy in px with fx, fy above 0, found {numbers}")
        if self.root_depth_mm is not None:
            if self.intrinsics is None:
                raise ConfigError(
                    "a root depth says nothing without intrinsics; give fx,fy,cx,cy (or the focal length)"
                )
            if not (math.isfinite(self.root_depth_mm) and self.root_depth_mm > 0):
                raise ConfigError(f"root depth: expected mm above 0, found {self.root_depth_mm}")


@dataclass(frozen=True, eq=False)
class PersonPose:
    """The pose of one person. Which numbers come from where, `placement` says; docs/predict.md explains it."""

    names: tuple[str, ...]
    box_image_px: NDArray[np.float64]  # (4,) x, y, w, h
    joints_camera_mm: NDArray[np.float64]  # (J, 3) root-relative, in camera axes
    joints_image_px: NDArray[np.float64]  # (J, 2)
    root_camera_mm: NDArray[np.float64] | None  # (3,) the root from the camera, where intrinsics are known
    placement: str
    confidence: NDArray[np.float64] | None = None  # (J,) of the heat map, near its joint; None without heat maps
    entropy: NDArray[np.float64] | None = None  # (J,) of the heat map: 0 one cell, 1 flat
    sigma_mm: NDArray[np.float64] | None = None  # (J,) standard deviation along each axis; None: the model has none


class PoseModel:
    """Made by `load_model`. Works on the device that `to` chose, the CPU at first."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        self.network, self.description, self.source = loaded.network, loaded.description, loaded.source
        self.device = torch.device("cpu")

    def to(self, device: str | torch.device) -> PoseModel:
        """The same model, moved."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self

    def predict(
        self,
        image: Photograph,
        boxes: ArrayLike | None = None,
        *,
        intrinsics: tuple[float, float, float, float] | None = None,
        root_depth_mm: float | None = None,
        flip: bool = False,
    ) -> list[PersonPose]:
        """A pose for each of the boxes (N, 4), x, y, w, h in px; without boxes the whole image is one.

        The image is a path, a Pillow image or an RGB array (H, W, 3) of uint8. A box is tight round the person.
        `flip` averages with what is found in the mirrored crops. Raises DataError and ConfigError.
        """
        picture, source = _picture(image)
        height_px, width_px = picture.shape[:2]
        found = whole_picture(width_px, height_px) if boxes is None else check_boxes(boxes, width_px, height_px, source)
        return self.predict_batch([picture], [found], View(intrinsics, root_depth_mm), flip=flip)[0]

    def predict_batch(
        self,
        pictures: Sequence[Picture],
        boxes: Sequence[NDArray[np.float64]],
        view: View | Sequence[View],
        *,
        flip: bool = False,
    ) -> list[list[PersonPose]]:
        """The poses in several pictures at once, given checked boxes (N, 4) for each and one view or one for each."""
        views = [view] * len(pictures) if isinstance(view, View) else view
        people = [(number, box) for number, own in enumerate(boxes) for box in own]
        poses: list[list[PersonPose]] = [[] for _ in pictures]
        for start in range(0, len(people), LARGEST_BATCH):
            part = people[start : start + LARGEST_BATCH]
            rectangles = [self._rectangle(box) for _, box in part]
            crops = [
                self._crop(pictures[number], rectangle) for (number, _), rectangle in zip(part, rectangles, strict=True)
            ]
            joints, sure, sigma_mm = self._locate(np.stack(crops), flip)
            for row, ((number, box), rectangle) in enumerate(zip(part, rectangles, strict=True)):
                height_px, width_px = pictures[number].shape[:2]
                camera = _camera(views[number], width_px, height_px)
                confidence = None if sure is None else sure[row]
                pose = self._place(joints[row], box, rectangle, camera, views[number].root_depth_mm, confidence)
                poses[number].append(pose if sigma_mm is None else replace(pose, sigma_mm=sigma_mm[row]))
        return poses

    def _rectangle(self, box: NDArray[np.float64]) -> Rectangle:
        return rectangle_round_box(box, self.description.box_scale, self.description.crop_aspect)

    def _crop(self, picture: Picture, rectangle: Rectangle) -> Picture:
        """The crop that `test` would read, had it been stored first."""
        stored_size, image_size = self.description.stored_size, self.description.image_size
        if stored_size is None:
            return resample_rectangle(picture, rectangle, *image_size)
        return shrink_crop(resample_rectangle(picture, rectangle, stored_size, stored_size), *image_size)

    def _locate(
        self, crops: NDArray[np.uint8], flip: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """(B, H, W, 3) -> joints (B, J, 3), mm or norm as the network has them; mass and entropy (B, J, 2); sigma in mm
        (B, J). The last two, None where the network has none, are of the crops as they are.
        """
        images = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            output = self.network(images)
            joints, confidence = self._decode(output.joints()), output.confidence(RADIUS_CELLS)
            deviation = deviation_of(output)
            sigma_mm = None if deviation is None else self.network.space.deviation_mm(deviation)
            if flip:
                mirrored = self._decode(self.network(images.flip(-1)).joints())
                mirrored = mirrored[:, list(self.description.skeleton.flip_order)] * joints.new_tensor([-1.0, 1, 1])
                joints = (joints + mirrored) / 2
        return joints.double().cpu().numpy(), _to_numpy(confidence), _to_numpy(sigma_mm)

    def _decode(self, joints: Tensor) -> Tensor:
        return joints if isinstance(self.network.space, CropSpace) else self.network.space.decode(joints)

    def _place(
        self,
        joints: NDArray[np.float64],
        box: NDArray[np.float64],
        rectangle: Rectangle,
        camera: Camera | None,
        root_depth_mm: float | None,
        sure: NDArray[np.float64] | None,
    ) -> PersonPose:
        if not np.isfinite(joints).all():
            raise DataError(f"{self.source}: gives NaN or infinite joints for the box {box.tolist()}")
        space = self.network.space
        placed = (
            place_in_crop(joints, rectangle, space, self.description, camera, root_depth_mm)
            if isinstance(space, CropSpace)
            else place_in_box(joints, box, camera, root_depth_mm)
        )
        confidence, entropy = (None, None) if sure is None else sure.T
        return PersonPose(self.description.skeleton.names, box, *placed, confidence=confidence, entropy=entropy)


def _to_numpy(values: Tensor | None) -> NDArray[np.float64] | None:
    return None if values is None else values.double().cpu().numpy()


def _camera(view: View, width_px: int, height_px: int) -> Camera | None:
    return None if view.intrinsics is None else pinhole(view.intrinsics, width_px, height_px)


def _picture(image: Photograph) -> tuple[Picture, str]:
    """The pixels of what a caller calls an image, and a name for it in messages."""
    if isinstance(image, str | PathLike):
        return read_picture(Path(image)), str(image)
    if isinstance(image, Image.Image):
        require_sensible_size(*image.size, "the image")
        try:
            return upright_rgb(image), "the image"
        except (OSError, ValueError) as error:
            raise DataError(f"the image cannot be used: {error}") from None
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"expected a path, a Pillow image or an RGB array (H, W, 3) of uint8, found {what}")
    require_sensible_size(image.shape[1], image.shape[0], "the image")
    return image, "the image"


def load_model(path: str | PathLike[str] | None = None, weights: Weights = "averaged") -> PoseModel:
    """The model of a run folder, a checkpoint or a model file, on the CPU; None: the packaged one.

    Raises CheckpointError.
    """
    return PoseModel(load_network(packaged_model() if path is None else Path(path), weights))
