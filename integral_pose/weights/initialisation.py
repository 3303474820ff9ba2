"""Initialising a network from a trained one: what fits is taken, the last convolution joint by joint, by name."""

from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor

from integral_pose.errors import CheckpointError

REQUIRED = ("backbone.", "image_mean", "image_std")
DECONVOLUTIONS, LAST = "head.deconvolutions.", "head.to_volume."


def initialise_from(
    own: Mapping[str, Tensor],
    own_joints: Sequence[str],
    given: Mapping[str, Tensor],
    given_joints: Sequence[str],
    source: str,
    frozen: Container[str] = (),
) -> tuple[dict[str, Tensor], str]:
    """The state dict to start with, and a line for people on what of `given` is in it.

    The backbone and the normalisation of the image must fit, and so must the depth where both have volumes. The
    deconvolutions are taken where their shapes agree, the last convolution joint by joint, anything else as it is where
    the joints are the same. What is not taken stays as it is in `own`, unless it is among the names of `frozen`, which
    would never be learnt. Raises CheckpointError where it cannot fit.
    """
    _require_same_backbone(own, given, source)
    # Heads without volumes mix the joints into every number: equal shapes mean the same only for equal joints.
    shared = ("",) if list(own_joints) == list(given_joints) else (*REQUIRED, DECONVOLUTIONS)
    taken = {
        name: given[name]
        for name, value in own.items()
        if _shape(given, name) == _shape(own, name) and name.startswith(shared) and not name.startswith(LAST)
    }
    parts = ["the backbone", "the normalisation"]
    if deconvolutions := [n for n, value in own.items() if n.startswith(DECONVOLUTIONS) and value.ndim == 4]:
        parts.append(f"{sum(name in taken for name in deconvolutions)} of {len(deconvolutions)} deconvolutions")
    if f"{LAST}weight" in own and f"{LAST}weight" in given:
        last, num_joints = _last_convolution(_by_joint(own, own_joints), _by_joint(given, given_joints), source)
        taken |= last
        parts.append(f"the last convolution of {num_joints} of {len(own_joints)} joints")
    for name in own:
        if name in frozen and name not in taken:
            raise CheckpointError(
                f"model.init {source}: {name} is {_shape(given, name)} there, {_shape(own, name)} here, and "
                "model.freeze would keep it random; make model.deconv_channels those it was trained with, or set "
                "model.freeze to backbone"
            )
    random = [name for name in own if name not in taken and not name.startswith(LAST)]
    rest = f"; random: {', '.join(random[:4])}{' and more' if len(random) > 4 else ''}" if random else ""
    return {**own, **taken}, f"model.init {source}: took {', '.join(parts)}{rest}"


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "missing"


def _require_same_backbone(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    for name in (*given, *own):
        if name.startswith(REQUIRED) and _shape(given, name) != _shape(own, name):
            raise CheckpointError(
                f"model.init {source}: has another backbone: {name} is {_shape(given, name)} there, "
                f"{_shape(own, name)} here; set model.backbone to the one it was trained with"
            )


def _by_joint(state: Mapping[str, Tensor], joints: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """The weight and the bias of the last convolution, a block of depth cells for each joint."""
    names = (f"{LAST}weight", f"{LAST}bias")
    return {name: dict(zip(joints, state[name].chunk(len(joints)), strict=True)) for name in names}


def _last_convolution(
    own: Mapping[str, Mapping[str, Tensor]], given: Mapping[str, Mapping[str, Tensor]], source: str
) -> tuple[dict[str, Tensor], int]:
    """The last convolution with the blocks of joints that `given` has too taken from there, and their number."""
    (own_blocks, *_), (given_blocks, *_) = own.values(), given.values()
    own_shape, given_shape = (next(iter(blocks.values())).shape for blocks in (own_blocks, given_blocks))
    if own_shape[0] != given_shape[0]:
        raise CheckpointError(
            f"model.init {source}: its volume has {given_shape[0]} cells of depth, model.volume_depth is "
            f"{own_shape[0]}; set model.volume_depth to {given_shape[0]}"
        )
    if own_shape != given_shape:
        return {}, 0
    taken = {
        name: torch.cat([given[name].get(joint, block) for joint, block in blocks.items()])
        for name, blocks in own.items()
    }
    return taken, len(own_blocks.keys() & given_blocks.keys())
