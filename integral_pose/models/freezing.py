"""Parts of a network that keep the weights and the statistics they were given."""

from torch import nn


def freeze_up_to(net: nn.Module, last: str) -> None:
    """Stop the training of all modules of `net` in the order they were built, up to those inside the one named `last`.

    Raises ValueError if there is no such module.
    """
    names = [name for name, _ in net.named_modules()]
    inside = [index for index, name in enumerate(names) if name == last or name.startswith(f"{last}.")]
    if not inside:
        raise ValueError(f"no module is named {last}")
    early = dict(list(net.named_modules())[: inside[-1] + 1])
    for module in early.values():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


def keep_frozen_statistics(net: nn.Module) -> None:
    """Put every part whose weights are all frozen into evaluation mode, with what has no weights inside it."""
    for module in net.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
