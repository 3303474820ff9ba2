"""What rendered pictures are like, and the sets that have a name: anybody renders the same pictures."""

from typing import NamedTuple

from integral_pose.errors import ConfigError


class Difficulty(NamedTuple):
    """What makes a person hard to read."""

    looseness: float  # how far poses stray from the families of their action
    clutter: int  # times the usual number of shapes behind the person
    max_occluders: int  # at most so many things before the person
    wide_share: float  # of poses that are lying, bent over or have crossed arms, in any action
    has_marks: bool  # whether clothes and shoes tell left from right
    reclining_share: float = 0.0  # of the wide poses
    sleeveless_share: float = 0.0  # of people with clothes of their own; no mannequin has any


EASY = Difficulty(looseness=1.0, clutter=1, max_occluders=0, wide_share=0.05, has_marks=False)
HARD = Difficulty(looseness=1.8, clutter=3, max_occluders=4, wide_share=0.35, has_marks=False)
PEOPLE = Difficulty(looseness=1.3, clutter=1, max_occluders=3, wide_share=0.3, has_marks=False)
PEOPLE_ON_FLOORS = PEOPLE._replace(wide_share=0.45, reclining_share=0.35)
PEOPLE_IN_SUMMER = PEOPLE_ON_FLOORS._replace(sleeveless_share=0.5)
# What was rendered before people could do without marks; their figures stay comparable.
EASY_MARKED, HARD_MARKED = (each._replace(wide_share=0.0, has_marks=True) for each in (EASY, HARD))


class Preset(NamedTuple):
    """A named set; its pictures are the first of a set of `first_of` training and test pictures."""

    num_train: int
    num_valid: int
    first_of: tuple[int, int]
    seed: int
    difficulty: Difficulty
    sha256: str | None  # of all image files in the order of the lists, training first; None: not recorded
    people: str = "mannequin"
    cameras: str = "human36m"


WHOLE, SMALL = (20_000, 2_000), (6_000, 1_000)
PRESETS = {
    "synthetic-1": Preset(
        *WHOLE, WHOLE, 101, HARD_MARKED, "6b772d6aa597369fe79d433ac406418df65269032eba42c1d2d59a291a710848"
    ),
    "synthetic-1-small": Preset(
        *SMALL, WHOLE, 101, HARD_MARKED, "c63b649559e2dc4343399e28064927e04352a78d0a43a50d4becf3b57a2a1a8c"
    ),
    "synthetic-2": Preset(*WHOLE, WHOLE, 102, HARD, "fbb7627bf3c50d2117dbc550b38e7f36900d40a5334073d5448491164eef3e69"),
    "synthetic-2-small": Preset(
        *SMALL, WHOLE, 102, HARD, "770ab74d6ccba1ac76efe1586e3cf4094f8c2f798a52585c2cd477db3975ce3f"
    ),
    "people-1": Preset(
        *WHOLE, WHOLE, 103, PEOPLE, "226ba296f5c3e6c58d552522696d69d1f5a5a878e1a35b3584cc682e2d6df500", "anny", "wide"
    ),
    "people-2": Preset(
        *WHOLE, WHOLE, 104, PEOPLE_ON_FLOORS,
        "1894fb361ced80c73f96be0022180951bf6b9cb5246c1771276e95ce7df9bd4b", "anny", "wide",
    ),
    "people-3": Preset(
        *WHOLE, WHOLE, 105, PEOPLE_IN_SUMMER,
        "12ce234b7fae8ba0a1632436e0e5e48c7548d6f23e3dbd034686e0667d60e3c6", "anny", "wide",
    ),
    "people-1-small": Preset(
        1_000, 200, WHOLE, 103, PEOPLE,
        "84a2359cb2c3f17d978660994b14af5dd987f76f3a5e956f59c251bad93f4818", "anny", "wide",
    ),
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """The set of that name; ConfigError for an unknown one."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'. Known: {', '.join(PRESETS)}")
    return PRESETS[name]
