"""A page of crops with their joints drawn over them, to be looked at by a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from integral_pose.io.atomic import atomic_write
from integral_pose.skeleton import HUMAN36M, Skeleton

CELL_PX = 288
TITLE_PX = 14
COLUMNS = 6
# Right blue, left vermilion, as in every figure of the project; white edges for use on photographs.
COLOURS = {"right": (0, 114, 178), "left": (213, 94, 0), "middle": (64, 64, 64)}


class Crop(NamedTuple):
    """One cell of the sheet."""

    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    joints_crop_px: NDArray[np.float32] | None  # (J, 2)
    title: str


def write_contact_sheet(path: Path, crops: Sequence[Crop], skeleton: Skeleton = HUMAN36M) -> None:
    """Write the crops as one PNG, COLUMNS a row."""
    rows = -(-len(crops) // COLUMNS)
    sheet = Image.new("RGB", (min(len(crops), COLUMNS) * CELL_PX, rows * (CELL_PX + TITLE_PX)), "white")
    for i, crop in enumerate(crops):
        corner = (i % COLUMNS * CELL_PX, i // COLUMNS * (CELL_PX + TITLE_PX))
        sheet.paste(_draw_cell(crop, skeleton), corner)
    with atomic_write(path) as file:
        sheet.save(file, format="PNG")


def _draw_cell(crop: Crop, skeleton: Skeleton) -> Image.Image:
    cell = Image.new("RGB", (CELL_PX, CELL_PX + TITLE_PX), "white")
    height, width = crop.picture.shape[:2]
    scale = CELL_PX / max(height, width)
    enlarged = Image.fromarray(crop.picture).resize((round(width * scale), round(height * scale)))
    draw = ImageDraw.Draw(enlarged)
    if crop.joints_crop_px is not None and np.isfinite(crop.joints_crop_px).all():
        points = [tuple(point) for point in (crop.joints_crop_px * scale).tolist()]
        for colour_of, line_width in ((lambda _: (255, 255, 255), 5), (lambda side: COLOURS[side], 3)):
            for child, parent in skeleton.bones:
                draw.line([points[child], points[parent]], fill=colour_of(skeleton.side(child)), width=line_width)
        for joint, (x, y) in enumerate(points):
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS[skeleton.side(joint)], outline=(255, 255, 255))
    cell.paste(enlarged, (0, TITLE_PX))
    # Pillow's built-in font has no letters beyond Latin-1.
    ImageDraw.Draw(cell).text((3, 1), crop.title.encode("ascii", "replace").decode(), fill="black")
    return cell
