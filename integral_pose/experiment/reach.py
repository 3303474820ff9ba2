"""Training labels that the expectation over a volume cannot say, whatever is learnt."""

import torch

from integral_pose.config.schema import Config
from integral_pose.data.course import PoseTable
from integral_pose.experiment.model import labels_in
from integral_pose.geometry.coordinates import beyond_reach
from integral_pose.models.pose_net import build_space


def reach_notice(config: Config, table: PoseTable) -> str | None:
    """A line on how many joints of the table, before augmentation, lie beyond reach; None where there are none."""
    if config.model.head == "regression":
        return None
    space = build_space(config.model, config.data.image_size, table.skeleton.root)
    labels_norm = labels_in(space, table, config)
    beyond, labelled = beyond_reach(labels_norm, config.volume_shape), torch.isfinite(labels_norm).all(-1)
    if not (number := int(beyond.sum())):
        return None
    of_joints = beyond.sum(0) / labelled.sum(0).clamp(min=1)
    worst = int(torch.argmax(of_joints))
    remedy = "model.extent_mm" if config.model.volume == "metric" else "model.depth_extent_mm (z alone)"
    return (
        f"{number:,} of {labelled.sum():,} training labels ({number / labelled.sum():.1%}; "
        f"{of_joints[worst]:.1%} of {table.skeleton.names[worst]}) lie beyond the outermost cell centres of the "
        f"volume; a larger {remedy} or more cells reach them"
    )
