"""The images of a page and the heat maps over them.

The script paints the maps, one number a block, on a canvas that lies over the picture; what it paints from is data.
"""

from __future__ import annotations

import base64
import math
from typing import Any

from vlmcli.render.html.escape import text
from vlmcli.render.html.sections import Content, Grid, HeatMap, Mark
from vlmcli.types.picture import Picture
from vlmcli.types.result import ImageInfo

_TALLEST = "70vh"


def figures(pictures: tuple[Picture, ...], images: tuple[ImageInfo, ...], content: Content) -> str:
    """Every picture with its marks and its caption; below them, where there are maps, what governs these."""
    shown = ""
    for number, picture in enumerate(pictures):
        marks = _marks(picture, [mark for mark in content.marks if mark.image == number])
        shown += _figure(number, picture, images[number] if number < len(images) else None, marks)
    return f"{shown}{_controls(content.maps) if content.maps else ''}"


def styles(pictures: tuple[Picture, ...]) -> str:
    """A rule a picture: as wide as its place, but no taller than the window."""
    return "".join(
        f".p{number}{{aspect-ratio:{width}/{height};width:min(100%,calc({_TALLEST}*{width / height:.4f}))}}\n"
        for number, (width, height) in enumerate(picture.size for picture in pictures)
    )


def data(maps: tuple[HeatMap, ...]) -> list[dict[str, Any]]:
    """The maps for the script."""
    return [
        {
            "title": heat.title,
            "unit": heat.unit,
            "peak": _number(heat.peak),
            "signed": any(value < 0 for grid in heat.grids if grid is not None for row in grid for value in row),
            "grids": [None if grid is None else _rows(grid) for grid in heat.grids],
        }
        for heat in maps
    ]


def _figure(number: int, picture: Picture, info: ImageInfo | None, marks: str) -> str:
    name = info.source if info else f"image {number}"
    source = f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
    width, height = picture.size
    frame = (
        f'<div class="frame p{number}"><img src="{source}" alt="{text(name)}" width="{width}" height="{height}">'
        f'<canvas class="map" data-image="{number}" hidden></canvas>{marks}<div class="block" hidden></div></div>'
    )
    return f"<figure>{frame}<figcaption>{_caption(name, picture, info)}</figcaption></figure>"


def _marks(picture: Picture, marks: list[Mark]) -> str:
    """Boxes as a drawing in the image's own pixels, each with its name on hover."""
    if not marks:
        return ""
    boxes = ""
    for mark in marks:
        left, top, right, bottom = mark.box
        size = f'width="{max(right - left, 0):g}" height="{max(bottom - top, 0):g}"'
        boxes += f'<rect x="{left:g}" y="{top:g}" {size}><title>{text(mark.name)}</title></rect>'
    width, height = picture.original
    return f'<svg class="marks" viewBox="0 0 {width} {height}" preserveAspectRatio="none">{boxes}</svg>'


def _caption(name: str, picture: Picture, info: ImageInfo | None) -> str:
    width, height = picture.original
    facts = [f"{width}x{height} pixels"]
    if info is not None and info.resized:
        facts.append(f"read as {info.resized[0]}x{info.resized[1]}")
    if info is not None and info.tokens:
        facts.append(f"{info.tokens} tokens")
    return f"<b><bdi>{text(name)}</bdi></b> {', '.join(facts)}"


def _controls(maps: tuple[HeatMap, ...]) -> str:
    options = "".join(f'<option value="{number}">{text(heat.title)}</option>' for number, heat in enumerate(maps))
    scale = '<label><input type="checkbox" id="own"> own scale</label>' if len(maps) > 2 else ""
    return (
        '<div class="controls" id="controls" hidden>'
        f'<label class="which">Map <select id="which">{options}<option value="">none</option></select></label>'
        '<label>as <select id="look"><option value="heat">heat</option><option value="light">spotlight</option>'
        "</select></label>"
        '<label class="strength">strength <input type="range" id="strength" min="0" max="100" value="90"></label>'
        f"{scale}"
        '<p class="legend"><span id="low"></span><span class="ramp" id="ramp"></span><span id="high"></span>'
        '<output id="pointed"></output></p></div>'
    )


def _rows(grid: Grid) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in grid]


def _number(value: float) -> float | None:
    """Four digits are more than an eye can tell, and JSON knows no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
