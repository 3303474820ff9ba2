"""The report page: one HTML file about one or several runs, self-contained. Its structure is templates/page.html."""

import base64
import hashlib
import io
from typing import Any

import jinja2
import numpy as np
import plotly.offline
from numpy.typing import NDArray
from PIL import Image

from integral_pose.report import charts, pose_svg, tables
from integral_pose.report.canvas import Picture
from integral_pose.report.colours import SERIES_COLOURS, SIDE_COLOURS
from integral_pose.report.page_content import PageContent, ShownImage

JPEG_QUALITY = 78
PNG_COLOURS = 256  # of a palette: a heat map's colour scale and its letters need no more


def render(content: PageContent) -> str:
    """The file as text: the same content gives the same bytes."""
    page = environment()
    assert page.loader is not None, "set below"
    programs = [plotly.offline.get_plotlyjs(), page.loader.get_source(page, "page.js")[0]]
    drawn = _charts(content)
    return page.get_template("page.html").render(
        content=content,
        title="Report: " + ", ".join(run.name for run in content.runs),
        shown=[*content.worst, *content.random],
        charts=drawn,
        data=_data(content, drawn),
        programs=programs,
        program_hashes=[base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in programs],
    )


def environment() -> jinja2.Environment:
    """Where the templates are, and what they call. Every value is escaped, whatever it looks like."""
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("integral_pose.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    page.filters.update(jpeg=_jpeg_uri, png=_png_uri, mm="{:.1f}".format, count="{:,}".format)
    page.globals.update(
        pose_svg=pose_svg, tables=tables, side_colours=SIDE_COLOURS, series_colours=SERIES_COLOURS,
        most_points=charts.MOST_POINTS,
    )  # fmt: skip
    return page


def _charts(content: PageContent) -> dict[str, charts.Chart]:
    found = {"error-curve": charts.error_curves(content.runs), "loss-curve": charts.loss_curves(content.runs)}
    if content.comparison and "action" in content.comparison.groups:
        names = [run.name for run in content.runs]
        found["action-bars"] = charts.bars(content.comparison.groups["action"], names)
    return {name: chart for name, chart in found.items() if chart}


def _data(content: PageContent, drawn: dict[str, charts.Chart]) -> dict[str, Any]:
    """What page.js draws."""
    skeleton = content.skeleton
    return {
        "charts": drawn,
        "runs": [charts.shown(run.name) for run in content.runs],
        "samples": [_in_space(image) for image in (*content.worst, *content.random)],
        "joints": [charts.shown(name) for name in skeleton.names],
        "bones": [[child, parent, skeleton.side(child)] for child, parent in skeleton.bones],
    }


def _in_space(image: ShownImage) -> dict[str, Any]:
    """Poses in whole mm."""
    return {
        "name": image.name,
        "truth": None if image.true_mm is None else _rounded(image.true_mm),
        "predicted": [_rounded(pose) for pose in image.predicted_mm],
        "errors": [round(float(error), 1) for error in image.errors_mm],
    }


def _rounded(pose_mm: NDArray[Any]) -> list[list[int]]:
    return np.rint(pose_mm).astype(int).tolist()


def _jpeg_uri(picture: Picture) -> str:
    """A photograph (H, W, 3) as the source of an image element."""
    return _data_uri(Image.fromarray(picture), "JPEG", quality=JPEG_QUALITY)


def _png_uri(picture: Picture) -> str:
    """A drawing (H, W, 3) of few colours as the source of an image element."""
    return _data_uri(Image.fromarray(picture).quantize(PNG_COLOURS, dither=Image.Dither.NONE), "PNG", optimize=True)


def _data_uri(image: Image.Image, form: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
