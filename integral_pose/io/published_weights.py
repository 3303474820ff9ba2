"""Weights that torchvision publishes, as a file: from its cache, else from the network."""

import re
import socket
from pathlib import Path

import torch

from integral_pose.errors import CheckpointError

LONGEST_WAIT_S = 20.0  # for a server that does not answer


def published_file(url: str, what: str, instead: str) -> Path:
    """The file of a torchvision URL, whose name ends in the start of its SHA-256, downloaded if need be.

    It is a file of others, to be read by `checkpoint_file.load_tensors`; torchvision's own way to read it would run
    code from the cache. Raises CheckpointError where it cannot be had, with what can be done `instead`.
    """
    name = url.rpartition("/")[2]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    if cached.exists():
        return cached
    digest = re.search(r"-([0-9a-f]{8,})\.", name)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LONGEST_WAIT_S)  # torch's own download would wait for ever
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(cached), digest[1] if digest else None)
    except Exception as error:  # a network may fail in any way
        raise CheckpointError(
            f"{what} are not in torchvision's cache and could not be downloaded ({error}). Without a network, copy "
            f"{name} to {cached}, or {instead}"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return cached
