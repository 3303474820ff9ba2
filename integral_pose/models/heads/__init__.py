"""From backbone features to heat maps of a joint or straight to its position: one file a head.

Every head has `space`, the meaning of its numbers, and `forward`: features (B, C, h, w) -> one of the three outputs of
`heatmaps.outputs`. See docs/heads.md.
"""

from collections.abc import Callable

from integral_pose.config.schema import ModelConfig
from integral_pose.models.heads.axes import build_axes
from integral_pose.models.heads.planes import build_planes
from integral_pose.models.heads.regression import build_regression
from integral_pose.models.heads.shared import Head, HeadInputs
from integral_pose.models.heads.volumetric import build_volumetric

HEADS: dict[str, Callable[[ModelConfig, HeadInputs], Head]] = {
    "volumetric": build_volumetric,
    "planes": build_planes,
    "axes": build_axes,
    "regression": build_regression,
}
