"""A picture becomes the tiles whose grid is nearest to its shape, and a thumbnail."""

from __future__ import annotations

import pytest

from tests import tiny
from vlmcli.inputs.tiling import crops, grid


@pytest.mark.parametrize(
    ("size", "max_tiles", "expected"),
    [
        ((100, 100), 1, (1, 1)),
        ((32, 32), 9, (1, 1)),
        ((200, 100), 4, (2, 1)),
        ((100, 300), 6, (1, 3)),
        ((300, 200), 6, (3, 2)),
        ((200, 200), 4, (2, 2)),
        ((40, 40), 4, (1, 1)),
        ((1000, 10), 5, (5, 1)),
    ],
)
def test_the_grid_fits_the_shape(size: tuple[int, int], max_tiles: int, expected: tuple[int, int]) -> None:
    assert grid(*size, side_px=32, max_tiles=max_tiles) == expected


def test_tiles_are_the_picture_in_reading_order() -> None:
    picture = tiny.picture(3, (64, 32))
    thumbnail, left, right = crops(picture, 32, 4)
    assert thumbnail.size == left.size == right.size == (32, 32)
    assert left.tobytes() == picture.crop((0, 0, 32, 32)).tobytes()
    assert right.tobytes() == picture.crop((32, 0, 64, 32)).tobytes()


def test_a_square_is_its_own_thumbnail() -> None:
    assert len(crops(tiny.picture(0, (32, 32)), 32, 9)) == 1
