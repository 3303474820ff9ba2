"""A trained network ready for use, from whichever file of ours holds it: a checkpoint of training or a model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from torch import Tensor

from integral_pose.config import ModelConfig
from integral_pose.config_file import load_config_text
from integral_pose.errors import CheckpointError
from integral_pose.model_file import ModelDescription, parse_description
from integral_pose.models.pose_net import PoseNet, build_network
from integral_pose.skeleton import HUMAN36M
from integral_pose.training.checkpoint import find_checkpoint, load_checkpoint, load_weights

Weights = Literal["averaged", "raw"]


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode on the CPU, and what using it takes."""

    network: PoseNet
    description: ModelDescription
    source: Path
    config_yaml: str | None  # of the run, where the file is a checkpoint of training


def load_network(path: Path, weights: Weights = "averaged") -> LoadedNetwork:
    """The network of a run folder (its best.pt before its last.pt), a checkpoint or a model file.

    `weights` chooses in a last.pt between the moving average, where training kept one, and the newest weights;
    other files hold one set. Raises CheckpointError where the file is missing, damaged or inconsistent.
    """
    source = find_checkpoint(path)
    content = load_checkpoint(source)
    description, state = _described(content, source), choose_weights(content, weights)
    try:
        section = ModelConfig(**description.network)
    except (TypeError, ValidationError) as error:
        raise CheckpointError(f"{source}: describes a network that this version cannot build: {error}") from None
    network = build_network(section, description.image_size, description.skeleton.root, pretrained=False)
    network.edge_cells = description.cells == "edge"
    load_weights(network, state, source)
    return LoadedNetwork(network.eval(), description, source, content.get("config"))


def _described(content: dict[str, Any], source: Path) -> ModelDescription:
    if "description" in content:
        return parse_description(content["description"], source)
    if "config" not in content:
        raise CheckpointError(f"{source}: holds neither a configuration nor a description of its network")
    config = load_config_text(content["config"], str(source), ()).config
    height_px, width_px = config.data.image_size
    return ModelDescription(
        config.model.model_dump(), (height_px, width_px), HUMAN36M, provenance=f"training, {source}"
    )


def choose_weights(content: dict[str, Any], weights: Weights) -> dict[str, Tensor]:
    """The state dict of a checkpoint to use: in a last.pt torch's AveragedModel keeps its own under `module.`."""
    average = content.get("average")
    if weights == "raw" or not average:
        state: dict[str, Tensor] = content["model"]
        return state
    return {key.removeprefix("module."): value for key, value in average.items() if key != "n_averaged"}
