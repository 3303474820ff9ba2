"""What is said of a model that is passed on: what it has learnt from, under which licence it is, how far off it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from integral_pose.config.value_types import NonNegative, PositiveFloat

# Groups of the real crops of docs/real_pictures.md, in words.
REAL_CROPS = {"upright": "three real people who stand", "S5": "a real one who lies"}


@dataclass(frozen=True)
class ModelCard:
    """Part of a model file, after Mitchell et al., *Model Cards for Model Reporting* (2019)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    data: str  # name of the set that the network has learnt from
    images_seen: NonNegative  # one counts each time; those of the runs that it started from included
    recipe: str  # the configuration of the run as YAML, of its paths the names alone
    licence: str = ""  # '' where nobody has said
    test_mm: PositiveFloat | None = None  # MPJPE on the test images of `data`
    # Of `benchmarks real_pictures`: by crop and group of crops, then the PCK of both samples of people.
    real_pictures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    flip: bool = False  # whether the errors are of predictions averaged with those of the mirrored pictures

    def summary(self) -> str:
        """One line for people."""
        crops = {words: self.real_pictures.get(name, {}).get("mpjpe_mm") for name, words in REAL_CROPS.items()}
        errors = {f"the test images of {self.data}": self.test_mm, **crops}
        known = [f"{mm:.1f} mm on {words}" for words, mm in errors.items() if mm is not None]
        how = " (with --flip)" if self.flip else ""
        measured = f"MPJPE{how} {', '.join(known)}" if known else "its errors were not measured"
        return (
            f"trained on {self.images_seen:,} images of {self.data}, {self.licence or 'no licence stated'}; {measured}"
        )
