"""Labels against images."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, Usage


@dataclass(frozen=True, slots=True)
class Score:
    """One image against one label; ``sigmoid`` is None for families that were trained with a softmax (CLIP)."""

    image: str
    label: str
    logit: float
    sigmoid: float | None
    softmax: float


@dataclass(frozen=True, slots=True)
class Zeroshot:
    """All images against all labels, image by image."""

    scores: tuple[Score, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
