"""Scores on held-out data, and best.pt: the weights with the least error."""

from collections.abc import Callable

from torch import nn

from integral_pose.contracts import Scores
from integral_pose.errors import CheckpointError, UnreadableCheckpointError
from integral_pose.io.checkpoint_file import load_checkpoint
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.runs.output import RunOutput
from integral_pose.training.state import Progress


class BestModel:
    """Scores models with `evaluate`, and keeps the best. None: nothing is held out, and the newest is kept."""

    def __init__(self, evaluate: Callable[[nn.Module], Scores] | None, output: RunOutput, processes: Processes) -> None:
        self._evaluate, self._output, self._processes = evaluate, output, processes

    def score(self, model: nn.Module, progress: Progress) -> None:
        """Score the model after `progress`, and save it if no earlier one was better.

        Raises ScoringStopped, with nothing changed, where a signal came.
        """
        score_mm = float("inf")
        if self._evaluate is not None:
            self._processes.equalise_buffers(model)  # that is what best.pt will hold
            scores = self._evaluate(model)
            score_mm = scores.mpjpe_mm
            values = {"mpjpe_mm": score_mm, "pa_mpjpe_mm": scores.pa_mpjpe_mm, "epoch": progress.epoch}
            self._output.log(progress.step, "val", values)
            if self._processes.is_first:
                notify(f"epoch {progress.epoch}: held-out MPJPE {score_mm:.1f} mm")
        progress.scored_step = progress.step
        if self._evaluate is None or score_mm < progress.best_mm:
            progress.best_mm = score_mm
            content = {"model": model.state_dict(), **self._output.made_of, "progress": vars(progress)}
            self._output.saver.save(self._output.folder.best, content)

    def compare_file(self, progress: Progress) -> None:
        """Where best.pt is missing, damaged or older than `progress` says, let the next good score write it anew.

        Raises UnreadableCheckpointError where that cannot be known.
        """
        if progress.scored_step < 0:
            return
        try:
            kept_mm = load_checkpoint(self._output.folder.best)["progress"]["best_mm"]
        except UnreadableCheckpointError:
            raise
        except CheckpointError as error:
            kept_mm = float("inf")
            if self._processes.is_first:
                notify(f"{error}. The next score writes it anew")
        progress.best_mm = max(progress.best_mm, kept_mm)
