"""A page of crops with their joints drawn over them, to be looked at by a person."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from integral_pose.geometry.labelled_means import is_labelled
from integral_pose.io.atomic import atomic_write
from integral_pose.skeleton import Skeleton

CELL_PX = 288
TITLE_PX = 14
COLUMNS = 6
# Right blue, left vermilion, middle green, as in every figure of the project; white edges for use on photographs.
COLOURS = {"right": (0, 114, 178), "left": (213, 94, 0), "middle": (0, 158, 115)}


class Cell(NamedTuple):
    """A crop to show."""

    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    joints_crop_px: NDArray[np.float32] | None  # (J, 2)
    title: str


def write_contact_sheet(path: Path, cells: Sequence[Cell], skeleton: Skeleton) -> None:
    """Write the cells as one PNG, COLUMNS a row."""
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (min(len(cells), COLUMNS) * CELL_PX, rows * (CELL_PX + TITLE_PX)), "white")
    for i, cell in enumerate(cells):
        corner = (i % COLUMNS * CELL_PX, i // COLUMNS * (CELL_PX + TITLE_PX))
        sheet.paste(_draw(cell, skeleton), corner)
    with atomic_write(path) as file:
        sheet.save(file, format="PNG")


def _draw(cell: Cell, skeleton: Skeleton) -> Image.Image:
    drawn = Image.new("RGB", (CELL_PX, CELL_PX + TITLE_PX), "white")
    height, width = cell.picture.shape[:2]
    scale = CELL_PX / max(height, width)
    enlarged = Image.fromarray(cell.picture).resize((round(width * scale), round(height * scale)))
    draw = ImageDraw.Draw(enlarged)
    if cell.joints_crop_px is not None:
        known = np.flatnonzero(is_labelled(cell.joints_crop_px)).tolist()
        points = {joint: tuple((cell.joints_crop_px[joint] * scale).tolist()) for joint in known}
        for line_width, edge in ((5, (255, 255, 255)), (3, None)):
            for child, parent in skeleton.bones:
                if child in points and parent in points:
                    draw.line([points[child], points[parent]], edge or COLOURS[skeleton.side(child)], line_width)
        for joint, (x, y) in points.items():
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS[skeleton.side(joint)], outline=(255, 255, 255))
    drawn.paste(enlarged, (0, TITLE_PX))
    # Pillow's built-in font has no letters beyond Latin-1.
    ImageDraw.Draw(drawn).text((3, 1), cell.title.encode("ascii", "replace").decode(), fill="black")
    return drawn
