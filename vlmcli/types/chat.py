"""Messages, and how an answer to them is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``images`` counts the images shown at the start of this turn."""

    role: Role
    text: str
    images: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked. ``temperature`` 0 is greedy; 0 or 1 switch the other filters off."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
