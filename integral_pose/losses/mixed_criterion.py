"""The loss of batches of several sources: each source's own, weighted and summed."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from integral_pose.contracts import LossResult, NetworkOutput, PoseBatch, TrainingBatch
from integral_pose.losses.criterion import LossWeights


class SourceLoss(Protocol):
    """The loss of samples of one source: `Criterion` or `FlatCriterion`."""

    def __call__(self, output: NetworkOutput, batch: PoseBatch, weights: LossWeights) -> LossResult:
        """The loss, and its terms unweighted."""
        ...


class WeightedSource(NamedTuple):
    """What one source contributes."""

    name: str
    loss: SourceLoss
    weight: float


class MixedCriterion:
    """The sum over sources; terms are called TERM/SOURCE."""

    def __init__(self, sources: Sequence[WeightedSource]) -> None:
        self.sources = sources

    def __call__(self, output: NetworkOutput, batch: TrainingBatch, weights: LossWeights) -> LossResult:
        """Of a batch with the samples of every source, in the order of the sources."""
        total: Tensor | None = None
        terms: dict[str, Tensor] = {}
        joints: list[Tensor] = []
        outputs = output.split([len(samples) for samples in batch.sources])
        for source, own, samples in zip(self.sources, outputs, batch.sources, strict=True):
            result = source.loss(own, samples, weights)
            weighted = source.weight * result.total
            total = weighted if total is None else total + weighted
            terms |= {f"{name}/{source.name}": term for name, term in result.terms.items()}
            joints.append(result.joints)
        assert total is not None, "a batch has sources"
        return LossResult(total, terms, torch.cat(joints))
