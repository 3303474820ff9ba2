"""Pictures and a table of labels -> a data set: python own_set.py PICTURES LABELS.csv ROOT."""

import csv
import sys
from pathlib import Path

import h5py
import numpy as np

from integral_pose.geometry.crop import C2F_FACTOR, crop_round
from integral_pose.io.images import read_picture
from integral_pose.io.resampling import encode_crop
from integral_pose.io.skeleton_file import write_skeleton
from integral_pose.skeleton import Skeleton

PARENTS = {"Chest": "Hip", "Head": "Chest", "LHand": "Chest", "RHand": "Chest", "LFoot": "Hip", "RFoot": "Hip"}
SKELETON = Skeleton(("Hip", *PARENTS), PARENTS, (("LHand", "RHand"), ("LFoot", "RFoot")))  # left, right

pictures, table, root = map(Path, sys.argv[1:])
(root / "images").mkdir(parents=True)
(root / "annot").mkdir()
write_skeleton(root / "annot", SKELETON)
people = list(csv.DictReader(table.read_text("utf-8").splitlines()))
for split in ("train", "valid"):
    own, joints_px, joints_mm = [person for person in people if person["split"] == split], [], []
    for person in own:  # columns Hip_u Hip_v: px of the picture, Hip_x Hip_y Hip_z: mm; nan where there is no label
        image_px, mm = (np.array([[person[f"{joint}_{axis}"] for axis in axes] for joint in SKELETON.names], float)
                        for axes in ("uv", "xyz"))  # fmt: skip
        crop = crop_round(image_px[np.isfinite(image_px).all(1)], C2F_FACTOR, size_px=256)
        (root / "images" / person["picture"]).write_bytes(encode_crop(read_picture(pictures / person["picture"]), crop))
        joints_px.append(crop.image_px_to_crop_px(image_px))
        joints_mm.append(mm)
    with h5py.File(root / "annot" / f"{split}.h5", "w") as file:
        file["pose2d"], file["pose3d"] = joints_px, joints_mm
        for column in ("subject", "sequence"):
            file[column] = np.array([person[column] for person in own], "S32")
    (root / "annot" / f"{split}_images.txt").write_text("".join(f"{person['picture']}\n" for person in own), "utf-8")
