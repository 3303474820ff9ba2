"""Where the results of testing a checkpoint go, so that none takes the place of another's."""

import re
from pathlib import Path
from typing import NamedTuple

from integral_pose.errors import CheckpointError, ConfigError
from integral_pose.runs.checkpoint import find_checkpoint


class ResultFiles(NamedTuple):
    """A folder, and what the names of the files in it end with."""

    folder: Path
    ending: str  # '' for what the folder stands for

    def path(self, name: str) -> Path:
        """NAME.csv, or NAME-last.csv of another checkpoint, NAME-DATA.csv of another data set."""
        stem, suffix = name.rsplit(".", 1)
        return self.folder / f"{stem}{self.ending}.{suffix}"


def result_files(checkpoint: Path, own_root: Path | None, root: Path, out: Path | None = None) -> ResultFiles:
    """Of `checkpoint`, trained on the data set in `own_root` (None: unknown), for predictions of that in `root`.

    They go beside the checkpoint, or into the folder `out`, which then need not tell data sets apart. Raises
    ConfigError where `out` is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file, expected a folder")
    ending = "" if _stands_for_its_folder(checkpoint) else f"-{checkpoint.stem}"
    is_own = own_root is not None and own_root.resolve() == root.resolve()
    if out is not None:
        return ResultFiles(out, ending)
    return ResultFiles(checkpoint.parent, ending if is_own else f"{ending}-{_name_of(root)}")


def _stands_for_its_folder(checkpoint: Path) -> bool:
    try:
        return find_checkpoint(checkpoint.parent).name == checkpoint.name
    except CheckpointError:
        return False


def _name_of(root: Path) -> str:
    """The data set's folder, in letters that any file name can have."""
    return re.sub(r"[^\w.-]+", "_", root.resolve().name) or "root"
