"""Markup that escapes by itself: what is not `Html` already is text, whatever it looks like."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from integral_pose.report.canvas import Picture

VOID_TAGS = {"img", "meta", "path", "line", "rect"}
JPEG_QUALITY = 78
PNG_COLOURS = 256  # of a palette: a heat map's colour scale and its letters need no more


class Html(str):
    """Markup. Formatting or adding strings to it gives plain text, which is escaped again: wrong but never a hole."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | float | bool | None) -> Html:
    """`<tag attributes>children</tag>`, children escaped unless they are Html.

    In names of attributes `_` stands for `-` and is dropped at the end (`class_`). None and False leave one out.
    """
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in VOID_TAGS:
        return Html(f"<{tag}{written}/>")
    return Html(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: Iterable[str]) -> Html:
    """The children one behind the other."""
    return Html("".join(child if isinstance(child, Html) else html.escape(child) for child in children))


def table(head: Iterable[str], rows: Iterable[Iterable[str]], *, texts: int = 1) -> Html:
    """A table that scrolls sideways where it is too wide; the first `texts` columns are not numbers."""

    def line(tag: str, cells: Iterable[str]) -> Html:
        return element("tr", *(element(tag, cell, class_=None if i >= texts else "text")
                               for i, cell in enumerate(cells)))  # fmt: skip

    body = element("tbody", *(line("td", row) for row in rows))
    whole = element("table", element("thead", line("th", head)), body)
    return element("div", whole, class_="scroll", tabindex=0)


def section(identity: str, title: str, *children: str) -> Html:
    """A part of the page that the head can link to."""
    return element("section", element("h2", title), *children, id=identity)


def folded(title: str, *children: str, is_open: bool = False) -> Html:
    """Something that opens by a click."""
    return element("details", element("summary", title), *children, open=is_open)


def photograph(picture: Picture, alt: str) -> Html:
    """An image element that holds the picture (H, W, 3) as JPEG."""
    return _image(picture, alt, Image.fromarray(picture), "JPEG", quality=JPEG_QUALITY)


def drawing(picture: Picture, alt: str) -> Html:
    """An image element that holds the picture (H, W, 3) of few colours as PNG."""
    few = Image.fromarray(picture).quantize(PNG_COLOURS, dither=Image.Dither.NONE)
    return _image(picture, alt, few, "PNG", optimize=True)


def data_script(identity: str, value: Any) -> Html:
    """JSON for the page's program; `<` is written as an escape, so that no text in it ends the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{html.escape(identity)}">{text}</script>')


def _image(picture: Picture, alt: str, image: Image.Image, form: str, **options: Any) -> Html:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = picture.shape[:2]
    return element("img", src=f"data:image/{form.lower()};base64,{encoded}", alt=alt, width=width, height=height)
