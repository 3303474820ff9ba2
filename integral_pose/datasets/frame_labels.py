"""A labelled person of a picture -> the crop, and the row of the data set that belongs to it."""

from typing import Any

import numpy as np

from integral_pose.datasets.human36m_table import takes
from integral_pose.datasets.recording import FlatFrame, LabelledCrop, LabelledFrame
from integral_pose.datasets.writer import label_row
from integral_pose.geometry.crop import (
    C2F_FACTOR,
    POSENET_FACTOR,
    TIGHT_FACTOR,
    Crop,
    crop_c2f,
    crop_metric,
    crop_posenet,
    crop_round,
    crop_tight,
)
from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.io.frame_names import parse_frame_name
from integral_pose.io.resampling import encode_crop

SIZE_PX = 256
# Of people in pictures of any size, whose crops cannot have a margin in px, or one in mm.
FLAT_FACTORS = {"c2f": C2F_FACTOR, "tight": TIGHT_FACTOR, "posenet": POSENET_FACTOR}


def crop_frame(frame: LabelledFrame | FlatFrame | LabelledCrop, crop_name: str) -> LabelledCrop:
    """The square round the person of a frame, with its labels."""
    if isinstance(frame, LabelledCrop):
        return frame
    crop = _choose_crop(frame, crop_name)
    return LabelledCrop(encode_crop(frame.picture, crop), _columns_of_frame(frame, crop))


def _choose_crop(frame: LabelledFrame | FlatFrame, crop: str) -> Crop:
    """The square round the person of a frame."""
    if isinstance(frame, FlatFrame):
        return crop_round(frame.extent_image_px, FLAT_FACTORS[crop], SIZE_PX)
    if crop == "metric":
        root_camera_mm = frame.joints_camera_mm[0]
        root_image_px = frame.camera.camera_to_image_px(root_camera_mm)
        return crop_metric(root_image_px, float(root_camera_mm[2]), frame.camera.focal_px, SIZE_PX)
    return {"c2f": crop_c2f, "tight": crop_tight, "posenet": crop_posenet}[crop](frame.joints_image_px, SIZE_PX)


def _columns_of_frame(frame: LabelledFrame | FlatFrame, crop: Crop) -> dict[str, Any]:
    """The columns of the .h5, and the file name."""
    if isinstance(frame, LabelledFrame):
        seen = label_row(frame.joints_image_px, frame.joints_camera_mm, frame.camera, crop)
        return {**seen, **_columns_of_name(frame.file_name)}
    return {
        "pose2d": crop.image_px_to_crop_px(frame.joints_image_px),
        "visible": is_labelled(frame.joints_image_px),
        "crop_to_image": np.array([crop.left_px, crop.top_px, crop.scale]),
        "file_name": frame.file_name,
    }


def _columns_of_name(file_name: str) -> dict[str, Any]:
    """Subject, action, take and frame. The take is not the number in the name where Human3.6M's table knows better."""
    name = parse_frame_name(file_name)
    assert name is not None, f"{file_name}: recordings name their crops in the form of io.frame_names"
    take = takes().get(file_name.partition(".")[0].replace(" ", "_"), name.sub_action or 0)
    return {"file_name": file_name, "subject": name.subject, "action": name.action, "sub_action": take,
            "frame": name.frame}  # fmt: skip
