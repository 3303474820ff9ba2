"""`annot/joints_from_network.yaml`: each joint of a data set as a weighted sum of those that a network predicts.

pelvis: {Hip: 1}
thorax: {LShoulder: 0.5, RShoulder: 0.5}

The weights of a joint sum to 1. Joints of two data sets are never taken for the same because they have one name, for
MPII's thorax is not Human3.6M's; what is not in the file is not learnt from.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.errors import DataError
from integral_pose.io.skeleton_file import read_mapping
from integral_pose.skeleton import Skeleton

TABLE_FILE = "joints_from_network.yaml"
LARGEST_ROUNDING = 1e-6


def label_matrix(annot: Path, labels: Skeleton, network: Skeleton) -> NDArray[np.float32]:
    """(J of the labels, J of the network): labels compare with matrix @ predicted joints.

    A row of zeros is a joint that is not learnt from: the file does not have it, or a joint of its sum the network has
    not. Without the file the joints are the network's own, in any order. Raises DataError naming the file where that
    is not so, where the file is wrong, and where no joint is left.
    """
    path = annot / TABLE_FILE
    if path.exists():
        rows = read_joint_table(path, labels)
    elif set(labels.names) == set(network.names):
        rows = {name: {name: 1.0} for name in labels.names}
    else:
        raise DataError(
            f"{annot}: has other joints than the network, and no {TABLE_FILE} that says each as a weighted sum of the "
            f"network's (docs/data.md). The set: {', '.join(labels.names)}. The network: {', '.join(network.names)}"
        )
    matrix = np.zeros((labels.num_joints, network.num_joints), np.float32)
    for name, weights in rows.items():
        if set(weights) <= set(network.names):
            for source, weight in weights.items():
                matrix[labels.names.index(name), network.names.index(source)] = weight
    if not matrix.any():
        raise DataError(
            f"{path}: says no joint of this set by joints of the network alone, which has: {', '.join(network.names)}"
        )
    return matrix


def read_joint_table(path: Path, labels: Skeleton) -> dict[str, dict[str, float]]:
    """Joint of the labels -> joint of a network -> weight. Raises DataError naming file and joint."""
    table: Mapping[str, Any] = read_mapping(path)
    for name, weights in table.items():
        if name not in labels.names:
            raise DataError(f"{path}: {name} is no joint of this set, which has: {', '.join(labels.names)}")
        if not isinstance(weights, dict) or not all(type(weight) in (int, float) for weight in weights.values()):
            raise DataError(
                f"{path}: {name} is {weights!r:.80}, expected joints of the network with weights: {{Hip: 1}}"
            )
        if not abs(sum(weights.values()) - 1) <= LARGEST_ROUNDING:
            raise DataError(f"{path}: the weights of {name} sum to {sum(weights.values()):g}, expected 1")
    return {name: {source: float(weight) for source, weight in weights.items()} for name, weights in table.items()}
