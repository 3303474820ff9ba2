"""Another project's checkpoint -> a model file, which says by itself what its use takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from integral_pose.config.schema import ModelConfig
from integral_pose.errors import ConfigError
from integral_pose.models.pose_net import build_network
from integral_pose.weights.formats import FORMS, PROJECTS, Form
from integral_pose.weights.model_file import ModelDescription, save_model_file
from integral_pose.weights.translation import Found, read_foreign_checkpoint, recognise, translate


@dataclass(frozen=True)
class Imported:
    """What was written."""

    path: Path
    description: ModelDescription
    num_weights: int


def import_weights(source: str, checkpoint: Path, out: Path) -> Imported:
    """Write the weights of `checkpoint`, a file of the project `source` (a key of FORMS), as the model file `out`.

    Raises ConfigError for an unknown project, CheckpointError where the file is not what it should be.
    """
    if source not in FORMS:
        raise ConfigError(f"unknown source '{source}'; known: {', '.join(FORMS)}")
    return import_forms(FORMS[source], PROJECTS[source], checkpoint, out)


def import_forms(forms: tuple[Form, ...], project: str, checkpoint: Path, out: Path) -> Imported:
    """As `import_weights`, for a project that may not be in the table."""
    state = read_foreign_checkpoint(checkpoint)
    found = recognise(state, forms, checkpoint)
    section = _network(found)
    network = build_network(section, found.form.image_size, found.form.skeleton.root, pretrained=False)
    weights = translate(state, found, network.state_dict(), checkpoint)
    description = _describe(found, section, f"{project}, from {checkpoint.name}")
    save_model_file(out, description, weights)
    return Imported(out, description, sum(value.numel() for value in weights.values()))


def _network(found: Found) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "backbone": found.backbone,
            "num_joints": found.form.skeleton.num_joints,
            "deconv_channels": found.deconv_channels,
            "volume_depth": found.form.depth,
            "volume": "image",
            "depth_extent_mm": found.form.depth_extent_mm,
        }
    )


def _describe(found: Found, section: ModelConfig, provenance: str) -> ModelDescription:
    form = found.form
    height_px, width_px = form.image_size
    description = ModelDescription(
        network=section.model_dump(),
        image_size=form.image_size,
        skeleton=form.skeleton,
        box_scale=form.box_scale,
        crop_aspect=width_px / height_px,
        cells="edge",
        depth_extent_crop_px=form.depth_extent_crop_px,
        provenance=f"{provenance}; {form.note}" if form.note else provenance,
    )
    if form.bone_length_mm is None:
        return description
    return dataclasses.replace(description, bone_length_mm=form.bone_length_mm)
