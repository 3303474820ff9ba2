"""Who paints the pictures of a set: a painter makes picture and labels of a shot from its index and the seed alone."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from integral_pose.datasets.writer import label_row
from integral_pose.synthetic.actions import ACTIONS
from integral_pose.synthetic.body_model import BODIES
from integral_pose.synthetic.body_surface import Clothes, draw_clothes
from integral_pose.synthetic.presets import Difficulty
from integral_pose.synthetic.render import render
from integral_pose.synthetic.scene import draw_scene
from integral_pose.synthetic.shots import Shot

STREAMS = {"train": 0, "valid": 1, "clothes": 2}  # first words of the random streams


class Painted(NamedTuple):
    """(H, W, 3) RGB, and the columns that follow from the scene."""

    image: NDArray[np.uint8]
    labels: dict[str, Any]


class Painter(Protocol):
    """Is sent to the workers, so it holds little."""

    def paint(self, split: str, index: int, shot: Shot) -> Painted:
        """The picture number `index` of a split; the same whoever asks, and in whatever order."""

    def settings(self) -> dict[str, Any]:
        """What its pictures depend on beside the shot, as JSON has it."""


@dataclass(frozen=True)
class MannequinPainter:
    """Mannequins in the four cameras of Human3.6M: fast, and without further packages."""

    seed: int
    difficulty: Difficulty

    def paint(self, split: str, index: int, shot: Shot) -> Painted:
        """See `Painter`."""
        hard = self.difficulty
        rng = np.random.default_rng([STREAMS[split], index, self.seed])
        scene = draw_scene(
            shot.subject, shot.action, shot.camera_id, rng, hard.looseness, hard.wide_share, hard.reclining_share
        )
        clothes = _clothes_of(shot, self.seed, hard.has_marks)
        image = render(scene, BODIES[shot.subject], clothes, rng, hard)
        return Painted(image, label_row(scene.joints_image_px, scene.body.joints_mm, scene.camera, scene.crop))

    def settings(self) -> dict[str, Any]:
        """See `Painter`."""
        return {"people": "mannequin", "seed": self.seed, **self.difficulty._asdict()}


def _clothes_of(shot: Shot, seed: int, has_marks: bool) -> Clothes:
    """The same in all pictures of a sequence, from whichever camera."""
    sequence = [list(BODIES).index(shot.subject), list(ACTIONS).index(shot.action), shot.sub_action]
    return draw_clothes(np.random.default_rng([STREAMS["clothes"], *sequence, seed]), has_marks)
