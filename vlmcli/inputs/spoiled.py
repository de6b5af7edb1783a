"""Pictures that show less than they did: what an answer loses without them is what it rests on.

Boxes are (left, top, right, bottom) in fractions of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]

# What remains of a picture, and of the noise in it, at step 500 of the 1000 that VCD (arXiv 2311.16922) counts.
_KEPT = 0.747
_SHUFFLED_PARTS = 4
_GREY = (128, 128, 128)


def blank(image: Image.Image) -> Image.Image:
    """Middle grey, of the same size."""
    return Image.new("RGB", image.size, _GREY)


def noised(image: Image.Image, seed: int) -> Image.Image:
    """Gaussian noise as Visual Contrastive Decoding (2023, arXiv 2311.16922) adds it."""
    noise = np.random.default_rng(seed).standard_normal((image.height, image.width, 3))
    values = np.asarray(image, dtype=np.float64) / 127.5 - 1  # [H, W, 3], from -1 to 1
    mixed = math.sqrt(_KEPT) * values + math.sqrt(1 - _KEPT) * noise
    return Image.fromarray(((mixed + 1) * 127.5).clip(0, 255).astype(np.uint8))


def shuffled(image: Image.Image, seed: int) -> Image.Image:
    """The picture's 4 x 4 parts in another order: the same colours, other shapes."""
    parts = [_pixels(image, box) for box in cells(_SHUFFLED_PARTS, _SHUFFLED_PARTS)]
    order = np.random.default_rng(seed).permutation(len(parts))
    made = image.copy()
    for target, source in zip(parts, order, strict=True):
        width, height = target[2] - target[0], target[3] - target[1]
        if width and height:  # a picture of three pixels has parts without any
            made.paste(image.crop(parts[source]).resize((width, height)), target)
    return made


def covered(image: Image.Image, box: Box) -> Image.Image:
    """One box filled with the median colour of the rim around it, an eighth of the box wide.

    A constant colour would be an object of its own to the model, and would leave a hole where it is the object's; and
    the mean over a rim that crosses an object is a colour that nothing in the picture has.
    """
    left, top, right, bottom = _pixels(image, box)
    rim_x, rim_y = max(1, (right - left) // 8), max(1, (bottom - top) // 8)
    outer = (
        max(0, left - rim_x),
        max(0, top - rim_y),
        min(image.width, right + rim_x),
        min(image.height, bottom + rim_y),
    )
    around = np.asarray(image.crop(outer), dtype=np.float64)  # [h, w, 3]
    rim = np.ones(around.shape[:2], dtype=bool)
    rim[top - outer[1] : bottom - outer[1], left - outer[0] : right - outer[0]] = False
    colour = np.median(around[rim], axis=0) if rim.any() else around.mean((0, 1))
    made = image.copy()
    made.paste(tuple(int(value) for value in colour.round()), (left, top, right, bottom))
    return made


def without(image: Image.Image, boxes: Iterable[Box]) -> Image.Image:
    """Boxes filled with the picture's mean colour."""
    colour = tuple(int(value) for value in np.asarray(image).mean((0, 1)).round())
    made = image.copy()
    for box in boxes:
        made.paste(colour, _pixels(image, box))
    return made


def cells(rows: int, columns: int) -> list[Box]:
    """A grid over the whole picture, row by row."""
    return [(c / columns, r / rows, (c + 1) / columns, (r + 1) / rows) for r in range(rows) for c in range(columns)]


def windows(rows: int, columns: int, width: float, height: float) -> list[Box]:
    """A window around the middle of each cell: so much of the picture wide and high, or the cell if that is larger.

    What would lie outside the picture is cut off.
    """

    def around(low: float, high: float, side: float) -> tuple[float, float]:
        reach = max(side, high - low) / 2
        return max(0.0, (low + high) / 2 - reach), min(1.0, (low + high) / 2 + reach)

    found = []
    for left, top, right, bottom in cells(rows, columns):
        (x0, x1), (y0, y1) = around(left, right, width), around(top, bottom, height)
        found.append((x0, y0, x1, y1))
    return found


def _pixels(image: Image.Image, box: Box) -> tuple[int, int, int, int]:
    """A box in whole pixels; boxes that touch still do."""
    left, top, right, bottom = box
    return (
        round(left * image.width),
        round(top * image.height),
        round(right * image.width),
        round(bottom * image.height),
    )
