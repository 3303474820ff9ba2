"""Scalars and pictures of a run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from integral_pose.io.notices import notify


class Board:
    """Events in `folder`; given up, with a notice, at the first one that cannot be written."""

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = SummaryWriter(str(folder), purge_step=purge_step)

    def add_scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Each value under `group`/."""
        for name, value in values.items():
            self._attempt("add_scalar", f"{group}/{name}", value, step)

    def add_image(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """A picture (H, W, 3)."""
        self._attempt("add_image", name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is waiting."""
        self._attempt("close")
        self._writer = None

    def _attempt(self, method: str, *arguments: Any, **options: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*arguments, **options)
        except Exception as error:  # what its dead thread left behind raises more than OSError
            self._writer = None
            notify(f"{self._folder.parent}: TensorBoard's file cannot be written: {error}. Training goes on without it")
