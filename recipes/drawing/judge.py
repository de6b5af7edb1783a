"""What is in a drawn picture: colours by the nearest of the palette, shapes by the built-in dual encoder.

Shapes: H and W in pixels, 12 colours of the palette.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from recipes.drawing.prompts import PALETTE, Order, place
from recipes.picturebook.scenes import SHAPES
from recipes.picturebook.skills import with_article
from vlmcli.api.dual import DualModel

_NAMES = tuple(PALETTE)
_SHADES = np.array(list(PALETTE.values()))  # [12, 3]
_LEAST = 0.008  # of the picture: what counts as a thing


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of an order was kept; ``where`` is None for one that says nothing of the place."""

    background: bool
    colour: bool
    shape: bool
    where: bool | None

    @property
    def all(self) -> bool:
        return self.background and self.colour and self.shape and self.where is not False


def judge(dual: DualModel, picture: Image.Image, order: Order) -> Verdict:
    """Whether a picture shows what was ordered, and no other colour. The words may leave the background open."""
    (item,) = order.scene.items
    colours = colours_of(picture)  # [H, W]
    ground = _commonest(np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]]))
    mask = colours == _NAMES.index(item.colour)  # [H, W]
    right = _things(colours, ground) == {item.colour}
    return Verdict(
        background=ground == order.scene.background or "background" not in order.prompt,
        colour=right,
        shape=right and _shape(dual, mask, item.colour, ground) == item.shape,
        where=right and _place(mask) == place(item.x, item.y) if place(item.x, item.y) in order.prompt else None,
    )


def colours_of(picture: Image.Image) -> np.ndarray:
    """The index of the nearest colour of the palette for each pixel [H, W]."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)  # [H, W, 3]
    return ((pixels[:, :, None] - _SHADES) ** 2).sum(-1).argmin(-1)


def _commonest(colours: np.ndarray) -> str:
    return _NAMES[np.bincount(colours.ravel()).argmax()]


def _things(colours: np.ndarray, ground: str) -> set[str]:
    """The colours of areas. Edges are mixtures of two colours and may look like a third: they have no inside."""
    inside = np.ones_like(colours[1:-1, 1:-1], dtype=bool)  # [H - 2, W - 2]
    for shifted in (colours[:-2, 1:-1], colours[2:, 1:-1], colours[1:-1, :-2], colours[1:-1, 2:]):
        inside &= shifted == colours[1:-1, 1:-1]
    counts = np.bincount(colours[1:-1, 1:-1][inside], minlength=len(_NAMES))  # [12]
    large = {name for name, count in zip(_NAMES, counts, strict=True) if count > _LEAST * colours.size}
    return large - {ground}


def _shape(dual: DualModel, mask: np.ndarray, colour: str, ground: str) -> str:
    """The shape of one thing, shown alone."""
    alone = np.where(mask[:, :, None], PALETTE[colour], PALETTE[ground]).astype("uint8")  # [H, W, 3]
    labels = {with_article(f"{colour} {shape}"): shape for shape in SHAPES}
    scores = dual.zeroshot(Image.fromarray(alone), list(labels)).scores
    return labels[max(scores, key=lambda score: score.logit).label]


def _place(mask: np.ndarray) -> str:
    """Where the centre of gravity of a mask [H, W] lies."""
    y, x = (float(axis.mean()) / len(mask) for axis in mask.nonzero())
    return place(x, y)
