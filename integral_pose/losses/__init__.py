"""Named, weighted loss terms on the output of a network."""

from integral_pose.losses.criterion import Criterion, LossWeights, build_criterion

__all__ = ["Criterion", "LossWeights", "build_criterion"]
