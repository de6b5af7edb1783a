"""A map over its picture: warm where the answer rests, cold where it is contradicted, grey where it says nothing."""

from __future__ import annotations

import io
import re

from PIL import Image

from tests.render import values
from vlmcli.render.overlay import half_blocks, overlay_png, shades
from vlmcli.types.picture import Picture

GRID = ((0.0, -4.0), (2.0, 4.0))
WHITE = values.picture((8, 8), (255, 255, 255))


def drawn(grid: tuple[tuple[float, ...], ...] = GRID, picture: Picture = WHITE) -> Image.Image:
    return Image.open(io.BytesIO(overlay_png(picture, grid)))


def at(image: Image.Image, row: int, column: int, grid: tuple[tuple[float, ...], ...] = GRID) -> tuple[int, int, int]:
    """The middle of a cell."""
    x, y = (column + 0.5) / len(grid[0]) * image.width, (row + 0.5) / len(grid) * image.height
    return image.getpixel((int(x), int(y)))  # type: ignore[return-value]


def test_the_colours_lie_where_the_numbers_are() -> None:
    image = drawn()
    nothing, against, some, most = (at(image, row, column) for row in (0, 1) for column in (0, 1))
    assert len(set(nothing)) == 1, "a cell without a number is as grey as its picture"
    assert against[2] > against[0] and most[0] > most[2] and some[0] > some[2]
    assert most[2] < some[2], "the stronger, the more colour"


def test_a_thumbnail_is_drawn_large_enough_to_see_and_a_photo_as_it_is() -> None:
    assert min(drawn().size) >= 300
    assert drawn(picture=values.picture((1000, 500))).size == (1000, 500)


def test_a_map_of_nothing_is_the_faded_picture() -> None:
    assert len(drawn(((0.0, 0.0),)).getcolors() or ()) == 1


def test_half_blocks_show_two_pixels_a_cell() -> None:
    lines = half_blocks(WHITE, GRID, 8)
    assert len(lines) == 4 and all(line.count("▀") == 8 and line.endswith("\x1b[0m") for line in lines)
    red, green, blue = map(int, re.findall(r"38;2;(\d+);(\d+);(\d+)", lines[3])[7])
    assert red > green and red > blue, "the strongest cell is the last"


def test_shades_without_colour() -> None:
    assert shades(GRID, unicode=True) == ["", "▒▒██"]
    assert shades(GRID, unicode=False) == ["", "::##"]
    assert shades(((0.0, 0.0),), unicode=True) == [""]
