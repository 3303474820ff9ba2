"""The checks of `check-data` that need no picture: names, shapes, bodies, sides, cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integral_pose.contracts import Array
from integral_pose.data.joints_in_crop import MOST_OUTSIDE, share_outside
from integral_pose.data.label_matrix import TABLE_FILE, read_joint_table
from integral_pose.datasets.stored import StoredSplit
from integral_pose.datasets.writer import camera_of_row
from integral_pose.errors import DataError
from integral_pose.geometry.body_size import fault_of_unit
from integral_pose.geometry.coordinates import root_relative
from integral_pose.geometry.label_axes import axis_evidence
from integral_pose.geometry.labelled_means import is_labelled, mean_and_deviation
from integral_pose.geometry.sides import side_evidence
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.io.text_columns import SEQUENCE, SUBJECT
from integral_pose.io.unwritten_labels import fault_of_zeros, joints_at_zero
from integral_pose.skeleton import HUMAN36M, joint_order

Rows = NDArray[Any]  # a bool a row

PLAUSIBLE_BONE_MM = (30.0, 650.0)  # the shortest is the neck, the longest a shin or thigh; of adults
# Motion capture keeps a subject's bones to a few mm; some sets blend hips and spine, so the spread is judged mildly.
LARGEST_SPREAD = 0.10  # standard deviation over mean, of the limbs
LIMBS = ("RKnee", "RFoot", "LKnee", "LFoot", "LElbow", "LWrist", "RElbow", "RWrist")
LARGEST_RESIDUAL_PX = 1.0  # of the crop


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one split."""

    split: str
    check: str
    is_bad: bool
    result: str
    rows: list[str] = field(default_factory=list)  # the offenders, a line each


def check_names(split: StoredSplit) -> list[Finding]:
    """Names may say subject, action, camera and frame; only scores by action and their intervals need that."""
    odd = [name for name in split.names if parse_frame_name(name) is None]
    parsed = f"{len(split.names) - len(odd):,} of {len(split.names):,}"
    if odd:
        parsed += f"; scores know no action of {odd[0][:80]!r}" + (" and the like" if len(odd) > 1 else "")
    return [
        Finding(split.split, "images", not split.names, f"{len(split.names):,} listed"),
        Finding(split.split, "names parse", False, parsed),
    ]


def check_labels(split: StoredSplit, crop_size_px: tuple[int, int]) -> list[Finding]:
    """All checks of the .h5, of crops of (width, height) px; a test set may have none."""
    if not split.label_path.exists():
        is_train = split.split == "train"
        return [Finding(split.split, "labels", is_train, f"none: {split.label_path.name} is not there")]
    axes_of = {"pose2d": 2} if split.is_flat else {"pose2d": 2, "pose3d": 3}
    wrong = [wrong_shape(split, key, axes) for key, axes in axes_of.items()] + [wrong_visible(split)]
    wrong += [
        f"'{name}' has the shape {column.shape}, expected ({len(split.names)},)"
        for name in (SUBJECT, SEQUENCE)
        if (column := split.columns.get(name)) is not None and column.shape != (len(split.names),)
    ]
    agree = "shapes agree" + "; in px alone, for learning beside a set in mm" * split.is_flat
    findings = [Finding(split.split, "labels", any(wrong), "; ".join(filter(None, wrong)) or agree)]
    if any(wrong):
        return findings
    if split.is_flat:
        return findings + _check_flat(split, crop_size_px)
    crop_px, camera_mm = split.joints("pose2d"), split.joints("pose3d")
    infinite: Rows = np.isinf(np.concatenate([crop_px, camera_mm], axis=-1)).any(axis=(1, 2))
    findings.append(_rows_finding(split, "finite numbers", infinite, "infinite"))
    findings += [_check_labelled(split, camera_mm), _check_zeros(split, crop_px, camera_mm)]
    rows = np.flatnonzero(~infinite & is_labelled(camera_mm).any(1))
    if not len(rows):
        return findings
    outside: Rows = np.zeros(len(infinite), bool)
    outside[rows] = ((crop_px[rows] < 0) | (crop_px[rows] > crop_size_px)).any((1, 2))
    # Crops about the root or the person box of another project may cut off a hand: worth a remark.
    is_fault = share_outside(crop_px[rows], *crop_size_px) > MOST_OUTSIDE
    findings.append(_rows_finding(split, "pose2d inside crop", outside, "with a joint outside", is_fault=is_fault))
    findings.append(_check_axes(split, crop_px, camera_mm, rows))
    findings += _check_bones(split, camera_mm, rows)
    findings += [_check_sides(split, camera_mm[rows]), _check_projection(split, crop_px, camera_mm, rows)]
    return findings


