"""Pictures that show less: of the same size, changed where they should be, the same each time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from vlmcli.inputs.spoiled import blank, cells, covered, noised, shuffled, windows, without

PICTURE = tiny.picture(3, (37, 23))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("size", [(37, 23), (3, 2), (1, 1), (200, 1)])
def test_any_size_stays_what_it_is(size: tuple[int, int]) -> None:
    image = tiny.picture(0, size)
    made = [blank(image), noised(image, 0), shuffled(image, 0), without(image, cells(2, 2))]
    made += [covered(image, box) for box in windows(3, 3, 0.25, 0.25)]
    assert {(one.size, one.mode) for one in made} == {(size, "RGB")}


def test_a_window_takes_the_colour_around_it() -> None:
    image = Image.new("RGB", (40, 40), (10, 200, 30))
    image.paste((255, 0, 0), (12, 12, 18, 18))
    hidden = covered(image, (0.25, 0.25, 0.5, 0.5))
    assert (pixels(hidden) == (10, 200, 30)).all(), "the red square was inside of the window, green around it"
    beside = covered(image, (0.6, 0.6, 0.9, 0.9))
    assert (pixels(beside) == pixels(image)).all()


def test_a_window_over_everything_takes_the_mean() -> None:
    assert len(covered(PICTURE, (0, 0, 1, 1)).getcolors() or ()) == 1


def test_cells_tile_the_picture() -> None:
    """Painted over one by one, no pixel is left out and none is painted twice."""
    times = np.zeros((23, 37))
    for box in cells(5, 7):
        changed = (pixels(without(Image.new("RGB", (37, 23)), [])) * 0)[..., 0]
        left, top, right, bottom = (round(edge * side) for edge, side in zip(box, (37, 23, 37, 23), strict=True))
        changed[top:bottom, left:right] = 1
        times += changed
    assert (times == 1).all()


def test_windows_are_as_large_as_was_asked_but_never_smaller_than_a_cell() -> None:
    assert windows(1, 1, 0.25, 0.25) == [(0.0, 0.0, 1.0, 1.0)]
    middle = windows(8, 8, 0.25, 0.25)[8 * 3 + 3]
    assert middle == pytest.approx((0.3125, 0.3125, 0.5625, 0.5625))
    assert windows(8, 8, 0.25, 0.25)[0] == pytest.approx((0, 0, 0.1875, 0.1875))
    assert windows(2, 2, 0.0, 0.0) == cells(2, 2)


def test_noise_and_order_are_those_of_their_seed() -> None:
    for spoil in (noised, shuffled):
        assert (pixels(spoil(PICTURE, 1)) == pixels(spoil(PICTURE, 1))).all()
        assert (pixels(spoil(PICTURE, 1)) != pixels(spoil(PICTURE, 2))).any()


def test_shuffling_keeps_the_colours() -> None:
    image = tiny.picture(3, (40, 40))
    assert sorted(shuffled(image, 0).getcolors() or ()) == sorted(image.getcolors() or ())
    assert (pixels(shuffled(image, 0)) != pixels(image)).any()
