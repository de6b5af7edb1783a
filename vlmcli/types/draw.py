"""Drawn images, token by token."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlmcli.types.result import ModelInfo


@dataclass(frozen=True, slots=True)
class Brush:
    """How the tokens of an image are picked. None is what the model's makers advise.

    ``guidance`` (classifier-free, arXiv:2207.12598) is how far the distribution is pushed from what would be drawn
    without a prompt towards what the prompt asks for: 1 is no guidance. ``temperature`` 0 is greedy; 0 or 1 switch the
    other filters off. Image i has the seed ``seed + i``; None draws a seed.
    """

    guidance: float | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class DrawStart:
    """The first event: everything that is known before the first token. Sizes are (width, height).

    ``grid`` (columns, rows) counts the visual words of an image, and ``tokens`` what it takes to say them: in Emu3, a
    word that ends each row too. ``brush`` has no None left in it.
    """

    model: ModelInfo
    prompt: str
    count: int
    size: tuple[int, int]
    grid: tuple[int, int]
    tokens: int
    prompt_tokens: int
    brush: Brush


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """Token ``index`` of image ``image``, with its log-probability in the guided distribution, before any filter."""

    image: int
    index: int
    id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image that is finished: a PNG file's bytes, and the tokens that it was made of, row by row.

    ``file`` is where it was kept, if it was.
    """

    image: int
    seed: int
    size: tuple[int, int]
    png: bytes = field(repr=False)
    tokens: tuple[DrawnToken, ...] = field(repr=False)
    file: str | None = None

    @property
    def logprob(self) -> float:
        """The mean over its tokens."""
        return sum(token.logprob for token in self.tokens) / len(self.tokens)


@dataclass(frozen=True, slots=True)
class DrawTotals:
    """The last event: everything is drawn, and how long it took."""

    start: DrawStart
    timings_ms: dict[str, float] = field(default_factory=dict)


DrawEvent = DrawStart | DrawnToken | Drawn | DrawTotals
