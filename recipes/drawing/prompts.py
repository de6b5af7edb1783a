"""What is to be drawn: a shape on a plain ground, and the words that ask for it.

Each colour has one shade and shapes stand upright, for the model is small: what seeds vary is size, place, and whatever
the words leave open.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from recipes.picturebook.scenes import COLOURS, SHAPES, Item, Scene, contrasts
from recipes.picturebook.skills import with_article

PALETTE = {name: shades[1] for name, shades in COLOURS.items()}
GROUNDS = ("white", "black")  # of what is ordered; edges between any two colours would be too much to learn to draw
SIDE_PX = 64
_SUPERSAMPLE = 4
_SMALL, _BIG = 0.24, 0.34  # of the canvas: radii of what may be called so
_MIDDLE = 0.1  # of the canvas: how far from its centre the middle reaches
_FRAMES = ("{}",) * 5 + ("a picture of {}", "a drawing of {}", "an image of {}", "draw {}", "{}.")


@dataclass(frozen=True, slots=True)
class Order:
    """A scene and the words that ask for it."""

    scene: Scene
    prompt: str


def sample_order(rng: random.Random, grounds: Sequence[str] = GROUNDS) -> Order:
    """Any colour and any shape anywhere, on one of the ``grounds``, if it can be told there."""
    background = rng.choice(grounds)
    colour = rng.choice([name for name in COLOURS if contrasts(name, background)])
    shape = rng.choice(SHAPES)
    radius = rng.uniform(0.17, 0.42)
    x, y = (rng.uniform(radius * 1.1, 1 - radius * 1.1) for _ in range(2))
    item = Item(shape, colour, PALETTE[colour], x, y, radius, 0.0, 1.3 if shape == "diamond" else 1.0)
    scene = Scene(SIDE_PX, SIDE_PX, background, PALETTE[background], (item,), supersample=_SUPERSAMPLE)
    ground = f" on {with_article(background)} background" if rng.random() < 0.75 else ""
    return Order(scene, rng.choice(_FRAMES).format(_words(rng, item) + ground))


def _words(rng: random.Random, item: Item) -> str:
    """Its name; sometimes its size, where that can be told, or its place."""
    size = "small " if item.radius < _SMALL else "big " if item.radius > _BIG else ""
    noun = f"{size if rng.random() < 0.5 else ''}{item.colour} {item.shape}"
    name = with_article(noun) if rng.random() < 0.85 else noun
    return f"{name} {place(item.x, item.y)}" if rng.random() < 0.3 else name


def place(x: float, y: float) -> str:
    """Which of the canvas' nine fields a centre is in, in words."""
    row = "top" if y < 0.5 - _MIDDLE else "bottom" if y > 0.5 + _MIDDLE else ""
    column = "left" if x < 0.5 - _MIDDLE else "right" if x > 0.5 + _MIDDLE else ""
    if row and column:
        return f"in the {row} {column}"
    return f"at the {row}" if row else f"on the {column}" if column else "in the middle"
