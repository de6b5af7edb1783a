"""Two sides of a comparison: two models, two dtypes, two images, two prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo, Usage


@dataclass(frozen=True, slots=True)
class Side:
    """One side: what answered, its greedy answer, and how likely it finds the text that both are given.

    ``logprob`` is that of the text's tokens together, of which there are ``tokens``.
    """

    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    prompt: str
    greedy: str
    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class ComparedPosition:
    """The two distributions over the token that follows ``token``: ``next_token``, None where nothing follows.

    ``kl`` is the Kullback-Leibler divergence of the second from the first, in nats; infinite where the second rules
    out what the first does not. ``logprobs`` are those of ``next_token``; ``likeliest`` are ids and ``words`` their
    texts.
    """

    index: int
    part: Literal["prompt", "answer"]
    kind: Literal["text", "image"]
    token: str
    next_token: str | None
    kl: float
    likeliest: tuple[int, int]
    words: tuple[str, str]
    logprobs: tuple[float, float] | None

    @property
    def agrees(self) -> bool:
        """Whether both find the same token the likeliest."""
        return self.likeliest[0] == self.likeliest[1]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two greedy answers part: the number of tokens that they share, and what each says then.

    None: its answer ends there.
    """

    index: int
    tokens: tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Compared:
    """``text`` was given to both ``sides`` as their answer.

    ``positions`` are those that both have in common, none where the tokenizers differ; ``divergence`` is None where
    the greedy answers are the same, and where the tokenizers differ.
    """

    text: str
    sides: tuple[Side, Side]
    same_tokenizer: bool
    positions: tuple[ComparedPosition, ...]
    divergence: Divergence | None
    notes: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of the text in UTF-8."""
        return len(self.text.encode("utf-8", errors="replace"))

    @property
    def per_byte(self) -> tuple[float, float] | None:
        """The text's log-probability by its bytes, which models with different tokenizers have in common."""
        if not self.text:
            return None
        return self.sides[0].logprob / self.size_bytes, self.sides[1].logprob / self.size_bytes

    @property
    def mean_kl(self) -> float | None:
        """Over the positions of text; those of images predict nothing that is said."""
        values = [position.kl for position in self.positions if position.kind == "text"]
        return math.fsum(values) / len(values) if values else None

    @property
    def agreement(self) -> float | None:
        """The share of the positions of text at which both find the same token the likeliest."""
        same = [position.agrees for position in self.positions if position.kind == "text"]
        return sum(same) / len(same) if same else None
