"""A network begins from the weights of another: what fits is taken, the joints by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from integral_pose.errors import CheckpointError

WITHOUT_FAIL = ("backbone.", "image_mean", "image_std")
DECONVOLUTIONS, LAST = "head.deconvolutions.", "head.to_volume."


def start_from(
    own: Mapping[str, Tensor],
    own_joints: Sequence[str],
    given: Mapping[str, Tensor],
    given_joints: Sequence[str],
    source: str,
) -> tuple[dict[str, Tensor], str]:
    """The state dict to begin with, and what of `given` is in it, for people.

    The backbone and the normalisation of the image must fit, and so must the depth where both have volumes. The
    deconvolutions are taken where their shapes agree, the last convolution joint by joint, anything else as it is where
    the joints are the same. What is not taken stays as it is in `own`. Raises CheckpointError where it cannot fit.
    """
    deeper = [name for name in given if name.startswith("backbone.") and name not in own]
    if deeper:
        raise CheckpointError(
            f"model.init {source}: has another backbone: {deeper[0]} is not here; set model.backbone to the one it was "
            "trained with"
        )
    taken: dict[str, Tensor] = {}
    for name, value in own.items():
        fits = name in given and given[name].shape == value.shape
        if name.startswith(WITHOUT_FAIL) and not fits:
            raise CheckpointError(
                f"model.init {source}: has another backbone: {name} "
                f"{f'is {tuple(given[name].shape)} there' if name in given else 'is missing there'}, "
                f"{tuple(value.shape)} here; set model.backbone to the one it was trained with"
            )
        if fits and not name.startswith(LAST) and _is_same(name, own_joints, given_joints):
            taken[name] = given[name]
    joints = _take_joints(taken, own, own_joints, given, given_joints, source)
    parts = ["the backbone", "the normalisation"]
    if num := sum(name.startswith(DECONVOLUTIONS) and value.ndim == 4 for name, value in own.items()):
        found = sum(name.startswith(DECONVOLUTIONS) and value.ndim == 4 for name, value in taken.items())
        parts.append(f"{found} of {num} deconvolutions")
    if joints is not None:
        parts.append(f"the last convolution of {joints} of {len(own_joints)} joints")
    random = [name for name in own if name not in taken and not name.startswith(LAST)]
    rest = f"; random: {', '.join(random[:4])}{' and more' if len(random) > 4 else ''}" if random else ""
    return {**own, **taken}, f"model.init {source}: took {', '.join(parts)}{rest}"


def _is_same(name: str, own_joints: Sequence[str], given_joints: Sequence[str]) -> bool:
    """Whether a part of the same shape means the same: other heads have their joints mixed into every number."""
    return name.startswith((*WITHOUT_FAIL, DECONVOLUTIONS)) or list(own_joints) == list(given_joints)


def _take_joints(
    taken: dict[str, Tensor],
    own: Mapping[str, Tensor],
    own_joints: Sequence[str],
    given: Mapping[str, Tensor],
    given_joints: Sequence[str],
    source: str,
) -> int | None:
    """Add the last convolution to `taken`, its blocks of depth cells a joint by name; how many joints were found."""
    weight, bias = f"{LAST}weight", f"{LAST}bias"
    if weight not in own or weight not in given:
        return None
    depth, given_depth = len(own[weight]) // len(own_joints), len(given[weight]) // len(given_joints)
    if depth != given_depth:
        raise CheckpointError(
            f"model.init {source}: its volume has {given_depth} cells of depth, model.volume_depth is {depth}; "
            f"set model.volume_depth to {given_depth}"
        )
    if own[weight].shape[1:] != given[weight].shape[1:]:
        return 0
    common = [name for name in own_joints if name in given_joints]
    for name in (weight, bias):
        blocks = own[name].clone().unflatten(0, (len(own_joints), depth))
        given_blocks = given[name].unflatten(0, (len(given_joints), depth))
        for joint in common:
            blocks[list(own_joints).index(joint)] = given_blocks[list(given_joints).index(joint)]
        taken[name] = blocks.flatten(0, 1)
    return len(common)
