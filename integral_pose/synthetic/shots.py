"""Which pictures a synthetic set holds: counts dealt evenly over people, actions, cameras and sequences."""

import itertools
from collections import Counter
from typing import NamedTuple

from integral_pose.geometry.camera import CAMERA_IDS
from integral_pose.synthetic.actions import ACTIONS

SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "valid": ("S9", "S11")}
SUB_ACTIONS = (1, 2)


class Shot(NamedTuple):
    """One picture of the set."""

    subject: str
    action: str
    sub_action: int
    camera_id: str
    frame: int  # from 1

    @property
    def file_name(self) -> str:
        """Name of the picture, in the manner of Human3.6M."""
        return f"{self.subject}_{self.action}_{self.sub_action}.{self.camera_id}_{self.frame:06d}.jpg"


def list_shots(split: str, count: int) -> list[Shot]:
    """`count` pictures of 'train' or 'valid', ordered by subject, action, sub-action, camera and frame."""
    dealt = Counter(_deal(split, turn) for turn in range(count))
    order = itertools.product(SUBJECTS[split], ACTIONS, SUB_ACTIONS, CAMERA_IDS)
    return [Shot(*group, frame) for group in order for frame in range(1, dealt[group] + 1)]


def _deal(split: str, turn: int) -> tuple[str, str, int, str]:
    """Who gets the picture number `turn`.

    People take turns; the action moves on by one each round, with the people spread over the list of actions,
    and the camera moves by one each round and by one more each time all actions have passed. So any number of
    pictures is even to within a few over each, and every combination comes up before one is repeated.
    """
    subjects, actions = SUBJECTS[split], tuple(ACTIONS)
    round_number, person = divmod(turn, len(subjects))
    action = (round_number + person * (len(actions) // len(subjects))) % len(actions)
    camera = (round_number + person) % len(CAMERA_IDS)
    sub_action = round_number // (len(actions) * len(CAMERA_IDS)) % len(SUB_ACTIONS)
    return subjects[person], actions[action], SUB_ACTIONS[sub_action], CAMERA_IDS[camera]
