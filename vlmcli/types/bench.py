"""How fast a model is where it runs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, Usage


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing, measured once a round: milliseconds each time. ``positions`` is how many were read or said in each."""

    name: str
    ms: tuple[float, ...]
    positions: int | None = None

    @property
    def median_ms(self) -> float:
        """The round in the middle."""
        return statistics.median(self.ms)

    @property
    def per_second(self) -> float | None:
        """Positions a second, in the round in the middle."""
        return None if self.positions is None else 1000 * self.positions / self.median_ms


@dataclass(frozen=True, slots=True)
class Speed:
    """A question: ``prepare``, ``encode`` (with images), ``prefill``, ``first token`` (all of these), ``decode``."""

    measured: tuple[Measured, ...]
    threads: int
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)
