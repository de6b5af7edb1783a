"""Images and texts as unit vectors, batch by batch: a million of them need no more memory than one batch."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.dual import Dual, Embedded, PreparedImage, PreparedText
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals, Skipped, TextInfo
from vlmcli.types.result import ImageInfo, ModelInfo, Start, Usage

BATCH_SIZE = 16
"""Images, or texts, that go through their encoder together.

Zero-shot scoring has the same batches, so that kept vectors give the very scores that their images give."""

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Info = ImageInfo | TextInfo


def embed(
    dual: Dual,
    images: Sequence[Item],
    texts: Sequence[str],
    *,
    read: Callable[[Item], LoadedImage],
    model: ModelInfo,
    batch_size: int = BATCH_SIZE,
    load_ms: float = 0.0,
) -> Generator[EmbedEvent, None, None]:
    """Start, an Embedding (or Skipped) for each image and then each text, EmbedTotals.

    ``read`` loads an image when its turn comes. An image that it refuses is Skipped, and so is a text that is too long;
    but a lone item raises its own error, and several of which none can be used raise one. ``model`` is what the events
    name as the vectors' origin.

    Raises InputError, UsageError without images and texts, NumericalError, OutOfMemory.
    """
    if batch_size < 1:
        raise UsageError("the batch size must be at least 1")
    given = len(images) + len(texts)
    if not given:
        raise UsageError("nothing to embed: neither an image nor a text")

    def prepare_image(item: Item) -> tuple[Info, PreparedImage]:
        image = read(item)
        return image.info, dual.prepare_image(image.pixels)

    def prepare_text(text: str) -> tuple[Info, PreparedText]:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return TextInfo(text, digest), dual.prepare_text(text)

    watch = Stopwatch(load_ms)
    seen: Counter[str] = Counter()
    yield Start(model, (), Usage())
    of_images = _embeddings(images, prepare_image, dual.embed_images, batch_size, lone=given == 1)
    of_texts = _embeddings(texts, prepare_text, dual.embed_texts, batch_size, lone=given == 1)
    dimensions = 0
    for stage, events in (("images", of_images), ("texts", of_texts)):
        for event in events:
            watch.lap(stage)
            if isinstance(event, Embedding):
                dimensions = len(event.vector)
                seen.update({stage: 1, f"{stage} tokens": event.of.tokens})
            yield event
    done = seen["images"] + seen["texts"]
    if not done:
        raise InputError(f"none of the {given} images and texts can be embedded", "why is said above, for each")
    used = Usage(seen["images tokens"] + seen["texts tokens"], seen["images tokens"])
    yield EmbedTotals(seen["images"], seen["texts"], given - done, dimensions, model, used, watch.timings_ms())


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """``items`` in order, ``size`` at a time; the last batch may be smaller, and none is empty."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _embeddings(
    items: Iterable[Item],
    prepare: Callable[[Item], tuple[Info, Prepared]],
    encode: Callable[[list[Prepared]], list[Embedded]],
    batch_size: int,
    lone: bool,
) -> Iterator[Embedding | Skipped]:
    """What becomes of each item. A batch is filled up past the items that are skipped."""
    refused: list[Skipped] = []

    def usable() -> Iterator[tuple[Info, Prepared]]:
        for item in items:
            try:
                ready = prepare(item)
            except InputError as error:
                if lone:
                    raise
                refused.append(Skipped(_name(item), type(error).__name__, error.message, error.hint))
            else:
                yield ready

    for batch in batches(usable(), batch_size):
        yield from refused
        refused.clear()
        made = encode([prepared for _, prepared in batch])
        vectors = torch.stack([one.vector for one in made]).float().cpu().tolist()  # [n, D]
        for (info, _), one, vector in zip(batch, made, vectors, strict=True):
            yield Embedding(_as_read(info, one), tuple(vector))
    yield from refused


def _as_read(info: Info, made: Embedded) -> Info:
    """The item, with what its encoder made of it."""
    if isinstance(info, ImageInfo):
        return replace(info, tokens=made.tokens, resized=made.resized)
    return replace(info, tokens=made.tokens)


def _name(item: object) -> str:
    if isinstance(item, (str, os.PathLike)):
        return os.fspath(item)
    return f"<{type(item).__name__.lower()}>"
