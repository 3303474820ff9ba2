"""Matplotlib figures as (H, W, 3) RGB arrays, and PNG files of these."""

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from integral_pose.io.atomic import atomic_write
from integral_pose.io.images import Picture

INCH_PX = 100  # dots an inch of every figure


def new_figure(width_px: int, height_px: int) -> Figure:
    """A figure with its own canvas, so that no window system and no global state are touched."""
    figure = Figure(figsize=(width_px / INCH_PX, height_px / INCH_PX), dpi=INCH_PX)
    FigureCanvasAgg(figure)
    return figure


def to_picture(figure: Figure) -> Picture:
    """(H, W, 3)."""
    return to_rgba(figure)[..., :3].copy()


def to_rgba(figure: Figure) -> Picture:
    """(H, W, 4), the canvas's own memory; colours are not multiplied by their opacity."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg), "figures are made by new_figure"
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def shortened(text: str, most: int) -> str:
    """The end of a text of more than `most` letters, which tells file names apart."""
    return text if len(text) <= most else "…" + text[1 - most :]


def write_png(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write an (H, W, 3) RGB array."""
    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, format="PNG")
