"""What the generator says of a picture is what the picture shows."""

from __future__ import annotations

import random

import numpy as np
import pytest

from recipes.picturebook.lettering import lettering_at, sample_text
from recipes.picturebook.scenes import COLOURS, SHAPES, Item, Scene, box, contrasts, draw, sample_scene

KINDS = ("single", "few", "crowd", "text", "empty")


def scene_with(*items: Item, background: str = "white", **more: object) -> Scene:
    return Scene(200, 100, background, COLOURS[background][0], items, **more)  # type: ignore[arg-type]


def item(shape: str, colour: str = "red", x: float = 0.5, y: float = 0.5, radius: float = 0.3) -> Item:
    return Item(shape, colour, COLOURS[colour][0], x, y, radius, turn_deg=0)


def test_same_seed_same_pixels() -> None:
    pictures = []
    for seed in (3, 3, 4):
        rng = random.Random(seed)
        pictures.append(draw(sample_scene(rng), rng).tobytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_box_is_where_the_pixels_are(shape: str) -> None:
    scene = scene_with(item(shape))
    pixels = np.asarray(draw(scene, random.Random(0)))
    rows, columns = np.nonzero((pixels == COLOURS["red"][0]).all(-1))
    left, top, right, bottom = box(scene, scene.items[0])
    assert abs(columns.min() - left) <= 1.5 and abs(columns.max() - right) <= 1.5
    assert abs(rows.min() - top) <= 1.5 and abs(rows.max() - bottom) <= 1.5


def test_a_ring_has_a_hole() -> None:
    for shape, middle in (("ring", COLOURS["white"][0]), ("circle", COLOURS["red"][0])):
        assert draw(scene_with(item(shape)), random.Random(0)).getpixel((100, 50)) == middle


@pytest.mark.parametrize("kind", KINDS)
def test_objects_lie_inside_and_apart_and_stand_out(kind: str) -> None:
    for seed in range(60):
        scene = sample_scene(random.Random(seed), kind)
        shorter = min(scene.width_px, scene.height_px)
        for i, first in enumerate(scene.items):
            assert contrasts(first.colour, scene.background)
            left, top, right, bottom = box(scene, first)
            assert left >= -1 and top >= -1 and right <= scene.width_px + 1 and bottom <= scene.height_px + 1
            for second in scene.items[:i]:
                dx = (first.x - second.x) * scene.width_px
                dy = (first.y - second.y) * scene.height_px
                assert (dx**2 + dy**2) ** 0.5 >= (first.radius + second.radius) * shorter


def test_lettering_is_drawn_in_its_boxes() -> None:
    lettering = lettering_at("HI5", "black", (0, 0, 0), 40, 200, 100)
    pixels = np.asarray(draw(scene_with(lettering=lettering), random.Random(0)))
    for left, top, right, bottom in lettering.character_boxes:
        inside = pixels[int(top * 100) : int(bottom * 100) + 1, int(left * 200) : int(right * 200) + 1]
        assert (inside.sum(-1) < 200).any(), "a character's box holds no ink"
    left, top, right, bottom = lettering.box
    outside = pixels.copy()
    outside[int(top * 100) - 2 : int(bottom * 100) + 3, int(left * 200) - 2 : int(right * 200) + 3] = 255
    assert (outside == 255).all(), "ink outside of the lettering's box"


def test_texts_are_one_to_five_letters_or_digits() -> None:
    texts = [sample_text(random.Random(seed)) for seed in range(500)]
    assert {len(text) for text in texts} == {1, 2, 3, 4, 5}
    assert all(text.isdigit() or text.isalpha() for text in texts)
