"""Score labels against images: each side encoded once, then one dot product for each pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.embeddings.kept import Kept
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.dual import Dual
from vlmcli.tasks.embed import BATCH_SIZE, batches
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.result import ImageInfo, Usage
from vlmcli.types.zeroshot import Score, Zeroshot

# Images that are scored together.
_ROWS = 1024


def zeroshot(
    dual: Dual,
    images: Sequence[LoadedImage] | Kept,
    labels: Sequence[str],
    *,
    template: str = "{}",
    load_ms: float = 0.0,
) -> Zeroshot:
    """Every image against every label, image by image, in the order given.

    ``logit`` is the model's own score; ``softmax`` is over the labels of one image ("against the others");
    ``sigmoid`` is each pair on its own, and None for models that were not trained so (CLIP). ``template`` wraps each
    label at its ``{}``. Images whose vectors were kept in a file are not encoded again: they have no tokens here.

    Raises UsageError without images, labels or ``{}``, ContextOverflow for a label that is too long, NumericalError,
    InputError for a file of vectors that cannot be used.
    """
    if not labels or (not isinstance(images, Kept) and not images):
        raise UsageError("zero-shot scoring needs at least one image and one label")
    if "{}" not in template:
        raise UsageError(f"the template {template!r} has no {{}} for the label", hint='for example "a photo of {}"')
    watch = Stopwatch(load_ms)
    prepared = [dual.prepare_text(template.replace("{}", label)) for label in labels]
    embedded = [made for batch in batches(prepared, BATCH_SIZE) for made in dual.embed_texts(batch)]
    texts = torch.stack([made.vector for made in embedded])  # [M, D]
    watch.lap("texts")
    infos: list[ImageInfo] = []
    scores: list[Score] = []
    for rows in batches(
        _fitting(images, texts.shape[1]) if isinstance(images, Kept) else _encoded(dual, images), _ROWS
    ):
        seen = [info for info, _ in rows]
        logits = dual.logits(torch.stack([vector for _, vector in rows]), texts).cpu()  # [n, M]
        scores += _scores(seen, labels, logits, dual.is_sigmoid)
        infos += seen
    if not infos:
        raise InputError("the file of embeddings holds no image", "vlm embed keeps images and texts")
    watch.lap("images")
    image_tokens = sum(info.tokens for info in infos)
    used = Usage(image_tokens + sum(made.tokens for made in embedded), image_tokens)
    return Zeroshot(tuple(scores), dual.info, tuple(infos), watch.timings_ms(), used)


def _encoded(dual: Dual, images: Iterable[LoadedImage]) -> Iterator[tuple[ImageInfo, Tensor]]:
    """Each image with its vector [D]."""
    for batch in batches(images, BATCH_SIZE):
        made = dual.embed_images([dual.prepare_image(image.pixels) for image in batch])
        for image, one in zip(batch, made, strict=True):
            yield replace(image.info, resized=one.resized, tokens=one.tokens), one.vector


def _fitting(kept: Kept, dimensions: int) -> Iterator[tuple[ImageInfo, Tensor]]:
    """The same from a file. Raises InputError for vectors of other dimensions than the labels have."""
    for info, vector in kept.images():
        if len(vector) != dimensions:
            raise InputError(
                f"{kept.path} holds vectors of {len(vector)} dimensions, and the model's have {dimensions}"
            )
        yield info, vector


def _scores(images: Sequence[ImageInfo], labels: Sequence[str], logits: Tensor, is_sigmoid: bool) -> Iterator[Score]:
    """Logits [n, M] as the values that leave here."""
    softmax = logits.softmax(dim=-1)  # [n, M]
    sigmoid = logits.sigmoid()  # [n, M]
    for n, image in enumerate(images):
        for m, label in enumerate(labels):
            yield Score(
                image.source,
                label,
                logit=float(logits[n, m]),
                sigmoid=float(sigmoid[n, m]) if is_sigmoid else None,
                softmax=float(softmax[n, m]),
            )
