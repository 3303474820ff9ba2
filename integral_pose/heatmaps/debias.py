"""Taking the background out of an expectation (Gu et al., Removing the Bias of Integral Pose Regression, 2021).

A heat map that is 0 away from its peak is not 0 after the softmax: each of the N = D * H * W cells keeps exp(0) / C,
where C is the sum of exp(x) over all cells. This pulls the expectation J towards the middle of the volume. With
exp(x) = 1 + (exp(x) - 1), and the middle of the volume at 0 (`geometry.coordinates`, norm),

    J = sum exp(x) c / C = (N / C) * 0 + (1 - N / C) * J_peak,    J_peak = J / (1 - N / C)

The ratio N / C is exp(log N - logsumexp(x)), so no logit is ever exponentiated by itself.
"""

import math

from torch import Tensor

# Share of the mass that is not background, 1 - N / C. It is about 0 where all logits are about 0, as in a network that
# has learnt nothing, and below 0 where they are; there the compensation means nothing and would be boundless. Held at
# this, it multiplies by 20 at most. A peak of height 8 and sigma 2 cells in a volume of 64^3 has 0.081.
SMALLEST_FOREGROUND = 0.05


def without_background(joints_norm: Tensor, logits: Tensor) -> Tensor:
    """Soft-argmax `joints_norm` (B, J, 3) of logits (B, J, D, H, W) -> that of what stands out of level 0, norm."""
    # The sum is in float32 at least, and in the dtype of the joints.
    log_sum = logits.to(joints_norm.dtype).logsumexp((-3, -2, -1))
    # Held before it is exponentiated: of infinity the gradient would be NaN.
    log_background = (math.log(logits[0, 0].numel()) - log_sum).clamp(max=math.log1p(-SMALLEST_FOREGROUND))
    return joints_norm / -log_background.expm1()[..., None]
