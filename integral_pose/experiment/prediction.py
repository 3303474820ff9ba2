"""A network over a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from integral_pose.contracts import NetworkOutput, PoseBatch, Predictions
from integral_pose.errors import DataError
from integral_pose.models.predictor import Predictor

# Takes this process's arrays and returns those of all processes, each joined along its first axis.
Gather = Callable[[list[NDArray]], list[NDArray]]


def predict(
    predictor: Predictor,
    model: nn.Module,
    loader: Iterable[PoseBatch],
    device: torch.device,
    *,
    confidence_radius_cells: float | None = None,
    gather: Gather = list,
    disable_progress: bool = False,
) -> Predictions:
    """Poses of every sample the loader gives, sorted by row, each row once.

    `model`, the network of `predictor`, is in evaluation mode meanwhile; afterwards each of its modules has the mode
    it had. With `confidence_radius_cells` the predictions have the confidence of the unchanged crops; DataError where
    the network makes no volumes. In a run of several processes each loader gives its own share and `gather` joins
    them; rows that a sampler doubled to make the shares even are dropped.
    """
    num_joints = predictor.skeleton.num_joints
    indices, joints_mm, confidence = [], [], []
    with evaluation_mode(model), torch.inference_mode():
        for batch in tqdm(loader, desc="predict", unit="batch", leave=False, disable=disable_progress):
            indices.append(batch.indices)
            batch = batch.to(device)
            found_mm, output = predictor(batch.images, batch.views)
            joints_mm.append(found_mm.float())
            if confidence_radius_cells is not None:
                confidence.append(_confidence(output, confidence_radius_cells))
    # Off the device at the end only: a copy a batch would make it wait for each.
    shares = [_joined(indices, (0,), np.int64), _joined(joints_mm, (0, num_joints, 3))]
    if confidence_radius_cells is not None:
        shares.append(_joined(confidence, (0, num_joints, 2)))
    all_indices, all_joints_mm, *all_confidence = gather(shares)
    rows, first = np.unique(all_indices, return_index=True)
    return Predictions(
        indices=rows.astype(np.int64),
        joints_camera_mm=all_joints_mm[first],
        confidence=all_confidence[0][first] if all_confidence else None,
    )


def _joined(parts: list[torch.Tensor], empty: tuple[int, ...], dtype: type = np.float32) -> NDArray:
    """One array of all batches; `empty` is its shape where there are none."""
    return torch.cat(parts).cpu().numpy() if parts else np.empty(empty, dtype)


def _confidence(output: NetworkOutput, radius_cells: float) -> torch.Tensor:
    found = output.confidence(radius_cells)
    if found is None:
        raise DataError(
            "confidence is read off volumetric heat maps, and this network predicts the joints without any; set "
            "evaluation.confidence to false"
        )
    return found


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; per module, since a trainer may keep some of them frozen in it."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
