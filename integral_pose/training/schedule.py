"""Learning rate and parameters of the optimiser."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from integral_pose.config.schema import OptimizerConfig, StageConfig

LearningRate = Callable[[int], float]


def cosine(step: int, num_steps: int, final_fraction: float) -> float:
    """From 1 to `final_fraction` along half a cosine (Loshchilov & Hutter 2017, without restarts)."""
    progress = min(step / max(num_steps, 1), 1.0)
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def drops(step: int, drop_steps: Iterable[int], factor: float) -> float:
    """Multiplied by `factor` at each of `drop_steps`."""
    return factor ** sum(step >= drop for drop in drop_steps)


def build_learning_rate(stage: StageConfig, steps_per_epoch: int) -> LearningRate:
    """Step within the stage (from 0) -> learning rate."""
    num_steps = stage.epochs * steps_per_epoch - stage.warmup_steps
    drop_steps = [epoch * steps_per_epoch for epoch in stage.drop_epochs]
    shapes: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: cosine(step - stage.warmup_steps, num_steps, stage.final_fraction),
        "steps": lambda step: drops(step, drop_steps, stage.drop_factor),
    }
    shape = shapes[stage.schedule]

    def learning_rate(step: int) -> float:
        if step < stage.warmup_steps:
            return stage.learning_rate * (step + 1) / stage.warmup_steps
        return stage.learning_rate * shape(step)

    return learning_rate


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """One optimiser for all stages; norms and biases are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    rest = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adamw": lambda: torch.optim.AdamW(groups, fused=True),
        "adam": lambda: torch.optim.Adam(groups, fused=True),
        "sgd": lambda: _sgd(groups, config.momentum),
    }
    return optimizers[config.name]()


def _sgd(groups: list[dict[str, Any]], momentum: float) -> torch.optim.SGD:
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=momentum, fused=True)
    if momentum:
        # torch would take the memory uncleared at the first step, and fill it only if that step is not skipped.
        for parameter in (p for group in groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
