"""Images and texts as vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo, Start, Usage


@dataclass(frozen=True, slots=True)
class TextInfo:
    """One text as a dual encoder read it; ``sha256`` is over its UTF-8 bytes."""

    text: str
    sha256: str
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """The unit vector of one image or one text; both lie in one space, where a dot product compares them."""

    of: ImageInfo | TextInfo
    vector: tuple[float, ...]

    @property
    def kind(self) -> Literal["image", "text"]:
        """What was embedded."""
        return "image" if isinstance(self.of, ImageInfo) else "text"

    @property
    def source(self) -> str:
        """Where the image came from, or the text itself."""
        return self.of.source if isinstance(self.of, ImageInfo) else self.of.text


@dataclass(frozen=True, slots=True)
class Skipped:
    """One item of a batch that cannot be used, while the others go on; ``error`` is a name in the tree of errors.py."""

    source: str
    error: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class EmbedTotals:
    """The last event of embedding: how many vectors there were, and of how many dimensions."""

    images: int
    texts: int
    skipped: int
    dimensions: int
    model: ModelInfo
    usage: Usage
    timings_ms: dict[str, float] = field(default_factory=dict)


EmbedEvent = Start | Embedding | Skipped | EmbedTotals
