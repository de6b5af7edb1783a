"""Pictures of what was found: boxes where they are, labels that can be read, masks pixel by pixel."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops

from tests.render import values
from vlmcli.render.pictures.annotate import LEAST_SIDE_PX, with_boxes, with_masks
from vlmcli.render.pictures.colours import BLACK, WHITE, colours, ink_on
from vlmcli.render.pictures.masks import cutout, mask_image, together
from vlmcli.types.detect import Detection

GREY = (128, 128, 128)
SIZES = [(4000, 3000), (640, 480), (300, 40), (40, 300), (16, 16), (1, 1)]


def changed(picture: Image.Image, original: Image.Image) -> tuple[int, int, int, int] | None:
    """The smallest box around the pixels that are no longer the original's, which may have been enlarged."""
    plain = original.resize(picture.size, Image.Resampling.NEAREST)
    return ImageChops.difference(picture, plain).getbbox()


def test_a_box_is_drawn_where_it_is() -> None:
    image = Image.new("RGB", (800, 600), GREY)
    picture = with_boxes(image, [Detection("a cat", 0.75, (100.0, 200.0, 400.0, 500.0))])
    colour = colours(["a cat"])["a cat"]
    assert picture.size == image.size
    for place in ((100, 300), (399, 300), (250, 499), (100, 499)):
        assert picture.getpixel(place) == colour
    for place in ((95, 300), (250, 350), (405, 300), (250, 505)):
        assert picture.getpixel(place) == GREY
    left, top, right, bottom = changed(picture, image) or (0, 0, 0, 0)
    assert (left, right, bottom) == (100, 400, 500) and 170 < top < 200, "the label stands above the box"


@pytest.mark.parametrize("size", SIZES)
def test_a_label_is_readable_at_any_size(size: tuple[int, int]) -> None:
    """Its letters are some 14 pixels high at least, all of it is in the picture, and that has the image's shape."""
    image = Image.new("RGB", size, GREY)
    whole = (0.0, 0.0, float(size[0]), float(size[1]))
    bare = with_boxes(image, [Detection("", 0.5, whole)])
    picture = with_boxes(image, [Detection("cat", 0.5, whole)])
    assert max(picture.size) >= LEAST_SIDE_PX
    assert picture.size[0] * size[1] == picture.size[1] * size[0]
    left, top, right, bottom = ImageChops.difference(picture, bare).getbbox() or (0, 0, 0, 0)
    if min(picture.size) >= 60:
        assert bottom - top >= 10 and right - left > bottom - top  # those without descenders
    assert right <= picture.size[0] and bottom <= picture.size[1] and left >= 0 and top >= 0


def test_boxes_over_the_edge_are_drawn_to_it() -> None:
    image = Image.new("RGB", (640, 480), GREY)
    picture = with_boxes(image, [Detection("a cat", 0.5, (-50.0, -50.0, 900.0, 900.0))])
    colour = colours(["a cat"])["a cat"]
    assert picture.getpixel((639, 300)) == picture.getpixel((300, 479)) == colour


def test_a_long_label_is_cut_and_control_characters_are_not_drawn() -> None:
    image = Image.new("RGB", (640, 480), GREY)
    assert with_boxes(image, [Detection("cat\n\x1b[31m " * 200, 0.5, (0.0, 0.0, 640.0, 480.0))]).size == image.size


def test_a_label_has_one_colour_and_others_have_others() -> None:
    many = colours(f"label {i}" for i in range(40))
    assert len(set(many.values())) == 40
    assert colours(["b", "a", "b"]) == {"b": many["label 0"], "a": many["label 1"]}
    image = Image.new("RGB", (640, 480), GREY)
    second = with_boxes(image, [Detection("dog", 0.5, (100.0, 100.0, 500.0, 400.0))], labels=("cat", "dog"))
    assert second.getpixel((100, 300)) == many["label 1"]


def test_letters_have_contrast() -> None:
    assert (ink_on((240, 228, 66)), ink_on((0, 114, 178)), ink_on((20, 20, 20))) == (BLACK, WHITE, WHITE)


def test_a_mask_as_a_picture() -> None:
    picture = mask_image(values.mask("......", ".##...", ".#....", "......").rle)
    assert (picture.size, picture.mode) == ((6, 4), "L")
    inside = {(x, y) for x in range(6) for y in range(4) if picture.getpixel((x, y)) == 255}
    assert inside == {(1, 1), (2, 1), (1, 2)}
    assert set(picture.tobytes()) == {0, 255}


def test_what_is_cut_out_keeps_its_place_and_colours() -> None:
    image = Image.new("RGB", (6, 4), (10, 20, 30))
    cut = cutout(
        image,
        [values.mask("##....", "......", "......", "......"), values.mask("......", ".#....", "......", "......")],
    )
    assert cut.size == (6, 4)
    assert cut.getpixel((0, 0)) == cut.getpixel((1, 1)) == (10, 20, 30, 255)
    assert cut.getpixel((5, 3))[3] == 0  # type: ignore[index]
    assert together([], (6, 4)).getbbox() is None


def test_masks_are_laid_over_the_image() -> None:
    image = Image.new("RGB", (6, 4), GREY)
    picture = with_masks(image, [values.mask("##....", "##....", "......", "......")])
    factor = picture.width // 6
    inside, outside = picture.getpixel((factor, factor)), picture.getpixel((5 * factor, 3 * factor))
    assert inside != GREY and outside == GREY
    named = with_masks(image, [values.mask("......", "......", "....##", "....##", label="a cat", score=0.5)])
    assert ImageChops.difference(
        named, with_masks(image, [values.mask("......", "......", "....##", "....##")])
    ).getbbox()
