"""The labelled photographs that INTEGRAL_POSE_SAMPLES names: crops of Human3.6M, people of COCO and of MPII.

They are not ours to pass on, so where they are absent whatever needs them is skipped, with the reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from integral_pose.geometry.crop import tight_box
from integral_pose.io.readers import read_json

# Joints that all three label, by our names; COCO has them in this order.
JOINTS = (
    "LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist",
    "LHip", "RHip", "LKnee", "RKnee", "LFoot", "RFoot",
)  # fmt: skip
COCO_INDICES = list(range(5, 17))
MPII_INDICES = [13, 12, 14, 11, 15, 10, 3, 2, 4, 1, 5, 0]


@dataclass(frozen=True, eq=False)
class LabelledPerson:
    """A person in a photograph."""

    name: str
    picture: Path
    box_image_px: NDArray[np.float64]  # (4,) x, y, w, h
    joints_image_px: NDArray[np.float64]  # (12, 2) JOINTS; NaN where not labelled


def samples_folder() -> tuple[Path, str]:
    """The folder of the samples, and why they cannot be used: '' where they can."""
    folder = Path(os.environ.get("INTEGRAL_POSE_SAMPLES", ""))
    missing = [name for name in ("h36m_real_sample", "coco_sample", "mpii_sample") if not (folder / name).is_dir()]
    return folder, f"INTEGRAL_POSE_SAMPLES names no folder that holds {', '.join(missing)}" if missing else ""


def read_coco(folder: Path) -> list[LabelledPerson]:
    """The labelled people with COCO's boxes, which go round the whole body. Pixels count from 0, by their corners."""
    content = read_json(folder / "person_keypoints_sample.json")
    files = {image["id"]: image["file_name"] for image in content["images"]}
    people = []
    for entry in content["annotations"]:
        if entry["num_keypoints"]:
            joints = np.reshape(entry["keypoints"], (17, 3))[COCO_INDICES].astype(np.float64)
            joints[joints[:, 2] == 0] = np.nan
            path = folder / "images" / files[entry["image_id"]]
            box_px = np.array(entry["bbox"], dtype=np.float64)
            people.append(LabelledPerson(f"{path.stem}-{entry['id']}", path, box_px, joints[:, :2] + 0.5))
    return people


def read_mpii(folder: Path) -> list[LabelledPerson]:
    """People with the tight boxes of their joints, as MPII labels only a centre and a size. Pixels count from 1."""
    people = []
    for entry in read_json(folder / "annot_sample.json"):
        joints_px = np.array(entry["joints"], dtype=np.float64) - 0.5
        joints_px[np.equal(entry["joints_vis"], 0)] = np.nan
        middle_px, sides_px = tight_box(joints_px[np.isfinite(joints_px[:, 0])])
        box_px = np.concatenate([middle_px - sides_px / 2, sides_px])
        path = folder / "images" / entry["image"]
        people.append(LabelledPerson(path.stem, path, box_px, joints_px[MPII_INDICES]))
    return people
