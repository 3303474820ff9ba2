"""The further sources of a mixed training: read, and fitted to the joints of the first one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from integral_pose.config.schema import Config
from integral_pose.config.sources_section import SourceConfig
from integral_pose.data.course import PoseTable, ViewTable, labelled_rows, read_train
from integral_pose.data.joints_in_crop import require_inside_crop
from integral_pose.data.label_matrix import label_matrix
from integral_pose.errors import ConfigError, DataError
from integral_pose.io.distributed import Processes
from integral_pose.losses import Criterion
from integral_pose.losses.flat_criterion import build_flat_criterion
from integral_pose.losses.mixed_criterion import MixedCriterion, SourceLoss, WeightedSource
from integral_pose.skeleton import Skeleton


class Source(NamedTuple):
    """A data set that every batch holds images of."""

    config: SourceConfig
    table: PoseTable
    matrix: NDArray[np.float32] | None  # (K, J) labels in px from the network's joints; None: labels in mm


def read_other_sources(config: Config, network: Skeleton) -> list[Source]:
    """All but the first of `data.sources`. Raises ConfigError and DataError where they cannot be learnt from."""
    sources = config.data.sources
    if not sources:
        return []
    if Path(sources[0].root) != Path(config.data.root):
        raise ConfigError(
            f"data.sources.0.root is {sources[0].root}, but data.root is {config.data.root}: the first source is the "
            "one that is tested and whose mean pose networks start from; make them the same"
        )
    return [_read(source, config, network) for source in sources[1:]]


def _read(source: SourceConfig, config: Config, network: Skeleton) -> Source:
    root = Path(source.root)
    table = read_train(root)
    require_inside_crop(table, config.data.stored_size, root)
    if table.has_labels:
        if table.skeleton.names != network.names:
            raise DataError(
                f"{root}: has labels in mm of other joints than the first source. Here: "
                f"{', '.join(table.skeleton.names)}. There: {', '.join(network.names)}"
            )
        return Source(source, labelled_rows(table, from_px=config.model.volume == "image"), None)
    matrix = label_matrix(root / "annot", table.skeleton, network)
    is_learnt = np.any(matrix, axis=1)
    learnt = np.where(np.reshape(is_learnt, (-1, 1)), table.joints_crop_px, np.float32(np.nan))
    table = labelled_rows(replace(table, joints_crop_px=learnt, views=_flat_views(len(table))), from_px=True)
    if not len(table):
        names = ", ".join(np.array(table.skeleton.names)[is_learnt].tolist())
        raise DataError(f"{root}: no image has a label of any joint that the network can learn it from: {names}")
    return Source(source, table, matrix)


def _flat_views(number: int) -> ViewTable:
    """Of crops of which no more is known than that they are crops: they lead back to the px on disk."""
    return ViewTable(
        camera=np.full((number, 9), np.nan, np.float32),
        crop_to_image=np.tile(np.array([0, 0, 1], np.float32), (number, 1)),
        root_camera_mm=np.full((number, 3), np.nan, np.float32),
    )


def require_shares(config: Config, group: Processes) -> None:
    """Raise ConfigError where the images a batch of a source cannot be shared out evenly."""
    parts = group.world * config.trainer.accumulation_steps
    for number, source in enumerate(config.data.sources):
        if source.images % parts:
            raise ConfigError(
                f"data.sources.{number}.images {source.images} is not divisible by {group.world} processes x "
                f"{config.trainer.accumulation_steps} accumulation steps, each of which takes an equal share of every "
                f"source; take a multiple of {parts}"
            )


def build_mixed_criterion(
    config: Config, criterion: Criterion, others: Sequence[Source], device: torch.device
) -> MixedCriterion:
    """The loss of the first source, `criterion`, and those of the others."""
    losses: list[SourceLoss] = [criterion]
    for source in others:
        if source.matrix is None:
            losses.append(criterion)
        else:
            stored_px = config.data.stored_size
            losses.append(build_flat_criterion(config.loss, criterion.space, source.matrix, stored_px, device))
    names = source_names([source.root for source in config.data.sources])
    weights = [source.weight for source in config.data.sources]
    return MixedCriterion([WeightedSource(*each) for each in zip(names, losses, weights, strict=True)])


def source_names(roots: Sequence[str]) -> list[str]:
    """How the terms of each source are called: by its folder, and its number where two are called alike."""
    names = [Path(root).name for root in roots]
    return [name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names)]
