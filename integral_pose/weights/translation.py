"""Other projects' checkpoints -> the state dict of our network. No code in the file is run."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_tensors
from integral_pose.weights.formats import CheckpointFormat

LARGEST_FILE_BYTES = 4_000_000_000  # ResNet-152 with the optimiser's state has 0.8 GB
CONTAINERS = ("network", "state_dict")  # of the weights, beside epoch, optimiser and the like
BLOCKS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18", (False, (3, 4, 6, 3)): "resnet34", (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101", (True, (3, 8, 36, 3)): "resnet152",
}  # fmt: skip
MOST_SHOWN = 8


class RecognisedCheckpoint(NamedTuple):
    """What another project's state dict turns out to be."""

    format: CheckpointFormat
    backbone: str
    deconv_channels: list[int]


def read_other_project(path: Path) -> dict[str, Tensor]:
    """The weights in a file of torch.save, on the CPU, by their names there without DataParallel's `module.`.

    Raises CheckpointError for anything that is no plain container of tensors, and names what in it is not.
    """
    if path.is_file() and path.stat().st_size > LARGEST_FILE_BYTES:
        raise CheckpointError(f"{path}: has {path.stat().st_size:,} bytes, at most {LARGEST_FILE_BYTES:,} are read")
    return _tensors(load_tensors(path), path)


def recognise_format(
    state: Mapping[str, Tensor], formats: Sequence[CheckpointFormat], source: Path
) -> RecognisedCheckpoint:
    """Which of a project's formats the weights have, and how large they are.

    Raises CheckpointError naming what was expected where it is none of them.
    """
    layout = formats[0].layout
    channels: list[int] = []
    while (weight := state.get(f"{layout.deconvolutions}.{3 * len(channels)}.weight")) is not None:
        if weight.shape[2:] != (4, 4):
            break
        channels.append(weight.shape[1])
    name = layout.last.format(3 * len(channels)) + ".weight"
    last = state.get(name)
    if not channels or last is None or last.ndim != 4:
        raise CheckpointError(
            f"{source}: is not a network of this project: expected deconvolutions of 4 x 4 named "
            f"{layout.deconvolutions}.0.weight and so on, and then {name}; found {_listed(sorted(state))}"
        )
    found = next((f for f in formats if f.num_channels == last.shape[0]), None)
    if found is None:
        known = ", ".join(f"{f.num_channels} ({f.skeleton.num_joints} joints, depth {f.depth})" for f in formats)
        raise CheckpointError(f"{source}: {name} has {last.shape[0]} channels; known of this project: {known}")
    return RecognisedCheckpoint(found, _backbone(state, layout.backbone, source), channels)


def rename_weights(
    state: Mapping[str, Tensor], recognised: RecognisedCheckpoint, own: Mapping[str, Tensor], source: Path
) -> dict[str, Tensor]:
    """The weights under the names of `own`, the state dict of the network they are for; float32.

    Counters of batch normalisation, which old files lack, start at 0. Raises CheckpointError listing what is missing,
    unknown, of another shape or not finite, by its name in the file.
    """
    parts = list(recognised.format.layout.parts(len(recognised.deconv_channels)))
    back = [(ours, part) for part, ours in parts]
    theirs = {_renamed(key, parts): key for key in state}
    mean, std = (torch.tensor(values)[:, None, None] for values in recognised.format.normalisation)
    weights, faults = {"image_mean": mean, "image_std": std}, []
    for name, value in own.items():
        if name in weights:
            continue
        key = theirs.pop(name, None)
        if key is not None and state[key].shape == value.shape:
            weights[name] = state[key].to(value.dtype).clone(memory_format=torch.contiguous_format)
        elif key is not None:
            faults.append(f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}")
        elif name.endswith(".num_batches_tracked"):
            weights[name] = torch.zeros_like(value)
        else:
            faults.append(f"{_renamed(name, back)} is missing")
    faults += [f"{key} is unknown" for key in theirs.values()]
    faults += [f"{_renamed(name, back)} is not finite" for name, value in weights.items() if not value.isfinite().all()]
    if faults:
        raise CheckpointError(f"{source}: is not a {recognised.backbone} of this project: {_listed(faults, '; ')}")
    return weights


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict within what was loaded."""
    inner = content
    if isinstance(content, dict):
        inner = next((content[key] for key in CONTAINERS if key in content), content)
    if not isinstance(inner, dict) or not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        found = _listed([str(key) for key in content]) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: expected a state dict, or one under the key {' or '.join(CONTAINERS)}; found {found}"
        )
    if not all(isinstance(key, str) for key in inner) or any(v.layout != torch.strided for v in inner.values()):
        raise CheckpointError(f"{path}: its weights are no plain tensors with names")
    claimed_bytes = sum(value.numel() * value.element_size() for value in inner.values())
    if claimed_bytes > path.stat().st_size:  # one tensor under many names
        raise CheckpointError(
            f"{path}: its weights claim {claimed_bytes:,} bytes, the file has {path.stat().st_size:,}; it is not loaded"
        )
    prefix = "module." if all(key.startswith("module.") for key in inner) else ""
    return {key.removeprefix(prefix): value for key, value in inner.items()}


def _backbone(state: Mapping[str, Tensor], prefix: str, source: Path) -> str:
    blocks = {
        match[0]
        for key in state
        if (match := re.match(r"layer([1-4])\.(\d+)(?=\.)", key.removeprefix(prefix), re.ASCII))
    }
    counts = tuple(sum(block.startswith(f"layer{stage}.") for block in blocks) for stage in range(1, 5))
    name = BLOCKS.get((f"{prefix}layer1.0.conv3.weight" in state, counts))
    if name is None:
        raise CheckpointError(f"{source}: its backbone has {counts} blocks; known: {', '.join(BLOCKS.values())}")
    return name


def _renamed(key: str, parts: Sequence[tuple[str, str]]) -> str:
    """`key` with the first prefix that fits exchanged; as it is where none does."""
    for before, after in parts:
        if key.startswith(before):
            return after + key[len(before) :]
    return key


def _listed(items: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(items) - MOST_SHOWN} more" if len(items) > MOST_SHOWN else ""
    return separator.join(items[:MOST_SHOWN]) + more
