"""How hard rendered pictures are, and the sets that have a name: anybody renders the same pictures."""

from __future__ import annotations

from typing import NamedTuple


class Difficulty(NamedTuple):
    """What makes a person hard to read."""

    looseness: float  # how far poses stray from the families of their action
    clutter: int  # times the usual number of shapes behind the person
    max_occluders: int  # at most so many things before the person


EASY = Difficulty(looseness=1.0, clutter=1, max_occluders=0)
HARD = Difficulty(looseness=1.8, clutter=3, max_occluders=4)


class Preset(NamedTuple):
    """A named set; its pictures are the first of a set of `first_of` training and test pictures."""

    num_train: int
    num_valid: int
    first_of: tuple[int, int]
    seed: int
    difficulty: Difficulty
    sha256: str  # of all image files in the order of the lists, training first


PRESETS = {
    "synthetic-1": Preset(
        20_000, 2_000, (20_000, 2_000), 101, HARD, "6b772d6aa597369fe79d433ac406418df65269032eba42c1d2d59a291a710848"
    ),
    "synthetic-1-small": Preset(
        6_000, 1_000, (20_000, 2_000), 101, HARD, "c63b649559e2dc4343399e28064927e04352a78d0a43a50d4becf3b57a2a1a8c"
    ),
}
