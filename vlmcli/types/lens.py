"""What the decoder's layers would say if they were its last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo, TopToken, Usage


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A word of the vocabulary near a projected patch: the cosine of the angle between their embeddings."""

    id: int
    token: str
    cosine: float


@dataclass(frozen=True, slots=True)
class LensPosition:
    """One position of the prompt: for each layer of the lens the likeliest next tokens, the likeliest first.

    ``nearest``: the words whose embeddings are nearest to the projected patch that stands here; empty for text.
    """

    index: int
    kind: Literal["text", "image"]
    id: int
    token: str
    layers: tuple[tuple[TopToken, ...], ...]
    nearest: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Lens:
    """Final norm and head on hidden states. Layer 0 is what enters the first block, layer n what leaves block n.

    ``layers`` are those of each position; ``blocks`` is how many the decoder has. ``agreement`` has for each layer the
    share of the positions at which its likeliest word is that of the last layer: how far this model's layers can be
    read so at all.
    """

    layers: tuple[int, ...]
    blocks: int
    positions: tuple[LensPosition, ...]
    agreement: tuple[float, ...]
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    notes: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
