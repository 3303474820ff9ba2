"""One step of the optimiser: forward, loss, backward, clip, update, moving average."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from integral_pose.contracts import LossResult, NetworkOutput, PoseBatch, TrainingBatch
from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_weights
from integral_pose.io.distributed import true_everywhere
from integral_pose.runs.checkpoint import random_state, restore_random_state
from integral_pose.training.buffers import BufferCopy
from integral_pose.training.compilation import compiled_where_possible
from integral_pose.training.moving_average import MovingAverage
from integral_pose.training.schedule import RATE_FACTOR

Loss = Callable[[NetworkOutput, TrainingBatch], LossResult]
# Predicted joints (B, J, 3) in the network's units and their batch -> a scalar to log, in mm.
Metric = Callable[[Tensor, TrainingBatch], Tensor]


class TrainStep:
    """Owns what a step changes: the model, its moving average and the optimiser."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        metric: Metric,
        device: torch.device,
        precision: torch.dtype,
        accumulation_steps: int,
        clip_gradient: float | None,
        ema_decay: float,
        distributed: bool,
        compress_gradients: bool = False,
        compiled: bool = False,
        augment: Callable[[PoseBatch], PoseBatch] | None = None,
    ) -> None:
        self.model, self.optimizer, self.metric = model, optimizer, metric
        self.device, self.precision = device, precision
        self.accumulation_steps, self.clip_gradient, self.augment = accumulation_steps, clip_gradient, augment
        self.average = MovingAverage(model, ema_decay) if ema_decay > 0 else None
        self.is_whole = True  # false within an update, and after a fault in it
        self.buffers = BufferCopy(model)
        self._predicted: list[tuple[Tensor, TrainingBatch]] = []  # of the last step
        # Batch statistics are each process's own, so that buffers need no exchange before every step.
        self._exchange = (
            DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
            if distributed
            else None
        )
        if self._exchange and compress_gradients:
            self._exchange.register_comm_hook(None, bf16_compress_hook)
        forward = self._exchange or model
        # Only the training step: scoring has batches of another size, each of which would be compiled anew.
        self._forward: Callable[[Tensor], NetworkOutput] = (
            compiled_where_possible(forward, device) if compiled else forward
        )

    @property
    def averaged_model(self) -> nn.Module:
        """The weights to score and to keep: the moving average where there is one."""
        return self.model if self.average is None else self.average.module

    def __call__(self, batch: TrainingBatch, loss: Loss, learning_rate: float) -> dict[str, Tensor]:
        """Step on this process's share of a global batch; returns scalars to log, on the device.

        Where 'skipped', a bool, is true, some scalar of some process is not finite, and the step has changed nothing
        in any process: weights, buffers, optimiser and moving average are those before it. Nothing here waits for
        the device: who needs the scalars reads them.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get(RATE_FACTOR, 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.buffers.take()
        with self._undone_by_faults():
            values = _mean_terms(self._accumulate_gradients(batch, loss))
        limit = self.clip_gradient or float("inf")
        values["gradient_norm"] = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        finite = all_finite(values)
        if self._exchange:  # gradients are shared, but losses and buffers are each process's own
            finite = true_everywhere(finite)
        # A fused optimiser skips its update where this is set, which spares the wait for an answer.
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.is_whole = False
        self.optimizer.step()
        self.buffers.put_back(where=~finite)
        if self.average is not None:
            self.average.update(self.model, counts=finite)
        self.is_whole = True
        return {**values, "skipped": ~finite}

    @contextmanager
    def _undone_by_faults(self) -> Iterator[None]:
        """After an error inside, buffers and generators are those before the step, so that it can be repeated."""
        drawn = random_state()
        try:
            yield
        except Exception:
            self.optimizer.zero_grad(set_to_none=True)
            self._predicted = []  # a shortage of memory must not last
            self.buffers.put_back(where=torch.ones((), dtype=torch.bool, device=self.device))
            restore_random_state(drawn)
            raise

    def _accumulate_gradients(self, batch: TrainingBatch, loss: Loss) -> list[LossResult]:
        """Forward and backward for each part of a batch; processes exchange gradients after the last alone."""
        parts = self._parts(batch)
        results, self._predicted = [], []
        for i, part in enumerate(parts):
            with self._no_exchange_of_gradients() if i < len(parts) - 1 else nullcontext():
                with self._autocast():
                    output = self._forward(part.images)
                result = loss(output, part)
                (result.total / len(parts)).backward()
            results.append(result)
            self._predicted.append((result.joints, part))
        return results

    def error_mm(self) -> Tensor:
        """The metric of the last step's predictions: computed where it is logged, too costly for every step."""
        return torch.stack([self.metric(joints, part) for joints, part in self._predicted]).mean()

    def repeat_forward(self, batch: TrainingBatch) -> Iterator[tuple[TrainingBatch, NetworkOutput]]:
        """The parts of a batch as the network sees them and its output for them now; changes nothing."""
        self.buffers.take()
        try:
            for part in self._parts(batch):
                with torch.no_grad(), self._autocast():
                    output = self.model(part.images)
                yield part, output
        finally:
            self.buffers.put_back(where=torch.ones((), dtype=torch.bool, device=self.device))

    def state(self) -> dict[str, Any]:
        """All that a continuation needs of the step, as plain state dicts."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any], source: Path) -> None:
        """Undo what came since `state`. Raises CheckpointError if it is of another model.

        The optimiser's own settings stay those of this run, which may have been changed since.
        """
        load_weights(self.model, state["model"], source)
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        groups = self.optimizer.state_dict()["param_groups"]
        rates = {index: group["lr"] for group in state["optimizer"]["param_groups"] for index in group["params"]}
        if (found := len(rates)) != (expected := sum(len(group["params"]) for group in groups)):
            raise CheckpointError(f"{source}: was trained in {found} tensors, and {expected} are trained here")
        for group in groups:
            group["lr"] = rates[group["params"][0]]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})

    def _parts(self, batch: TrainingBatch) -> list[TrainingBatch]:
        changed = batch.map_sources(self.augment) if self.augment else batch
        return [*changed.split(self.accumulation_steps)]

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32)

    def _no_exchange_of_gradients(self) -> AbstractContextManager[Any]:
        return self._exchange.no_sync() if self._exchange else nullcontext()


def _mean_terms(results: Sequence[LossResult]) -> dict[str, Tensor]:
    """Means over the parts of a batch: 'loss' is what was stepped on, then the terms unweighted."""
    values = {"loss": torch.stack([result.total.detach() for result in results]).mean()}
    for name in results[0].terms:
        values[name] = torch.stack([result.terms[name] for result in results]).mean()
    return values


def all_finite(values: Mapping[str, Tensor]) -> Tensor:
    """Whether every one of some scalars is a finite number; a bool on their device."""
    return torch.isfinite(torch.stack([value.float() for value in values.values()])).all()
