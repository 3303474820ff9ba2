"""Where a run continues from, and whether the experiment is still the same."""

from collections.abc import Mapping, Sequence
from typing import Any

from integral_pose.config.changes import Change, Position, find_changes, kind_of, why_forbidden
from integral_pose.config.loading import load_config_text
from integral_pose.config.schema import Config
from integral_pose.data.course import PoseTable
from integral_pose.data.fingerprint import Fingerprint, find_data_changes, fingerprint
from integral_pose.errors import CheckpointError
from integral_pose.io.distributed import Processes
from integral_pose.io.notices import notify
from integral_pose.runs.checkpoint import ResumePoint, load_newest
from integral_pose.runs.folder import RunFolder

ANOTHER_SET = "the samples would be other ones, some seen twice in a pass and others not at all"
WHY_DATA_IS_FIXED = {
    "images": "a pass would have another number of steps",
    "names": ANOTHER_SET,
    "order": ANOTHER_SET,
    "joints": "the network's joints would be other ones",
}
WHY_HELD_OUT_IS_FIXED = "best.pt is chosen by scores that must be comparable"


def find_resume_point(
    config: Config, folder: RunFolder, group: Processes, *, allow_change: bool
) -> tuple[ResumePoint | None, list[dict[str, Any]]]:
    """The newest whole checkpoint of the folder, and what was changed in the configuration since it was written.

    Raises CheckpointError where that cannot be continued with this configuration.
    """
    found = load_newest(folder.last)
    steps = group.gather(found and found.content["progress"]["step"])
    if len(set(steps)) > 1:
        raise CheckpointError(
            f"{folder.path}: the processes would continue from different steps {steps} (None: no checkpoint); "
            "run_dir must be on a disk that all nodes see"
        )
    if found is None:
        return None, []
    changes = _require_same_experiment(config, folder, found, allow_change=allow_change)
    if group.is_first:
        for fault in found.damaged.values():
            notify(f"{fault}. Continuing from {found.path}")
        for change in changes:
            notify(f"{found.path.parent}: continuing with another {change}")
    return found, [change._asdict() for change in changes if kind_of(change.key) != "free"]


def _require_same_experiment(
    config: Config, folder: RunFolder, found: ResumePoint, *, allow_change: bool
) -> list[Change]:
    """What differs from the configuration of a checkpoint; raises CheckpointError where that is not allowed.

    A run folder belongs to one experiment: continuing it with other settings would be neither of the two.
    """
    old = load_config_text(found.content["config"], str(found.path), ()).config.model_dump()
    new = config.model_dump()
    position = Position(found.content["progress"]["epoch"], found.content["progress"]["batch"])
    changes = find_changes(old, new)
    forbidden = [(change, why_forbidden(change, old, new, position)) for change in changes]
    lines = [f"  {change} - not possible: {why}" for change, why in forbidden if why]
    if not allow_change:
        asked_for = [change for change, why in forbidden if not why and kind_of(change.key) == "asked for"]
        lines += [f"  {change} - possible with --allow-change" for change in asked_for]
    if lines:
        raise CheckpointError(
            "\n".join([f"{folder.path}: holds a run with other settings:", *lines, "Choose another folder with "
                       f"run_dir=PATH, or move {folder.path} away to start anew"])
        )  # fmt: skip
    return changes


def fingerprints_of(
    train: PoseTable, held_out: PoseTable | None, others: Sequence[PoseTable] = ()
) -> dict[str, Fingerprint]:
    """Of the images that a run learns from and is scored on, for its checkpoints; `others` are its further sources."""
    tables = {"train": train} if held_out is None else {"train": train, "held_out": held_out}
    tables |= {f"source_{number}": table for number, table in enumerate(others, start=1)}
    return {name: fingerprint(table) for name, table in tables.items()}


def require_same_data(
    data: Mapping[str, Fingerprint], folder: RunFolder, found: ResumePoint, *, allow_change: bool
) -> list[dict[str, Any]]:
    """What differs from the data that the checkpoint learnt from; raises CheckpointError where that is not allowed.

    Corrected labels and pictures can be learnt from on request. Checkpoints from before there were fingerprints have
    none to compare with.
    """
    kept, lines, changes = found.content.get("data", {}), [], []
    titles = {"train": "training images", "held_out": "held-out images"}
    sources = [name for name in data if name not in titles and name.startswith("source_")]
    for name, title in (*titles.items(), *((name, f"images of data.sources.{name[7:]}") for name in sources)):
        for change in find_data_changes(kept.get(name, {}), data.get(name, {})):
            why = _why_fixed(name, change.part)
            if why or not allow_change:
                ending = f"not possible: {why}" if why else "possible with --allow-change"
                lines.append(f"  {title}: {change.words} - {ending}")
            if folder.writes and not lines:
                notify(f"{found.path.parent}: continuing with other {title}: {change.words}")
            changes.append({"key": f"data.{name}.{change.part}", "old": change.old, "new": change.new})
    if lines:
        raise CheckpointError(
            "\n".join([f"{folder.path}: the run has learnt from other data than data.root holds now:", *lines,
                       f"Restore the data, or choose another folder with run_dir=PATH, or move {folder.path} away to "
                       "start anew"])
        )  # fmt: skip
    return changes


def _why_fixed(table: str, part: str) -> str | None:
    """Why this part may not change at all. Image files of other sizes may be damaged ones that were restored."""
    if table == "held_out" and part not in WHY_DATA_IS_FIXED and part != "sizes":
        return WHY_HELD_OUT_IS_FIXED
    return WHY_DATA_IS_FIXED.get(part)
