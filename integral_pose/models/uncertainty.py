"""How far off a network expects each joint to be, from the pooled features; beside any head."""

import math

from torch import Tensor, nn

from integral_pose.config.schema import ModelConfig
from integral_pose.models.residual_flow import ResidualFlow

SMALLEST_SCALE = 1e-3  # 2 mm in a volume of 2.2 m
SPREAD = 2.0  # standard deviation along an axis over the scale of `losses.scaled_distance`
FIRST_SCALE = {"regression": 1.0}  # of standardised poses, whose deviation is 1
FIRST_SCALE_NORM = 0.1  # 22 cm in a volume of 2.2 m, about the distance of the mean pose


class JointScale(nn.Module):
    """One scale a joint, or, with a flow, one an axis; linear in the pooled features, through exp, the same for every
    image at first.

    The flow is the distribution of the errors over these scales; it is trained by the loss `rle` and is here since it
    belongs to the network's weights.
    """

    def __init__(self, channels: int, num_joints: int, first_scale: float, flow: ResidualFlow | None = None) -> None:
        super().__init__()
        self.num_joints, self.flow = num_joints, flow
        self.linear = nn.Linear(channels, num_joints * (1 if flow is None else 3))
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, math.log(first_scale))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> scale (B, J, 1 or 3), standard deviation (B, J, 3), both in the units of the joints."""
        logarithm = self.linear(features.mean((-2, -1))).unflatten(1, (self.num_joints, -1))
        scale = SMALLEST_SCALE + logarithm.to(self.linear.weight.dtype).exp()  # float32 under autocast too
        spread = SPREAD if self.flow is None else self.flow.standard_deviation()
        return scale, (scale * spread).expand(-1, -1, 3)


def build_uncertainty(model: ModelConfig, channels: int) -> JointScale | None:
    """What `model.uncertainty` asks for; None for nothing."""
    if model.uncertainty == "none":
        return None
    flow = ResidualFlow() if model.uncertainty == "flow" else None
    return JointScale(channels, model.num_joints, FIRST_SCALE.get(model.head, FIRST_SCALE_NORM), flow)