def _check_flat(split: StoredSplit, crop_size_px: tuple[int, int]) -> list[Finding]:
    """The checks of labels in px alone."""
    crop_px = split.joints("pose2d")
    labelled = is_labelled(crop_px)
    infinite: Rows = np.any(np.isinf(crop_px), axis=(1, 2))
    without = [f"row {row}: {split.names[row]}" for row in np.flatnonzero(~labelled.any(1))]
    words = f"{labelled.mean():.1%} of the joints in px; {len(without):,} of {len(crop_px):,} images without any"
    zeros = fault_of_zeros(crop_px, "pose2d", split.skeleton, None)
    outside: Rows = np.any((crop_px < 0) | (crop_px > crop_size_px), axis=(1, 2))
    is_fault = share_outside(crop_px, *crop_size_px) > MOST_OUTSIDE
    return [
        _rows_finding(split, "finite numbers", infinite, "infinite"),
        Finding(split.split, "labelled", len(without) == len(crop_px), words, without),
        Finding(split.split, "no zeros for labels", bool(zeros), zeros or "none", [zeros] if zeros else []),
        _rows_finding(split, "pose2d inside crop", outside, "with a joint outside", is_fault=is_fault),
        _check_table(split),
    ]


def _check_table(split: StoredSplit) -> Finding:
    """Whether it is said what the joints are of those that a network predicts."""
    path = split.label_path.with_name(TABLE_FILE)
    if not path.exists():
        is_bad = split.skeleton.names != HUMAN36M.names
        return Finding(split.split, "joints by the network's", is_bad, f"no {TABLE_FILE}" + " is needed" * (not is_bad))
    try:
        table = read_joint_table(path, split.skeleton)
    except DataError as error:
        return Finding(split.split, "joints by the network's", True, str(error))
    unknown = [name for name in split.skeleton.names if name not in table]
    words = f"{len(table)} of {split.skeleton.num_joints}" + f"; not {', '.join(unknown)}" * bool(unknown)
    return Finding(split.split, "joints by the network's", False, words)


def wrong_shape(split: StoredSplit, key: str, axes: int) -> str:
    """What is wrong with a column of joints; '' where nothing is."""
    column = split.columns.get(key)
    if column is None:
        return f"{split.label_path.name} has no '{key}'"
    expected = (len(split.names), split.skeleton.num_joints, axes)
    if column.shape != expected or column.dtype.kind not in "fiu":
        return f"'{key}' is {column.dtype} {column.shape}, expected numbers {expected}"
    return ""


def wrong_visible(split: StoredSplit) -> str:
    """What is wrong with the column `visible`, if there is one; '' where nothing is."""
    column, expected = split.columns.get("visible"), (len(split.names), split.skeleton.num_joints)
    if column is None or (column.shape == expected and column.dtype.kind in "biuf"):
        return ""
    return f"'visible' is {column.dtype} {column.shape}, expected numbers {expected}"


def _check_labelled(split: StoredSplit, camera_mm: Array) -> Finding:
    """How many joints have a label in mm; an image without any beside the root's is worth a remark."""
    labelled = is_labelled(root_relative(camera_mm, split.skeleton.root))
    without = [f"row {row}: {split.names[row]}" for row in np.flatnonzero(labelled.sum(1) < 2)]
    is_bad = bool(len(labelled)) and len(without) == len(labelled)
    result = f"{labelled.mean():.1%} of the joints in mm; {len(without):,} of {len(labelled):,} images without any"
    return Finding(split.split, "labelled", is_bad, result, without)


def _check_zeros(split: StoredSplit, crop_px: Array, camera_mm: Array) -> Finding:
    """Unlabelled joints are not written as zeros, which would be learnt."""
    skeleton = split.skeleton
    faults = [fault_of_zeros(crop_px, "pose2d", skeleton, None),
              fault_of_zeros(camera_mm, "pose3d", skeleton, skeleton.root)]  # fmt: skip
    number = sum(int(joints_at_zero(*joints).sum()) for joints in ((crop_px, None), (camera_mm, skeleton.root)))
    found = [fault for fault in faults if fault]
    return Finding(split.split, "no zeros for labels", bool(found), f"{number:,} joints at 0 on every axis", found)


def _rows_finding(split: StoredSplit, check: str, bad: Rows, what: str, is_fault: bool = True) -> Finding:
    rows = [f"row {row}: {split.names[row]}" for row in np.flatnonzero(bad)]
    return Finding(split.split, check, bool(rows) and is_fault, f"{len(rows):,} of {len(bad):,} {what}", rows)


def _check_axes(split: StoredSplit, crop_px: Array, camera_mm: Array, rows: NDArray[np.intp]) -> Finding:
    """x and y in mm run along x and y in px; the rows where they do not are named."""
    evidence = axis_evidence(crop_px[rows], camera_mm[rows])
    opposed = [f"row {row}: {split.names[row]}" for row in rows[evidence.is_opposed]]
    x, y = evidence.correlation[[0, 1], [0, 1]]
    along = "" if np.isnan(x + y) else f"px follow mm by {x:.2f} in x, {y:.2f} in y (1 is perfect); "
    result = f"{along}{len(opposed):,} rows the other way"
    if number := int(evidence.in_perspective.sum()):
        result += f"; {number:,} rows follow in perspective alone"
    advice = [evidence.finding[0]] if evidence.finding else []
    return Finding(split.split, "axes", bool(advice or opposed), result, [*advice, *opposed])


