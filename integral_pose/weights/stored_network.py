"""A trained network ready for use, from whichever file of ours holds it: a checkpoint of training or a model file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config, ModelConfig
from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.geometry.coordinates import CropVolume, ImageVolume, PoseSpace
from integral_pose.io.checkpoint_file import load_checkpoint, require_same_shapes, require_state_dict
from integral_pose.models.pose_net import PoseNet, build_network, build_space
from integral_pose.runs.checkpoint import find_checkpoint
from integral_pose.skeleton import HUMAN36M
from integral_pose.weights.model_file import ModelDescription, parse_description
from integral_pose.weights.packaged_model import named_model

Weights = Literal["averaged", "raw"]
LEARNT_JOINTS = ("skeleton", "bone_length_mm")  # of the description, among what a checkpoint says of its data


@dataclass(frozen=True)
class StoredNetwork:
    """What a checkpoint or model file holds, read and checked."""

    description: ModelDescription
    section: ModelConfig  # `model` of a configuration, which describes the network
    source: Path
    config_yaml: str | None  # of the run, where the file is a checkpoint of training
    content: dict[str, Any]

    def build(
        self, weights: Weights = "averaged", decoder: str | None = None, crop_size_px: tuple[int, int] | None = None
    ) -> PoseNet:
        """The network in evaluation mode on the CPU, with its decoder or another, for crops of its size or another.

        `weights` chooses in a last.pt between the moving average, where training kept one, and the newest weights;
        other files hold one set. Raises CheckpointError where they do not fit the description.
        """
        description = self.description
        state = self._state(weights)
        section = self.section if decoder is None else self.section.model_copy(update={"decoder": decoder})
        build = partial(
            build_network,
            section,
            description.image_size,
            description.skeleton.root,
            pretrained=False,
            space=_space(description, section, crop_size_px or description.image_size),
            edge_cells=description.cells == "edge",
        )
        with torch.device("meta"):  # takes no memory, however large the network is that the file describes
            try:
                claimed = build().state_dict()
            except RuntimeError as error:  # more elements than there are numbers
                raise CheckpointError(f"{self.source}: describes a network that cannot be built: {error}") from None
        require_same_shapes(claimed, state, self.source)
        network = build()
        network.load_state_dict(state)
        return network.eval()

    def _state(self, weights: Weights) -> dict[str, Tensor]:
        """The state dict to use: in a last.pt torch's AveragedModel keeps its own under `module.`."""
        has_one_set = self.config_yaml is not None and "average" not in self.content
        if weights == "raw" and has_one_set and configuration_of(self, ()).trainer.ema_decay > 0:
            raise CheckpointError(
                f"{self.source}: holds the averaged weights alone; take last.pt, or leave evaluation.weights at "
                "averaged"
            )
        average = self.content.get("average")
        if weights == "raw" or not average:
            return require_state_dict(self.content.get("model"), self.source)
        average = require_state_dict(average, self.source)
        return {key.removeprefix("module."): value for key, value in average.items() if key != "n_averaged"}


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode on the CPU, and what using it takes."""

    network: PoseNet
    description: ModelDescription
    source: Path


def read_network(path: Path) -> StoredNetwork:
    """What a run folder (its best.pt before its last.pt), a checkpoint, a model file or `packaged` holds.

    Raises CheckpointError where the file is missing, damaged or inconsistent.
    """
    source = find_checkpoint(named_model(path))
    content = load_checkpoint(source)
    description = _described(content, source)
    try:
        section = ModelConfig(**description.network)
    except (TypeError, ValidationError) as error:
        raise CheckpointError(f"{source}: describes a network that this version cannot build: {error}") from None
    return StoredNetwork(description, section, source, content.get("config"), content)


def load_network(path: Path, weights: Weights = "averaged") -> LoadedNetwork:
    """The network of a run folder, a checkpoint or a model file, as it was trained. Raises CheckpointError."""
    stored = read_network(path)
    return LoadedNetwork(stored.build(weights), stored.description, stored.source)


def configuration_of(stored: StoredNetwork, overrides: Sequence[str]) -> Config:
    """How to test a network: as its run was configured, or by default where it comes from a model file.

    Of the network only the decoder may be another, since it has no weights. Raises ConfigError for overrides that
    cannot be, among them those of anything that the weights belong to.
    """
    description, source = stored.description, str(stored.source)
    text = stored.config_yaml
    if text is None:
        if not any(override.partition("=")[0].strip() in ("data", "data.root") for override in overrides):
            raise ConfigError(f"{source}: a model file does not say where the images are; add data.root=FOLDER")
        side_px = min(description.image_size)  # of square crops: see `joint_adapter`
        size = description.image_size if description.crop_aspect == 1 else (side_px, side_px)
        text = json.dumps({  # which is YAML
            "run_dir": str(stored.source.parent),
            "data": {"image_size": list(size)},
            "model": description.network,
            "stages": [{"epochs": 1, "learning_rate": 0.001}],
        })  # fmt: skip
    config = load_config_text(text, source, overrides).config
    own = stored.section.model_dump()
    for key, value in config.model.model_dump().items():
        if value != own[key] and key != "decoder":
            raise ConfigError(f"model.{key}={value}: the weights of {source} are of {own[key]!r}; leave it out")
    return config


def _space(description: ModelDescription, section: ModelConfig, crop_size_px: tuple[int, int]) -> PoseSpace:
    skeleton, depth_extent_px = description.skeleton, description.depth_extent_crop_px
    if depth_extent_px is None:
        space = build_space(section, crop_size_px, skeleton.root)
        if isinstance(space, ImageVolume):
            return replace(space, undo_lens=description.undo_lens)
        return space
    height_px, width_px = description.image_size
    return CropVolume(depth_extent_px, height_px, width_px, description.bone_length_mm, skeleton.bones, skeleton.root)


def _described(content: dict[str, Any], source: Path) -> ModelDescription:
    if "description" in content:
        plain = content["description"]
        if isinstance(plain, dict) and plain.get("cells") == "edge":
            # Of before files said it: cells have edges in imported networks alone, whose labels are a pinhole's.
            plain = {"undo_lens": False, **plain}
        return parse_description(plain, source)
    if "config" not in content:
        raise CheckpointError(f"{source}: holds neither a configuration nor a description of its network")
    config = load_config_text(content["config"], str(source), ()).config
    height_px, width_px = config.data.image_size
    plain = {
        **_learnt_joints(content, source),
        "network": config.model.model_dump(),
        "image_size": (height_px, width_px),
        "stored_size": config.data.stored_size,
        "provenance": f"training, {source}",
    }
    description = parse_description(plain, source)
    if description.skeleton.num_joints != config.model.num_joints:
        raise CheckpointError(
            f"{source}: names {description.skeleton.num_joints} joints, and its network has {config.model.num_joints}"
        )
    return description


def _learnt_joints(content: dict[str, Any], source: Path) -> dict[str, Any]:
    """What a run said of its joints; of before runs said it, they were Human3.6M's."""
    data = content.get("data", {})
    if not isinstance(data, dict):
        raise CheckpointError(f"{source}: 'data' is {type(data).__name__}, expected what the run has learnt from")
    return {"skeleton": HUMAN36M, **{key: data[key] for key in LEARNT_JOINTS if key in data}}
