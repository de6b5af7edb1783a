"""A given answer, token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, TopToken, Usage


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token of a given answer, in the distribution that the model had before it read this token.

    ``rank`` 1 is the likeliest; ``entropy`` and ``top`` describe the whole distribution.
    """

    index: int
    id: int
    token: str
    bytes: bytes
    logprob: float
    rank: int
    entropy: float
    top: tuple[TopToken, ...] = ()

    @property
    def surprisal(self) -> float:
        """In nats."""
        return -self.logprob


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a given answer is. ``tokens`` may hold the end of the answer, which is no part of ``text``."""

    text: str
    tokens: tuple[ScoredToken, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def logprob(self) -> float:
        """Of all tokens together."""
        return math.fsum(token.logprob for token in self.tokens)

    @property
    def size_bytes(self) -> int:
        """Of the text in UTF-8."""
        return len(self.text.encode("utf-8", errors="replace"))

    @property
    def per_byte(self) -> float | None:
        """The log-probability by the bytes of the text, which models with different tokenizers have in common."""
        return self.logprob / self.size_bytes if self.text else None
