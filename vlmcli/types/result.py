"""What every result has: the model, the images, the tokens that were counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TopToken:
    """One candidate for a position."""

    id: int
    token: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What became of one image; sizes are (width, height) in pixels, ``resized`` None where a model tiles freely.

    ``cached``: whether its features were kept, and the vision encoder skipped; None where none are ever kept.
    """

    source: str
    sha256: str
    original: tuple[int, int]
    resized: tuple[int, int] | None = None
    tokens: int = 0
    notes: tuple[str, ...] = ()
    cached: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights answered, and where they ran; ``notes`` is what has to be known about them at every run."""

    id: str
    revision: str | None
    dtype: str
    device: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; ``prompt_tokens`` includes ``image_tokens``."""

    prompt_tokens: int = 0
    image_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """The first event of an answer: everything that is known before the first token."""

    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
