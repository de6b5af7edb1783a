"""An answer, token by token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo, Start, TopToken, Usage

FinishReason = Literal["stop", "length", "interrupted"]
"""``stop``: end-of-sequence token or a stop string; ``length``: the token limit; ``interrupted``: Ctrl-C."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token.

    ``token`` is the token's own text; ``text`` is what may be printed now: the two differ while a character
    spans several tokens or a stop string may have begun.
    """

    index: int
    id: int
    token: str
    text: str
    bytes: bytes
    logprob: float
    top: tuple[TopToken, ...] = ()
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The last event of an answer, and its whole result; ``steps`` says which decode step made it, and why."""

    text: str
    tokens: tuple[TokenEvent, ...]
    finish_reason: FinishReason
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)
    steps: str = ""


AskEvent = Start | TokenEvent | Answer
