"""`annot/skeleton.yaml`: the joints of a data set. Without one they are the 17 of Human3.6M.

joints: [Hip, RHip, LHip]         # in the order of the labels
parents: {RHip: Hip, LHip: Hip}   # of every joint but the root
mirror_pairs: [[LHip, RHip]]      # left, right; [] where none has a mirror image
root: Hip
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integral_pose.errors import ConfigError, DataError
from integral_pose.io.atomic import write_text_atomic
from integral_pose.io.readers import read_text
from integral_pose.skeleton import HUMAN36M, Skeleton, fault_of_skeleton

SKELETON_FILE = "skeleton.yaml"
LARGEST_BYTES = 20_000
KEYS = ("joints", "parents", "mirror_pairs", "root")


def read_skeleton(annot: Path) -> Skeleton:
    """Of the labels in the folder `annot`. Raises DataError saying what is wrong with the file."""
    path = annot / SKELETON_FILE
    return parse_skeleton(read_mapping(path), str(path)) if path.exists() else HUMAN36M


def write_skeleton(annot: Path, skeleton: Skeleton) -> None:
    """Into the folder `annot`; nothing where the joints are Human3.6M's."""
    if skeleton == HUMAN36M:
        return
    values = dict(zip(KEYS, (skeleton.names, skeleton.parent_names, skeleton.mirror_pairs,
                             skeleton.names[skeleton.root]), strict=True))  # fmt: skip
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]  # which is YAML
    write_text_atomic(annot / SKELETON_FILE, "".join(lines))


def parse_skeleton(values: Mapping[str, Any], source: str) -> Skeleton:
    """From plain types. Raises DataError naming `source`."""
    if odd := [key for key in (*values, *KEYS) if key not in KEYS or key not in values]:
        raise DataError(f"{source}: '{odd[0]}' is unknown or missing; expected {', '.join(KEYS)}")
    joints, parents, pairs, root = (values[key] for key in KEYS)
    if not _is_names(joints):
        raise DataError(f"{source}: joints is {joints!r:.80}, expected a list of names")
    if not isinstance(parents, dict) or not _is_names(list(parents.values())):
        raise DataError(
            f"{source}: parents is {parents!r:.80}, expected a line 'joint: its parent' for each but the root"
        )
    if not isinstance(pairs, list) or not all(_is_names(pair) and len(pair) == 2 for pair in pairs):
        raise DataError(f"{source}: mirror_pairs is {pairs!r:.80}, expected a list of pairs [left, right]")
    skeleton = Skeleton(tuple(joints), dict(parents), tuple((left, right) for left, right in pairs))
    if fault := fault_of_skeleton(skeleton):
        raise DataError(f"{source}: {fault}")
    if root != skeleton.names[skeleton.root]:
        raise DataError(
            f"{source}: root is {root!r:.80}, but the joint without a parent is {skeleton.names[skeleton.root]}"
        )
    return HUMAN36M if skeleton == HUMAN36M else skeleton


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file of `key: value` lines. Raises DataError naming file and line."""
    # Labels without such a file are read by NumPy and h5py alone.
    from integral_pose.config.strict_yaml import parse_document

    try:
        return parse_document(read_text(path, LARGEST_BYTES), str(path))[0]
    except ConfigError as error:
        raise DataError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from None


def _is_names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
