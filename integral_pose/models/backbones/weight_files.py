"""State dicts of classifiers, filled into a backbone whatever wrapper's prefix their names have."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor, nn

from integral_pose.errors import CheckpointError
from integral_pose.io.checkpoint_file import load_tensors, require_state_dict


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises CheckpointError."""
    try:
        content = load_tensors(path)
        wrapped = content.get("state_dict") if isinstance(content, dict) else None  # mmpretrain, Lightning
        return require_state_dict(content if wrapped is None else wrapped, path)
    except CheckpointError as error:
        near = get_close_matches(str(path), ["imagenet"])
        meant = "; did you mean 'imagenet'?" if near and not path.exists() else ""
        raise CheckpointError(f"model.pretrained {error}{meant}") from None


def fill(network: nn.Module, weights: Mapping[str, Tensor], source: str, what: str) -> None:
    """Load every tensor of `network` from `weights`, which may hold more (a classifier) behind a common prefix.

    DistributedDataParallel, torch.compile and other projects put 'module.', '_orig_mod.', 'backbone.' before names.
    Raises CheckpointError naming the first tensor that is missing or of another shape.
    """
    own = network.state_dict()
    prefix = _common_prefix(list(own), weights)
    for name, value in own.items():
        found = weights.get(prefix + name)
        if found is None:
            raise CheckpointError(f"model.pretrained {source}: is not a {what} state dict: it has no {prefix}{name}")
        if found.shape != value.shape:
            raise CheckpointError(
                f"model.pretrained {source}: is not a {what} state dict: {prefix}{name} is {tuple(found.shape)} there, "
                f"{tuple(value.shape)} here"
            )
    network.load_state_dict({name: weights[prefix + name] for name in own})


def _common_prefix(own: list[str], weights: Mapping[str, Tensor]) -> str:
    """What stands before all of our names in `weights`; '' where nothing fits."""
    first, last = own[0], own[-1]
    prefixes = [name.removesuffix(first) for name in weights if name.endswith(first)]
    return min((prefix for prefix in prefixes if prefix + last in weights), key=len, default="")
