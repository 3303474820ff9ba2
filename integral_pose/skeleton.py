"""The 17 joints of Human3.6M: names, tree and symmetry. Joints of other skeletons are matched by name."""

from collections.abc import Sequence
from dataclasses import dataclass

from integral_pose.errors import DataError


@dataclass(frozen=True)
class Skeleton:
    """Joint names, parents by name, and the names that swap when an image is mirrored."""

    names: tuple[str, ...]
    parent_names: dict[str, str]
    mirror_pairs: tuple[tuple[str, str], ...]

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.names)

    @property
    def root(self) -> int:
        """Index of the joint without a parent: the origin of root-relative poses."""
        return next(i for i, name in enumerate(self.names) if name not in self.parent_names)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs (child, parent) of joint indices, in the order of the children."""
        return tuple((self.names.index(child), self.names.index(parent)) for child, parent in self.parent_names.items())

    @property
    def flip_order(self) -> tuple[int, ...]:
        """For each joint the index of its mirror image: `joints[..., flip_order, :]` swaps left and right."""
        mirror = dict(self.mirror_pairs) | {right: left for left, right in self.mirror_pairs}
        return tuple(self.names.index(mirror.get(name, name)) for name in self.names)

    def side(self, joint: int) -> str:
        """'left', 'right' or 'middle'."""
        lefts, rights = ({pair[side] for pair in self.mirror_pairs} for side in (0, 1))
        name = self.names[joint]
        return "left" if name in lefts else "right" if name in rights else "middle"


HUMAN36M = Skeleton(
    names=(
        "Hip", "RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot", "Spine", "Thorax", "Neck/Nose", "Head",
        "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
    ),
    parent_names={
        "RHip": "Hip", "RKnee": "RHip", "RFoot": "RKnee",
        "LHip": "Hip", "LKnee": "LHip", "LFoot": "LKnee",
        "Spine": "Hip", "Thorax": "Spine", "Neck/Nose": "Thorax", "Head": "Neck/Nose",
        "LShoulder": "Thorax", "LElbow": "LShoulder", "LWrist": "LElbow",
        "RShoulder": "Thorax", "RElbow": "RShoulder", "RWrist": "RElbow",
    },
    mirror_pairs=(
        ("LHip", "RHip"), ("LKnee", "RKnee"), ("LFoot", "RFoot"),
        ("LShoulder", "RShoulder"), ("LElbow", "RElbow"), ("LWrist", "RWrist"),
    ),
)  # fmt: skip


def joint_order(source: Sequence[str], target: Sequence[str]) -> tuple[int, ...]:
    """Indices that reorder an array from the order of `source` to the order of `target`.

    Raises DataError naming the joints of `target` that `source` does not have.
    """
    missing = [name for name in target if name not in source]
    if missing:
        raise DataError(f"the source skeleton has no joint {', '.join(missing)}; it has: {', '.join(source)}")
    return tuple(list(source).index(name) for name in target)
