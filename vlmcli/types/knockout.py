"""What an answer loses when its last position cannot look at the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, Usage

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the original image."""


@dataclass(frozen=True, slots=True)
class KnockedToken:
    """One token of the answer and its log-probability with nothing cut."""

    id: int
    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Window:
    """Attention cut in the blocks ``first`` to ``last``, counted from 1, and the answer's log-probability then."""

    first: int
    last: int
    logprob: float

    @property
    def probability(self) -> float:
        """Of the whole answer."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class Knockout:
    """The answer's probability by window of blocks, and with attention cut in all of them.

    ``cut`` is how many image positions were cut off, all that are in ``box`` if there is one; ``blocks`` is how many
    blocks the decoder has.
    """

    tokens: tuple[KnockedToken, ...]
    windows: tuple[Window, ...]
    everywhere: Window
    cut: int
    box: Box | None
    blocks: int
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """The tokens' text as they stand."""
        return "".join(token.token for token in self.tokens)

    @property
    def logprob(self) -> float:
        """Of the answer with nothing cut."""
        return math.fsum(token.logprob for token in self.tokens)

    @property
    def probability(self) -> float:
        """Of the answer with nothing cut."""
        return math.exp(self.logprob)
