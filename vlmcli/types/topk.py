"""Next-token probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo, TopToken, Usage


@dataclass(frozen=True, slots=True)
class Position:
    """The distribution over the next token, after reading everything up to and including ``token`` at ``index``.

    ``entropy`` and ``top`` describe that distribution; ``logprob``, ``rank`` (1 is the likeliest) and ``surprisal``
    are those of ``next_token``, the one that really follows; None at the last position, where nothing follows.
    ``count`` > 1: that many image positions in one row, whose figures are those of the last of them.
    """

    index: int
    kind: Literal["text", "image"]
    id: int
    token: str
    next_id: int | None
    next_token: str | None
    logprob: float | None
    rank: int | None
    surprisal: float | None
    entropy: float
    top: tuple[TopToken, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class TopK:
    """Next-token probabilities of one prompt."""

    positions: tuple[Position, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)
