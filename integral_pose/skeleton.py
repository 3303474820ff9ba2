"""Skeletons: names, tree and symmetry of joints. Those of different skeletons are matched by name.

A data set's is read by `io.skeleton_file`; without one it is Human3.6M's 17 joints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from integral_pose.errors import DataError

MOST_JOINTS = 256
LONGEST_NAME = 64


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

    def depth(self, joint: int) -> int:
        """How many bones a joint is from the root."""
        parents = dict(self.bones)
        return 1 + self.depth(parents[joint]) if joint in parents else 0

    def of_joints(self, names: Sequence[str]) -> Skeleton:
        """The tree of some of the joints, in that order; the root must be among them.

        The parent of one is its nearest ancestor that is left, and pairs stay where both are.
        """

        def ancestor(name: str) -> str:
            parent = self.parent_names[name]
            return parent if parent in names else ancestor(parent)

        parents = {name: ancestor(name) for name in self.parent_names if name in names}
        pairs = tuple((left, right) for left, right in self.mirror_pairs if {left, right} <= set(names))
        return Skeleton(tuple(names), parents, pairs)

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


def fault_of_skeleton(skeleton: Skeleton) -> str | None:
    """Why it is no tree of named joints with left and right; None where it is one."""
    return _fault_of_names(skeleton.names) or _fault_of_tree(skeleton) or _fault_of_pairs(skeleton)


def _fault_of_names(names: Sequence[str]) -> str | None:
    if not 2 <= len(names) <= MOST_JOINTS:
        return f"it has {len(names)} joints, expected 2 to {MOST_JOINTS}"
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        return f"joint {twice[0]} is named twice"
    for name in names:  # they are columns of CSV files
        if (
            not 1 <= len(name) <= LONGEST_NAME
            or not name.isprintable()
            or name.strip() != name
            or set(name) & set(',"')
        ):
            return f"{name!r:.80} is no name of a joint: expected up to {LONGEST_NAME} letters without commas or quotes"
    return None


def _fault_of_tree(skeleton: Skeleton) -> str | None:
    names, parents = skeleton.names, skeleton.parent_names
    for child, parent in parents.items():
        if child not in names:
            return f"a parent is given for {child}, which is no joint of it"
        if parent not in names:
            return f"the parent of {child} is {parent}, which is no joint of it"
    try:
        TopologicalSorter({child: [parent] for child, parent in parents.items()}).prepare()
    except CycleError as error:
        return f"the parents go in a circle: {' - '.join(error.args[1])}"
    roots = [name for name in names if name not in parents]
    return f"{len(roots)} joints have no parent ({', '.join(roots)}), expected the root alone" if roots[1:] else None


def _fault_of_pairs(skeleton: Skeleton) -> str | None:
    paired = [name for pair in skeleton.mirror_pairs for name in pair]
    for left, right in skeleton.mirror_pairs:
        if left == right:
            return f"the pair {left}, {right} is one joint, expected a left and a right one"
    if unknown := [name for name in paired if name not in skeleton.names]:
        return f"{unknown[0]} is in a pair and no joint of it"
    if twice := [name for name, count in Counter(paired).items() if count > 1]:
        return f"{twice[0]} is in two pairs"
    return None


def joint_order(source: Sequence[str], target: Sequence[str]) -> tuple[int, ...]:
    """Indices that reorder an array from the order of `source` to the order of `target`.

    Raises DataError naming the joints of `target` that `source` does not have.
    """
    missing = [name for name in target if name not in source]
    if missing:
        raise DataError(f"the source skeleton has no joint {', '.join(missing)}; it has: {', '.join(source)}")
    return tuple(list(source).index(name) for name in target)
