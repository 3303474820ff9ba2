"""The model file: the weights of a network and all that its use on a photograph takes, in plain types.

It is a checkpoint like those of training (key `model`: the plain state dict) with a `description` in place of the
configuration. `import-weights` writes it; `loading` reads it, and training checkpoints too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import save_checkpoint
from integral_pose.skeleton import Skeleton

BACKBONE_STRIDE = 32
LARGEST_SIDE_PX = 4096
MOST_JOINTS = 256
BONE_LENGTH_MM = 4130.0  # all 16 bones of HUMAN36M: the mean of the seven bodies in prepare/body.py
C2F_BOX_SCALE = 1.12  # crops of Human3.6M's c2f release: the box of the joints and 40 px, people being 340 px tall


@dataclass(frozen=True)
class ModelDescription:
    """What a network is, what it wants to see and what its numbers mean.

    The normalisation is not here: it is among the weights, as `image_mean` and `image_std` (3, 1, 1), RGB. The
    network gets pixels of 0..255 and computes (pixel - image_mean) / image_std.
    """

    network: dict[str, Any]  # the section `model` of a configuration; its `volume` is metric or image
    image_size: tuple[int, int]  # height, width in px of the crop that the network takes
    skeleton: Skeleton
    box_scale: float = C2F_BOX_SCALE  # sides of the rectangle cut out over those of the person's box
    stored_size: int | None = None  # side in px of the square crops shrunk to image_size; None: cut out in that size
    crop_aspect: float = 1.0  # width over height of that rectangle in the picture
    cells: Literal["centred", "edge"] = "centred"  # cell i of n lies at (i + 0.5) / n or at i / n of its axis
    depth_extent_crop_px: float | None = None  # image volume whose depth is in px of the crop, not in mm
    bone_length_mm: float = BONE_LENGTH_MM  # sum over all bones of the skeleton, of a mean person
    provenance: str = ""  # where the weights come from, for people


def save_model_file(path: Path, description: ModelDescription, weights: dict[str, Tensor]) -> None:
    """Write a model file, whole or not at all. `weights` is the state dict of `models.build_network`'s network.

    Raises CheckpointError where the description contradicts itself.
    """
    plain = asdict(description)
    plain["image_size"] = list(description.image_size)
    plain["skeleton"] = {
        "names": list(description.skeleton.names),
        "parent_names": dict(description.skeleton.parent_names),
        "mirror_pairs": [list(pair) for pair in description.skeleton.mirror_pairs],
    }
    parse_description(plain, path)
    save_checkpoint(path, {"model": dict(weights), "description": plain})


def parse_description(plain: Any, source: Path) -> ModelDescription:
    """Plain types, as a file has them -> the description. Raises CheckpointError naming the field that is wrong."""
    try:
        fields = dict(plain)
        skeleton = _parse_skeleton(fields.pop("skeleton"))
        height, width = (int(side) for side in fields.pop("image_size"))
        description = ModelDescription(skeleton=skeleton, image_size=(height, width), **fields)
        _check(description)
    except KeyError as error:
        raise CheckpointError(f"{source}: its description has no {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{source}: its description cannot be used: {error}") from None
    return description


def _parse_skeleton(plain: dict[str, Any]) -> Skeleton:
    names, parents = tuple(plain["names"]), dict(plain["parent_names"])
    pairs = tuple((left, right) for left, right in plain["mirror_pairs"])
    known = [*names, *parents, *parents.values(), *(name for pair in pairs for name in pair)]
    if not all(isinstance(name, str) and name in names for name in known) or len(set(names)) != len(names):
        raise ValueError("skeleton: joint names are unknown or double")
    if not 1 <= len(names) <= MOST_JOINTS or len(set(names) - set(parents)) != 1:
        raise ValueError("skeleton: expected a tree, just one joint of which has no parent")
    for name in names:
        steps = 0
        while name in parents:
            name, steps = parents[name], steps + 1
            if steps > len(names):
                raise ValueError("skeleton: the parents go in a circle")
    return Skeleton(names, parents, pairs)


def _check(description: ModelDescription) -> None:
    if any(side % BACKBONE_STRIDE or not 0 < side <= LARGEST_SIDE_PX for side in description.image_size):
        raise ValueError(f"image_size {description.image_size}: expected multiples of {BACKBONE_STRIDE}")
    if not isinstance(description.network, dict):
        raise ValueError("network: expected the section `model` of a configuration")
    if description.cells not in ("centred", "edge"):
        raise ValueError(f"cells: expected 'centred' or 'edge', found {description.cells!r}")
    for name in ("box_scale", "crop_aspect", "bone_length_mm", "depth_extent_crop_px"):
        value = getattr(description, name)
        if value is None and name == "depth_extent_crop_px":
            continue
        if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a positive number, found {value!r}")
    stored_size = description.stored_size
    if stored_size is not None and not (isinstance(stored_size, int) and 0 < stored_size <= LARGEST_SIDE_PX):
        raise ValueError(f"stored_size: expected px of 1 to {LARGEST_SIDE_PX}, found {stored_size!r}")
    if not isinstance(description.provenance, str):
        raise ValueError("provenance: expected text")
