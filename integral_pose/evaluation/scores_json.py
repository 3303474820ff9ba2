"""scores.json: scores on disk, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from integral_pose.contracts import Scores
from integral_pose.errors import DataError
from integral_pose.evaluation.predictions_csv import PathLike
from integral_pose.evaluation.scores import mean_over_actions_mm
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.untrusted import read_regular

LARGEST_JSON_BYTES = 10_000_000
MEAN_OVER_ACTIONS = "mean_over_actions_mm"


def write_scores_json(path: PathLike, scores: Scores, extra: Mapping[str, Any] | None = None) -> None:
    """Write the fields of `scores`, the mean of the action means, and those of `extra` (checkpoint, command, ..).

    Raises ValueError where both have a field of the same name, DataError for NaN, which JSON does not know.
    """
    own = {**asdict(scores), MEAN_OVER_ACTIONS: mean_over_actions_mm(scores)}
    doubled = own.keys() & (extra or {}).keys()
    if doubled:
        raise ValueError(f"extra has fields that the scores have too: {', '.join(sorted(doubled))}")
    try:
        text = json.dumps({**own, **(extra or {})}, indent=2, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise DataError(f"{path}: not written, a score is NaN or infinite ({error})") from error
    write_text_atomic(path, text + "\n")


def read_scores_json(path: PathLike) -> tuple[Scores, dict[str, Any]]:
    """What `write_scores_json` wrote: the scores and what stands beside them. Raises DataError for anything else."""
    try:
        text = read_regular(path, LARGEST_JSON_BYTES)
        scores = TypeAdapter(Scores).validate_json(text, strict=True)
    except (OSError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        fault = f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip() if first else error
        raise DataError(f"{path}: holds no scores of this program ({fault}); write it again with: test") from None
    own = asdict(scores).keys() | {MEAN_OVER_ACTIONS}
    return scores, {name: value for name, value in json.loads(text).items() if name not in own}
