"""Draw the pictures in examples/: `python -m recipes.picturebook.examples`."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from recipes.picturebook.lettering import lettering_at
from recipes.picturebook.scenes import COLOURS, Item, Scene, draw

FOLDER = Path("examples")


def item(colour: str, shape: str, x: float, y: float, radius: float) -> Item:
    return Item(shape, colour, COLOURS[colour][1], x, y, radius, turn_deg=0)


def canvas(background: str, *items: Item) -> Scene:
    return Scene(384, 288, background, COLOURS[background][0], items, supersample=2)


SCENES = {
    "shapes": canvas(
        "white",
        item("red", "circle", 0.22, 0.32, 0.24),
        item("blue", "star", 0.62, 0.3, 0.2),
        item("green", "triangle", 0.45, 0.76, 0.17),
        item("orange", "heart", 0.85, 0.72, 0.15),
    ),
    "crowd": canvas(
        "black",
        *(item("yellow", "star", x, y, 0.12) for x, y in ((0.15, 0.2), (0.5, 0.22), (0.82, 0.3), (0.3, 0.68))),
        *(item("pink", "ring", x, y, 0.12) for x, y in ((0.6, 0.62), (0.84, 0.78))),
    ),
    "heart": canvas("yellow", item("purple", "heart", 0.5, 0.5, 0.34)),
    "sign": replace(canvas("teal"), lettering=lettering_at("OPEN", "white", (255, 255, 255), 110, 384, 288)),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, scene in SCENES.items():
        draw(scene, random.Random(0)).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
