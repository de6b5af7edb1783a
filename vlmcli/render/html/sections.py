"""What a page is made of: values, in the order in which a page shows them. Every result chooses its own.

Shapes: h x w blocks of an image, the first row its top, together the whole of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vlmcli.render.table import Table
from vlmcli.render.words import UNKNOWN, percent
from vlmcli.types.picture import Picture
from vlmcli.types.result import ImageInfo, ModelInfo, TopToken, Usage

Grid = Sequence[Sequence[float]]
"""One number a block, [h][w]; NaN where there is none."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """How much falls on each block of each image; ``grids`` has one an image, None for an image without.

    ``unit`` stands behind the numbers, such as ``nats``. What is below zero is drawn in another colour.
    """

    title: str
    grids: tuple[Grid | None, ...]
    unit: str = ""

    @property
    def peak(self) -> float:
        """The largest absolute value; 0 where there is none."""
        values = (abs(value) for grid in self.grids if grid is not None for row in grid for value in row)
        return max((value for value in values if math.isfinite(value)), default=0.0)


@dataclass(frozen=True, slots=True)
class PageToken:
    """One token and what the model expected in its place.

    ``logprob`` None: unknown, as for what has not been said. ``map`` is the number of its heat map on the page.
    ``details`` are further lines, each a name and a value. ``count`` > 1: that many image positions in one.
    """

    token: str
    bytes: bytes | None = None
    logprob: float | None = None
    rank: int | None = None
    entropy: float | None = None
    top: tuple[TopToken, ...] = ()
    map: int | None = None
    details: tuple[tuple[str, str], ...] = ()
    kind: Literal["text", "image", "open"] = "text"
    count: int = 1


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text token by token, to hover and to select."""

    title: str
    tokens: tuple[PageToken, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of 1, with its name; ``text`` is how it is written, ``more`` what else is known."""

    name: str
    share: float
    text: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of something, the largest first or in an order of their own."""

    title: str
    bars: tuple[Bar, ...]
    notes: tuple[str, ...] = ()


def share_bars(shares: Iterable[tuple[str, float | None]]) -> tuple[Bar, ...]:
    """Bars from names and shares, written as percentages; without a length where a share is unknown."""
    return tuple(Bar(name, value or 0.0, UNKNOWN if value is None else percent(value)) for name, value in shares)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of positions of one kind in the sequence that the decoder reads."""

    kind: Literal["text", "image"]
    count: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Stages:
    """What happened in which order: the sequence as a strip, the time by stage, a row of figures each."""

    title: str
    segments: tuple[Segment, ...] = ()
    timings_ms: tuple[tuple[str, float], ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A value over a stretch of layers."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Values from 0 to 1 in order, as columns; ``level`` is what they are to be compared with."""

    title: str
    points: tuple[Point, ...]
    level: Point | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """What one layer would say at one position, with its probability; ``title`` is what a pointer shows of it."""

    text: str
    share: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A grid of words. A row has its own names, one under each of ``names``, then a word under each of ``heads``."""

    title: str
    names: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Word, ...]], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tabled:
    """A table under a title; ``folded``: closed until somebody opens it."""

    title: str
    tables: tuple[Table, ...]
    folded: bool = False


Section = Tokens | Bars | Stages | Curve | Words | Tabled


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was given."""

    command: str
    prompt: str
    system: str | None = None
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A box on picture number ``image``: (left, top, right, bottom) in pixels of the original image."""

    box: tuple[float, float, float, float]
    name: str = ""
    image: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """What a result puts on its page; ``maps`` are those that tokens refer to, and one of the whole answer."""

    sections: tuple[Section, ...]
    maps: tuple[HeatMap, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of how a result came about; ``images`` are those of the page's pictures, in their order."""

    models: tuple[ModelInfo, ...]
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page: what was asked, and what the result told of its run and of itself."""

    asked: Asked
    run: Run
    content: Content
