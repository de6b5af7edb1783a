"""A model put together from parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PartSize:
    """One part of a composition: where its weights come from, and how many there are."""

    role: str
    source: str
    parameters: int


@dataclass(frozen=True, slots=True)
class Composed:
    """A composition that was put together: ``catalog`` names it from now on, ``weights`` holds what is new in it."""

    name: str
    fusion: str
    parts: tuple[PartSize, ...]
    catalog: Path
    weights: Path | None
    notes: tuple[str, ...] = ()
