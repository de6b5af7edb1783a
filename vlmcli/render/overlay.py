"""A map laid over its picture: a PNG file, coloured half blocks in a terminal, or shades where there is no colour.

Warm is what speaks for the answer, cold what speaks against it; the strongest cell has the full colour. Cells are drawn
as they are, without smoothing: a finer picture would claim what is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from vlmcli.types.picture import Picture

Grid = Sequence[Sequence[float]]

_WARM, _COLD = (255, 60, 0), (0, 90, 255)
_FADED = 0.35
"""How much of the picture's own colour is left where the map says nothing: enough to see where one is."""
_STRONGEST = 0.75  # of the map's colour, in the strongest cell
_SMALLEST_PX = 384  # of a PNG's longer side: a thumbnail's cells would be a few pixels each
_SHADES, _ASCII = " ░▒▓█", " .:+#"


def overlay_png(picture: Picture, grid: Grid) -> bytes:
    """The picture under its map, as the bytes of a PNG file."""
    file = BytesIO()
    _overlay(_enlarged(picture), grid).save(file, "PNG", optimize=True)
    return file.getvalue()


def half_blocks(picture: Picture, grid: Grid, columns: int) -> list[str]:
    """The same for a terminal with colours, ``columns`` cells wide; a cell shows two pixels, one above the other."""
    image = _opened(picture)
    rows = max(1, round(columns * image.height / image.width / 2))
    small = _overlay(image.resize((columns, 2 * rows)), grid)
    return ["".join(_cell(small, x, 2 * y) for x in range(columns)) + "\x1b[0m" for y in range(rows)]


def shades(grid: Grid, unicode: bool) -> list[str]:
    """The map alone, two characters a cell; what speaks against the answer stays blank."""
    levels = _SHADES if unicode else _ASCII
    peak = max((value for row in grid for value in row), default=0.0)
    rows = []
    for row in grid:
        steps = (round((len(levels) - 1) * value / peak) if peak > 0 else 0 for value in row)
        rows.append("".join(2 * levels[max(0, step)] for step in steps).rstrip())
    return rows


def _opened(picture: Picture) -> Image:
    from PIL import Image

    return Image.open(BytesIO(picture.data)).convert("RGB")


def _enlarged(picture: Picture) -> Image:
    image = _opened(picture)
    scale = max(1, round(_SMALLEST_PX / max(image.size)))
    return image.resize((image.width * scale, image.height * scale))


def _overlay(image: Image, grid: Grid) -> Image:
    """The picture, faded, with each cell's colour over it."""
    from PIL import Image

    strongest = max((abs(value) for row in grid for value in row), default=0.0) or 1.0
    faded = Image.blend(Image.new("RGB", image.size, (128, 128, 128)), image, 1 - _FADED)
    colours, strengths = Image.new("RGB", (len(grid[0]), len(grid))), Image.new("L", (len(grid[0]), len(grid)))
    colours.putdata([_WARM if value > 0 else _COLD for row in grid for value in row])
    strengths.putdata([round(255 * _STRONGEST * abs(value) / strongest) for row in grid for value in row])
    over, mask = (part.resize(image.size, Image.Resampling.NEAREST) for part in (colours, strengths))
    return Image.composite(over, faded, mask)


def _cell(image: Image, x: int, y: int) -> str:
    upper, lower = image.getpixel((x, y)), image.getpixel((x, y + 1))
    assert isinstance(upper, tuple) and isinstance(lower, tuple)  # RGB
    return f"\x1b[38;2;{upper[0]};{upper[1]};{upper[2]};48;2;{lower[0]};{lower[1]};{lower[2]}m▀"
