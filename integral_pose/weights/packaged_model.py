"""The model that comes with the package, for whoever names none; docs/models.md says how it is made."""

from pathlib import Path

from integral_pose.errors import CheckpointError

NAME = "packaged"  # stands for it where a model is named, as in model.init=packaged
FOLDER = Path(__file__).with_name("packaged")
PACKAGED_MODEL: str | None = None  # the file in FOLDER; None: the package comes without a model
LARGEST_BYTES = 12_000_000


def packaged_model() -> Path:
    """Its file. Raises CheckpointError where the package comes without one."""
    if PACKAGED_MODEL is None:
        raise CheckpointError(
            "no model comes with this version of the package, so name one: a run folder, a checkpoint or a model file. "
            "./run_train.sh trains one in minutes (runs/demo), scripts/train_people.sh a better one in hours"
        )
    return FOLDER / PACKAGED_MODEL


def named_model(path: Path) -> Path:
    """`path`, or the packaged model where its name stands for it and nothing of this name is there."""
    return packaged_model() if path == Path(NAME) and not path.exists() else path
