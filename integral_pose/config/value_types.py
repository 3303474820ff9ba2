"""Types of single values in a configuration: numbers in a range, bounds in order, paths, durations."""

import math
import os
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"holds a NUL, which no path can: {text[:200]!r}")
    return text


# The run folder's config.yaml has `~` written out, so that it means the same folder to everybody.
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_without_nul), AfterValidator(os.path.expanduser)]


def _in_order(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"expected the lower bound first; take [{bounds[1]:g}, {bounds[0]:g}]")
    return bounds


_Two = Field(min_length=2, max_length=2)
Range = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], _Two, AfterValidator(_in_order)]
PositiveRange = Annotated[list[PositiveFloat], _Two, AfterValidator(_in_order)]
NonNegativeRange = Annotated[list[NonNegativeFloat], _Two, AfterValidator(_in_order)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareRange = Annotated[list[Share], _Two, AfterValidator(_in_order)]
JpegRange = Annotated[list[Annotated[int, Field(ge=0, le=99)]], _Two, AfterValidator(_in_order)]
HueRange = Annotated[list[Annotated[int, Field(ge=-255, le=255)]], _Two, AfterValidator(_in_order)]


def _multiples_of_stride(sizes: list[int]) -> list[int]:
    for size in sizes:
        if size % BACKBONE_STRIDE:
            below = size // BACKBONE_STRIDE * BACKBONE_STRIDE
            near = " or ".join(str(near) for near in (below, below + BACKBONE_STRIDE) if near)
            raise ValueError(f"expected multiples of the backbone's stride {BACKBONE_STRIDE}; take {near} for {size}")
    return sizes


BACKBONE_STRIDE = 32
Channels = Annotated[list[Annotated[int, Field(gt=0, le=65536)]], Field(max_length=8)]
ImageSize = Annotated[list[Positive], _Two, AfterValidator(_multiples_of_stride)]  # height, width


def _root_depth(value: Any) -> Any:
    if value in ("labels", "bone_length"):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError("expected labels, bone_length or a depth in mm greater than 0")


def _axis_terms(value: Any) -> Any:
    return {True: "linear", False: "none"}[value] if isinstance(value, bool) else value


AxisTermsName = Annotated[Literal["none", "linear", "gaussian"], BeforeValidator(_axis_terms)]  # true was linear once


def _number_of_crops(number: int) -> int:
    if number not in (1, 5, 7):
        raise ValueError("expected 1, 5 or 7")
    return number


Crops = Annotated[int, AfterValidator(_number_of_crops)]  # not a Literal, which takes true for 1
RootDepth = Annotated[Literal["labels", "bone_length"] | float, PlainValidator(_root_depth)]


def _duration(text: str) -> str:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?[hms]", text, re.ASCII) or float(text[:-1]) == 0:
        raise ValueError(f"expected a number and h, m or s, for example 23h, found {text[:200]!r}")
    return text


Duration = Annotated[str, AfterValidator(_duration)]


def _interval(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII):  # from the command line
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    if isinstance(value, str):
        return _duration(value)
    raise ValueError("expected a number of steps greater than 0, a duration, for example 15m, or null")


Interval = Annotated[int | str | None, PlainValidator(_interval)]  # steps, or a duration
SECONDS_OF = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(duration: str) -> float:
    """A `Duration` in seconds."""
    return float(duration[:-1]) * SECONDS_OF[duration[-1]]


def _backbone(name: str) -> str:
    if name not in RESNETS and not re.fullmatch(r"timm/[\w.]{1,100}", name, re.ASCII):
        raise ValueError(f"expected {', '.join(map(repr, RESNETS))} or timm/NAME")
    return name


RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
Backbone = Annotated[str, AfterValidator(_backbone)]
