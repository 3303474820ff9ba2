"""Another project's checkpoint -> a model file, which describes itself."""

from pathlib import Path
from typing import NamedTuple

from integral_pose.config.schema import ModelConfig
from integral_pose.errors import ConfigError
from integral_pose.models.pose_net import build_network
from integral_pose.weights.formats import CHECKPOINT_FORMATS, PROJECT_NAMES, CheckpointFormat
from integral_pose.weights.model_file import BONE_LENGTH_MM, ModelDescription, save_model_file
from integral_pose.weights.translation import (
    RecognisedCheckpoint,
    read_other_project,
    recognise_format,
    rename_weights,
)


class ImportedModel(NamedTuple):
    """What was written."""

    path: Path
    description: ModelDescription
    num_weights: int


def import_weights(project: str, checkpoint: Path, out: Path) -> ImportedModel:
    """Write the weights of `checkpoint`, a file of the project (a key of CHECKPOINT_FORMATS), as the model file `out`.

    Raises ConfigError for an unknown project, CheckpointError where the file is not what it should be.
    """
    if project not in CHECKPOINT_FORMATS:
        raise ConfigError(f"unknown source '{project}'; known: {', '.join(CHECKPOINT_FORMATS)}")
    return import_checkpoint(CHECKPOINT_FORMATS[project], PROJECT_NAMES[project], checkpoint, out)


def import_checkpoint(
    formats: tuple[CheckpointFormat, ...], project_name: str, checkpoint: Path, out: Path
) -> ImportedModel:
    """As `import_weights`, for a project that may not be in the table."""
    state = read_other_project(checkpoint)
    recognised = recognise_format(state, formats, checkpoint)
    description = _describe(recognised, f"{project_name}, from {checkpoint.name}")
    section = ModelConfig.model_validate(description.network)
    network = build_network(section, description.image_size, description.skeleton.root, pretrained=False)
    weights = rename_weights(state, recognised, network.state_dict(), checkpoint)
    save_model_file(out, description, weights)
    return ImportedModel(out, description, sum(value.numel() for value in weights.values()))


def _describe(recognised: RecognisedCheckpoint, provenance: str) -> ModelDescription:
    source = recognised.format
    height_px, width_px = source.image_size
    section = {
        "backbone": recognised.backbone,
        "num_joints": source.skeleton.num_joints,
        "deconv_channels": recognised.deconv_channels,
        "volume_depth": source.depth,
        "volume": "image",
        "depth_extent_mm": source.depth_extent_mm,
    }
    return ModelDescription(
        network=ModelConfig.model_validate(section).model_dump(),
        image_size=source.image_size,
        skeleton=source.skeleton,
        box_scale=source.box_scale,
        crop_aspect=width_px / height_px,
        cells="edge",
        undo_lens=source.undo_lens,
        depth_extent_crop_px=source.depth_extent_crop_px,
        bone_length_mm=source.bone_length_mm or BONE_LENGTH_MM,
        provenance=f"{provenance}; {source.note}" if source.note else provenance,
    )
