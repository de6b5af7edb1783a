"""What a model reads, and how far it has read: prompts as tensors, batches of them, and conversations in progress.

Shapes: B prompts side by side, T positions of the prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ImageShape:
    """What the processor made of one image: (width, height) in pixels if it is one picture, and its slots.

    ``cached``: its features were kept, and the vision encoder skipped.
    """

    resized: tuple[int, int] | None
    tokens: int
    cached: bool = False


@dataclass(frozen=True)
class Row:
    """A prompt as the model counts it: ``ids`` has T entries, ``is_image`` says which of them are slots."""

    ids: tuple[int, ...]
    is_image: tuple[bool, ...]
    images: tuple[ImageShape, ...]


@dataclass(frozen=True)
class Inputs(Row):
    """A prompt, ready for the model: ``tensors`` are ``forward``'s arguments."""

    tensors: Mapping[str, Any]

    @property
    def slots(self) -> int:
        """Image slots."""
        return sum(self.is_image)

    @property
    def shown(self) -> tuple[int, ...]:
        """How many images the prompt shows."""
        return (len(self.images),)

    @property
    def slots_by_image(self) -> tuple[int, ...]:
        """Slots of each image."""
        return tuple(image.tokens for image in self.images)

    def encoded(self, tensors: Mapping[str, Any], cached: Iterable[bool]) -> Inputs:
        """The same with features in the place of pixels, and which of them were kept before."""
        return replace(self, tensors=tensors, images=_marked(self.images, iter(cached)))


@dataclass(frozen=True)
class Batch:
    """Prompts side by side, padded on the left to the longest: ``tensors`` are ``forward``'s arguments, [B, T] each.

    The ``rows`` are the prompts without their padding.
    """

    rows: tuple[Row, ...]
    tensors: Mapping[str, Any]

    @property
    def slots(self) -> int:
        """Image slots of all prompts."""
        return sum(sum(row.is_image) for row in self.rows)

    @property
    def shown(self) -> tuple[int, ...]:
        """How many images each prompt shows."""
        return tuple(len(row.images) for row in self.rows)

    @property
    def slots_by_image(self) -> tuple[int, ...]:
        """Slots of each image, prompt by prompt."""
        return tuple(image.tokens for row in self.rows for image in row.images)

    def encoded(self, tensors: Mapping[str, Any], cached: Iterable[bool]) -> Batch:
        """The same with features in the place of pixels, and which of them were kept before."""
        marks = iter(cached)
        rows = tuple(replace(row, images=_marked(row.images, marks)) for row in self.rows)
        return replace(self, rows=rows, tensors=tensors)


@dataclass
class State:
    """A conversation in progress, or B of them: the logits [V] or [B, V] of the token that comes next.

    ``ids`` [B, T] is what was read so far. ``carried`` is what ``generate`` would carry from step to step: the KV
    cache, positions, masks. ``offsets`` are values that some families keep on the model object between steps (the rope
    offsets of Qwen-VL); they travel with the conversation, so that two of them can take turns. ``own`` is what
    another way than transformers' to take steps keeps in place of the cache.
    """

    logits: Tensor
    ids: Tensor
    carried: dict[str, Any]
    offsets: list[Any] = field(default_factory=list)
    own: Any = None

    @property
    def length(self) -> int:
        """Positions that were read, padding among them."""
        return int(self.ids.shape[1])


def _marked(images: tuple[ImageShape, ...], cached: Iterator[bool]) -> tuple[ImageShape, ...]:
    return tuple(replace(image, cached=next(cached)) for image in images)
