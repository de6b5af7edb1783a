"""Score labels against images: N image forwards and M text forwards, then one dot product for each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.dual import Dual
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types import Score, Usage, Zeroshot


def zeroshot(
    dual: Dual, images: Sequence[LoadedImage], labels: Sequence[str], *, template: str = "{}", load_ms: float = 0.0
) -> Zeroshot:
    """Every image against every label, image by image, in the order given.

    ``logit`` is the model's own score; ``softmax`` is over the labels of one image ("against the others");
    ``sigmoid`` is each pair on its own, and None for models that were not trained so (CLIP). ``template`` wraps each
    label at its ``{}``.

    Raises UsageError without images, labels or ``{}``, ContextOverflow for a label that is too long, NumericalError.
    """
    if not images or not labels:
        raise UsageError("zero-shot scoring needs at least one image and one label")
    if "{}" not in template:
        raise UsageError(f"the template {template!r} has no {{}} for the label", hint='for example "a photo of {}"')
    watch = Stopwatch(load_ms)
    wrapped = [template.replace("{}", label) for label in labels]
    texts = dual.embed_texts(wrapped)  # [M, D]
    watch.lap("texts")
    embedded = [dual.embed_image(image.pixels) for image in images]
    watch.lap("images")
    logits = dual.logits(torch.cat([image.vector for image in embedded]), texts).cpu()  # [N, M]
    softmax = logits.softmax(dim=-1)  # [N, M]
    sigmoid = logits.sigmoid()  # [N, M]
    scores = tuple(
        Score(
            image.info.source,
            label,
            logit=float(logits[n, m]),
            sigmoid=float(sigmoid[n, m]) if dual.is_sigmoid else None,
            softmax=float(softmax[n, m]),
        )
        for n, image in enumerate(images)
        for m, label in enumerate(labels)
    )
    infos = tuple(
        replace(image.info, resized=made.resized, tokens=made.tokens)
        for image, made in zip(images, embedded, strict=True)
    )
    image_tokens = sum(info.tokens for info in infos)
    used = Usage(image_tokens + dual.count_tokens(wrapped), image_tokens)
    return Zeroshot(scores, dual.info, infos, watch.timings_ms(), used)
