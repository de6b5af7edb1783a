"""Hand-built pages."""

from __future__ import annotations

import math
from io import BytesIO

from PIL import Image

from tests.render import values
from vlmcli.render.html.sections import Asked, Content, Grid, HeatMap, Page, PageToken, Run, Section, Tokens
from vlmcli.types.picture import Picture
from vlmcli.types.result import TopToken

SIDE = 4
"""Blocks along each side of every heat map here."""


def picture(width: int = 80, height: int = 60) -> Picture:
    stream = BytesIO()
    Image.new("RGB", (width, height), (250, 250, 250)).save(stream, "PNG")
    return Picture(stream.getvalue(), "image/png", (width, height), (8 * width, 8 * height))


def spot(row: int, column: int, value: float = 1.0) -> Grid:
    """Nothing anywhere but in one block."""
    return tuple(tuple(value if (r, c) == (row, column) else 0.0 for c in range(SIDE)) for r in range(SIDE))


def token(text: str, *others: str, map: int | None = None) -> PageToken:
    """A token that had a probability of a half, and others that had less."""
    raw = [other.encode(errors="replace") for other in (text, *others)]
    shares = [math.log(0.5 / 2**n) for n in range(len(raw))]
    top = tuple(TopToken(n, *given) for n, given in enumerate(zip((text, *others), raw, shares, strict=True)))
    return PageToken(text, raw[0], shares[0], 1, 1.25, top, map)


def page(*sections: Section, maps: tuple[HeatMap, ...] = (), pictures: int = 1, prompt: str = "What is it?") -> Page:
    asked = Asked("vlm attribute", prompt, None, tuple(picture() for _ in range(pictures)))
    images = (values.IMAGE,) * pictures
    run = Run((values.MODEL,), images, values.USAGE, {"load": 5.0, "forward": 2.0})
    return Page(asked, run, Content(sections, maps))


ANSWER = Tokens("Answer", (token("A", "The", map=None), token(" red", " blue", map=1), token(" star", " heart", map=2)))


def mapped() -> Page:
    """A map of the whole answer, and one for each of two tokens."""
    maps = (
        HeatMap("whole answer", (spot(0, 0, 4.0),), "nats"),
        HeatMap("token 1", (spot(1, 1, 2.0),), "nats"),
        HeatMap("token 2", (spot(2, 3, -1.0),), "nats"),
    )
    return page(ANSWER, maps=maps)
