"""All that a run writes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from integral_pose.errors import OutputError
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.runs.checkpoint_saver import CheckpointSaver
from integral_pose.runs.folder import RunFolder
from integral_pose.runs.metrics_file import MetricsFile
from integral_pose.runs.provenance import record_start
from integral_pose.runs.status import RunStatus


class RunOutput:
    """Checkpoints, status, rows and pictures of a run; the first process writes, the others nothing.

    Rows, pictures and TensorBoard's events never stop a run: where they cannot be written, that is reported once.
    """

    def __init__(
        self,
        folder: RunFolder,
        status: RunStatus,
        config_yaml: str,
        processes: Processes,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.status, self.config_yaml = folder, status, config_yaml
        # What every checkpoint says of where it comes from; `data` is what the run learns from.
        self.made_of: dict[str, Any] = {"config": config_yaml, "data": dict(data or {})}
        self._metrics = MetricsFile(folder.metrics)
        self.saver = CheckpointSaver(folder.path, processes, folder.require_held, self._metrics.sync)
        self._board: SummaryWriter | None = None

    def start(self, *, seed: int, device: str, step: int) -> None:
        """Record a start of the run at `step`; rows that an earlier start wrote beyond it are dropped."""
        if not self.folder.writes:
            return
        self.folder.has_begun = True
        try:
            write_text_atomic(self.folder.path / "config.yaml", self.config_yaml)
            record_start(self.folder, seed=seed, device=device, step=step)
            self._metrics.drop_after(step)
            self._board = SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise OutputError(f"{self.folder.path}: cannot be written: {error}") from None

    def log(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """One row of metrics.jsonl, and as many scalars for TensorBoard under `group`/."""
        if not self.folder.writes:
            return
        self._metrics.add({"step": step, "group": group, **values})
        self.folder.attempt("metrics.jsonl", self._metrics.write)
        for name, value in values.items():
            self._on_board("add_scalar", f"{group}/{name}", value, step)

    def show(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A picture (H, W, 3) for the folder and for TensorBoard."""
        if not self.folder.writes:
            return

        def save() -> None:
            pictures = self.folder.path / "pictures"
            pictures.mkdir(exist_ok=True)
            Image.fromarray(picture).save(pictures / f"{name}_step{step:07d}.png")

        self.folder.attempt("pictures", save)
        self._on_board("add_image", name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is waiting for TensorBoard."""
        self._on_board("close")
        self._board = None

    def _on_board(self, method: str, *arguments: Any, **options: Any) -> None:
        if self._board is None:
            return
        try:
            getattr(self._board, method)(*arguments, **options)
        except Exception as error:  # what its dead thread left behind raises more than OSError
            self._board = None
            path = self.folder.path
            notify(f"{path}: TensorBoard's file cannot be written: {error}. Training goes on without it")
