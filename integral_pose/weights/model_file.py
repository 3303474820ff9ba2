"""The model file: the weights of a network and all that its use on a photograph takes, in plain types.

It is a checkpoint like those of training (key `model`: the plain state dict) with a `description` in place of the
configuration. `import-weights` and `export --format model` write it; `stored_network` reads it, and checkpoints too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from integral_pose.config.keys import join_key
from integral_pose.config.value_types import PositiveFloat
from integral_pose.errors import CheckpointError
from integral_pose.geometry.crop import C2F_FACTOR
from integral_pose.io.checkpoint_file import save_checkpoint
from integral_pose.skeleton import Skeleton, fault_of_skeleton
from integral_pose.weights.model_card import ModelCard

BONE_LENGTH_MM = 4130.0  # all 16 bones of HUMAN36M: the mean of the seven bodies in synthetic/body_model.py
# Numbers of a tensor. Batch normalisation and the early layers, which are small, cost most precision and least room:
# of EfficientNet-Lite0 half precision of all tensors puts joints up to 8 mm off, of those from this size on 0.7 mm.
SMALL_TENSOR = 32768
C2F_BOX_SCALE = C2F_FACTOR  # crops of Human3.6M's c2f release


def _checked_skeleton(skeleton: Skeleton) -> Skeleton:
    if fault := fault_of_skeleton(skeleton):
        raise ValueError(fault)
    return skeleton


SidePx = Annotated[int, Field(multiple_of=32, gt=0, le=4096)]
StoredPx = Annotated[int, Field(gt=0, le=4096)]


@dataclass(frozen=True)
class ModelDescription:
    """What a network is, what it wants to see and what its numbers mean.

    The normalisation is not here: it is among the weights, as `image_mean` and `image_std` (3, 1, 1), RGB. The
    network gets pixels of 0..255 and computes (pixel - image_mean) / image_std.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    network: dict[str, Any]  # the section `model` of a configuration; its `volume` is metric or image
    image_size: tuple[SidePx, SidePx]  # height, width in px of the crop that the network takes
    skeleton: Annotated[Skeleton, AfterValidator(_checked_skeleton)]
    box_scale: PositiveFloat = C2F_BOX_SCALE  # sides of the rectangle cut out over those of the person's box
    stored_size: StoredPx | None = None  # side in px of square crops shrunk to image_size; None: cut out in that size
    crop_aspect: PositiveFloat = 1.0  # width over height of that rectangle in the picture
    undo_lens: bool = True  # image volume: False where the pixels of its labels were projected by a pinhole
    cells: Literal["centred", "edge"] = "centred"  # cell i of n lies at (i + 0.5) / n or at i / n of its axis
    depth_extent_crop_px: PositiveFloat | None = None  # image volume whose depth is in px of the crop, not in mm
    bone_length_mm: PositiveFloat = BONE_LENGTH_MM  # sum over all bones of the skeleton, of a mean person
    provenance: str = ""  # where the weights come from, for people
    card: ModelCard | None = None  # of a model that is passed on


_DESCRIPTIONS = TypeAdapter(ModelDescription)


def save_model_file(path: Path, description: ModelDescription, weights: dict[str, Tensor]) -> None:
    """Write a model file, whole or not at all. `weights` is the state dict of `models.build_network`'s network.

    Raises CheckpointError where the description contradicts itself.
    """
    parse_description(asdict(description), path)
    save_checkpoint(path, {"model": dict(weights), "description": _DESCRIPTIONS.dump_python(description, mode="json")})


def in_half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with those tensors as float16 that make up a file; a network takes them in float32 again."""
    halved = {}
    for name, value in weights.items():
        half = value.half() if value.dtype == torch.float32 and value.numel() >= SMALL_TENSOR else value
        halved[name] = half if half.isfinite().all() else value
    return halved


def parse_description(plain: Any, source: Path) -> ModelDescription:
    """Plain types, as a file has them -> the description. Raises CheckpointError naming the field that is wrong."""
    try:
        return _DESCRIPTIONS.validate_python(plain)
    except ValidationError as error:
        faults = "; ".join(f"{join_key(each['loc'])}: {each['msg']}" for each in error.errors())
        raise CheckpointError(f"{source}: its description cannot be used: {faults}") from None
