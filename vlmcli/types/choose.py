"""A distribution over closed answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, Usage


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several closed answers.

    ``logprob`` is that of giving this answer, and ``probability`` its share among the options. ``normalized`` is the
    share by ``per_token``, the log-probability by the number of tokens. ``tokens`` are those of its likeliest spelling.
    ``by_order`` has the probability in each order in which the options were shown; it is empty where they were not.
    """

    option: str
    logprob: float
    per_token: float
    probability: float
    normalized: float
    tokens: int
    by_order: tuple[float, ...] = ()


YES_NO = ("yes", "no")
"""The options of a question that is answered so."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A distribution over options. ``mass`` is how much probability the model gives to them at all, at most 1."""

    choices: tuple[Choice, ...]
    mass: float
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Choice:
        """The likeliest, the first of equals."""
        return max(self.choices, key=lambda choice: choice.probability)

    @property
    def mean(self) -> float | None:
        """The expected value where every option is a number in digits, as in a rating; else None."""
        if not all(choice.option.isdecimal() for choice in self.choices):
            return None
        return math.fsum(int(choice.option) * choice.probability for choice in self.choices)


@dataclass(frozen=True, slots=True)
class Verdict(Choices):
    """A yes or a no: the choice between the two, of which the ``best`` is the answer."""
