"""Learning rate and parameters of the optimiser."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from integral_pose.config.schema import OptimizerConfig, StageConfig

LearningRate = Callable[[int], float]
RATE_FACTOR = "rate_factor"  # of a group of the optimiser: what the stage's learning rate is multiplied by


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
    """One optimiser for all stages; norms and biases are not decayed. What is frozen is not in it."""
    groups = _groups(model, config.weight_decay, config.backbone_factor, config.head_factor)
    optimizers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adamw": lambda: torch.optim.AdamW(groups, fused=True),
        "adam": lambda: torch.optim.Adam(groups, fused=True),
        "sgd": lambda: _sgd(groups, config.momentum),
    }
    return optimizers[config.name]()


def _groups(model: nn.Module, weight_decay: float, backbone_factor: float, head_factor: float) -> list[dict[str, Any]]:
    """Parameters with their weight decay; backbone and head apart where a learning rate has a factor.

    The parameters stand in one order either way, the backbone's before the others, so a state fits both.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = []
    for decay, has_it in ((weight_decay, True), (0.0, False)):
        group = [(name, parameter) for name, parameter in trained if (parameter.ndim > 1) == has_it]
        if backbone_factor == head_factor == 1:
            groups.append({"params": [parameter for _, parameter in group], "weight_decay": decay})
            continue
        for factor, in_backbone in ((backbone_factor, True), (head_factor, False)):
            part = [parameter for name, parameter in group if name.startswith("backbone.") == in_backbone]
            groups.append({"params": part, "weight_decay": decay, RATE_FACTOR: factor})
    return [group for group in groups if group["params"]]


def _sgd(groups: list[dict[str, Any]], momentum: float) -> torch.optim.SGD:
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=momentum, fused=True)
    if momentum:
        # torch would take the memory uncleared at the first step, and fill it only if that step is not skipped.
        for parameter in (p for group in groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
