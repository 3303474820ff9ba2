"""3D human pose from one RGB image by integral regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from integral_pose.predict.pose_model import PoseModel

__version__ = "0.1.0"


def load_model(path: str | PathLike[str] | None = None) -> PoseModel:
    """A trained model, ready for photographs: `load_model(path).predict(image, boxes=...)`.

    The path is that of a run folder, a checkpoint or a model file; without one it is the packaged model. Raises
    CheckpointError.
    """
    from integral_pose.predict.pose_model import load_model as load  # heavy, and most who import us do not need it

    return load(path)
