"""What a Human3.6M image name says: subject, action, sub-action, camera and frame."""

import re
from typing import NamedTuple

# Only subject 1's recordings carry the long forms; tables in the literature use the short ones for everybody.
CANONICAL_ACTIONS = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog", "WalkingTogether": "WalkTogether"}

_IMAGE_NAME = re.compile(
    r"(?P<set>T?S)(?P<subject>\d+)_(?P<action>[A-Za-z]+)(?:[_ ](?P<sub_action>\d+))?"
    r"\.(?P<camera>\d+)_(?P<frame>\d+)\.(?:jpg|jpeg|png)",
    re.ASCII | re.IGNORECASE,
)


class FrameName(NamedTuple):
    """The parts of an image name."""

    subject: str  # "S1"; "TS1" for the people of MPI-INF-3DHP's test set
    action: str  # canonical: "Photo", "WalkDog" and "WalkTogether" for every subject
    sub_action: int | None  # the number in the name, which some recordings lack; not the take's order in time
    camera: str  # "54138969"
    frame: int  # as in the name


def parse_frame_name(name: str) -> FrameName | None:
    """The parts of `folder/S1_Directions_1.54138969_000001.jpg`; folders are ignored, the `_1` may be missing.

    None for a name of another form.
    """
    match = _IMAGE_NAME.fullmatch(re.split(r"[/\\]", name)[-1])
    if match is None:
        return None
    action, sub_action = match["action"], match["sub_action"]
    return FrameName(
        subject=f"{match['set'].upper()}{int(match['subject'])}",
        action=CANONICAL_ACTIONS.get(action, action),
        sub_action=None if sub_action is None else int(sub_action),
        camera=match["camera"],
        frame=int(match["frame"]),
    )