def _check_bones(split: StoredSplit, camera_mm: Array, rows: NDArray[np.intp]) -> list[Finding]:
    """Every bone of a human size, and each limb of one length in all pictures of a subject."""
    skeleton = split.skeleton
    children, parents = np.transpose(skeleton.bones)
    lengths_mm = np.linalg.norm(camera_mm[rows][:, children] - camera_mm[rows][:, parents], axis=-1)
    low, high = PLAUSIBLE_BONE_MM
    bad = np.zeros(len(camera_mm), bool)
    bad[rows] = ((lengths_mm < low) | (lengths_mm > high)).any(1)
    seen_mm = lengths_mm[~np.isnan(lengths_mm)]
    what = f"implausible; {seen_mm.min(initial=np.inf):.3g} to {seen_mm.max(initial=0):.3g} mm"
    if unit := fault_of_unit(camera_mm[rows], skeleton):
        what += f". {unit}"
    if not unit and skeleton != HUMAN36M:  # which may have bones as short as fingers', or no bones between joints
        what, bad = f"judged; {seen_mm.min(initial=np.inf):.3g} to {seen_mm.max(initial=0):.3g} mm", bad & False
    ends = [skeleton.names[child] for child in children]
    limbs = [ends.index(name) for name in LIMBS if skeleton.parent_names.get(name) == HUMAN36M.parent_names[name]]
    return [
        _rows_finding(split, "bone lengths", bad, what),
        _check_spread(split.split, split.subjects[rows], lengths_mm[:, limbs], [ends[i] for i in limbs]),
    ]


def _check_spread(split: str, subjects: NDArray[np.str_], limbs_mm: Array, ends: Sequence[str]) -> Finding:
    """limbs_mm (n, limbs): lengths of the bones to `ends` in n pictures."""
    if not ends:
        return Finding(split, "bones constant", False, "not checked: no limb is between two joints of Human3.6M")
    largest, uneven = 0.0, []
    for subject in np.unique(subjects):
        mean_mm, std_mm = mean_and_deviation(limbs_mm[subjects == subject])
        relative = std_mm / np.maximum(mean_mm, 1e-6)
        largest = max(largest, float(relative.max()))
        uneven += [
            f"{subject}: the bone to {ends[int(i)]} varies by {relative[i]:.0%} about {mean_mm[i]:.0f} mm"
            for i in np.flatnonzero(relative > LARGEST_SPREAD)
        ]
    return Finding(split, "bones constant", bool(uneven), f"limbs vary by up to {largest:.1%} a subject", uneven)


def _check_sides(split: StoredSplit, camera_mm: Array) -> Finding:
    names = split.skeleton.names
    if missing := [name for name in HUMAN36M.names if name not in names]:
        return Finding(split.split, "left and right", False, f"not checked: there is no joint {missing[0]}")
    evidence = side_evidence(camera_mm[:, list(joint_order(names, HUMAN36M.names))])
    doubt = "; doubtful, look at the contact sheet" if evidence.is_doubtful else ""
    result = f"order {evidence.order}: {evidence}{doubt}"
    is_named = names != HUMAN36M.names  # then nothing turns the legs
    advice = {
        "c2f": ["the legs have each other's names" if is_named else
                "the left leg is at 1-3; training turns it (data.joint_order), other programs may not"],
        "mirrored": ["left and right are exchanged throughout; the poses are mirrored"],
    }.get(evidence.order, [])  # fmt: skip
    is_bad = evidence.order == "mirrored" or (is_named and evidence.order == "c2f")
    return Finding(split.split, "left and right", is_bad, result, advice)


def _check_projection(split: StoredSplit, crop_px: Array, camera_mm: Array, rows: NDArray[np.intp]) -> Finding:
    """The 3D joints, moved to the root and through the camera and the crop, against the 2D joints."""
    missing = [key for key in ("camera", "crop_to_image", "root_camera_mm") if key not in split.columns]
    if missing:
        return Finding(split.split, "3D meets 2D", False, f"not checked: the set has no '{missing[0]}'")
    left_top, scale = np.split(split.columns["crop_to_image"], [2], axis=1)
    joints_mm = root_relative(camera_mm, split.skeleton.root) + split.columns["root_camera_mm"][:, None]
    residual_px = np.zeros(len(crop_px))
    cameras, camera_of = np.unique(split.columns["camera"][rows], axis=0, return_inverse=True)
    for i, numbers in enumerate(cameras):
        seen = rows[camera_of.reshape(-1) == i]
        image_px = camera_of_row(numbers).camera_to_image_px(joints_mm[seen])
        projected_px = (image_px - left_top[seen, None]) / scale[seen, None]
        labelled = is_labelled(crop_px[seen]) & is_labelled(root_relative(camera_mm[seen], split.skeleton.root))
        residual_px[seen] = np.where(labelled[..., None], np.abs(projected_px - crop_px[seen]), 0).max(axis=(1, 2))
    bad = ~(residual_px <= LARGEST_RESIDUAL_PX)
    return _rows_finding(
        split, "3D meets 2D", bad, f"off by over 1 px; max {residual_px.max(initial=0):.2g} px of the crop"
    )
