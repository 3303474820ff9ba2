"""Whatever is drawn side by side can be told apart, in every figure and on the page in the light and in the dark."""

import itertools
import re

import numpy as np
import pytest

from integral_pose.datasets.contact_sheet import COLOURS
from integral_pose.report.colours import GREY, MIDDLE_GREY, SERIES_COLOURS, SIDE_COLOURS
from integral_pose.report.page import environment

LEAST_DISTANCE = 30  # in CIE L*a*b*, where 2.3 is just seen


def lab(colour):
    """(3,) of a hexadecimal sRGB colour, white of D65."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ linear
    share = xyz / [0.9505, 1.0, 1.089]
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def page_colours(scheme):
    """Name -> colour of the page's style sheet."""
    sheet = environment().get_template("page.css").render()
    light, _, dark = sheet.partition("prefers-color-scheme: dark")
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", light))
    return found if scheme == "light" else found | dict(re.findall(r"--([\w-]+): (#\w{6})", dark.partition("html")[0]))


def test_lab_by_hand():
    np.testing.assert_allclose(lab("#ffffff"), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(lab("#ff0000"), [53.24, 80.09, 67.20], atol=0.05)
    np.testing.assert_allclose(lab("#000000"), [0, 0, 0], atol=0.02)


def nearest(colours):
    return min(np.linalg.norm(lab(one) - lab(other)) for one, other in itertools.combinations(colours, 2))


@pytest.mark.parametrize(
    "colours",
    [
        [*SIDE_COLOURS.values(), "#000000", "#999999"],  # skeletons, the black of the legend, the axes' grey
        [*SERIES_COLOURS, GREY],  # curves, and the level of the mean pose
    ],
)
def test_figures(colours):
    assert nearest(colours) > LEAST_DISTANCE


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page(scheme):
    colours = page_colours(scheme)
    series = [colours[f"series-{number}"] for number in range(len(SERIES_COLOURS))]
    assert nearest([*series, MIDDLE_GREY, colours["paper"]]) > LEAST_DISTANCE
    # Lines of a pose, those of the legend without a side, joints and what they lie on.
    poses = [colours[name] for name in (*SIDE_COLOURS, "faint", "paper")]
    assert nearest(poses) > LEAST_DISTANCE


def test_the_contact_sheet_has_the_colours_of_all_figures():
    assert {side: f"#{bytes(colour).hex().upper()}" for side, colour in COLOURS.items()} == SIDE_COLOURS
