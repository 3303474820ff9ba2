"""From backbone features to heat maps of a joint or straight to its position: one file a head.

Every head has `space`, what its numbers mean, and `forward`: features (B, C, h, w) -> PoseOutput. See docs/heads.md.
"""

from integral_pose.models.heads.axes import AxesHead
from integral_pose.models.heads.planes import PlanesHead
from integral_pose.models.heads.regression import RegressionHead
from integral_pose.models.heads.volumetric import VolumetricHead

Head = VolumetricHead | PlanesHead | AxesHead | RegressionHead

__all__ = ["AxesHead", "Head", "PlanesHead", "RegressionHead", "VolumetricHead"]
