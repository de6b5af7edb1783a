"""Classify images by the labels that the model itself knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.classifier import Classifier
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.classify import Classification, ClassScore
from vlmcli.types.result import ImageInfo


def classify(
    classifier: Classifier, images: Sequence[LoadedImage], *, k: int = 5, load_ms: float = 0.0
) -> Classification:
    """The ``k`` likeliest classes of each image (all of them where there are fewer), image by image, likeliest first.

    ``softmax`` is over all classes of the model; a model of several labels an image has ``sigmoid`` instead.

    Raises UsageError without images or with ``k`` below 1, NumericalError, OutOfMemory.
    """
    if not images or k < 1:
        raise UsageError("classifying needs at least one image" if k >= 1 else "k must be at least 1")
    watch = Stopwatch(load_ms)
    infos: list[ImageInfo] = []
    scores: list[ClassScore] = []
    for image in images:
        made = classifier.classify(image.pixels)
        infos.append(replace(image.info, resized=made.resized))
        scores += _top(classifier, image.info.source, made.logits, k)
    watch.lap("images")
    return Classification(tuple(scores), len(classifier.labels), classifier.info, tuple(infos), watch.timings_ms())


def _top(classifier: Classifier, source: str, logits: Tensor, k: int) -> Iterator[ClassScore]:
    """The best of an image's logits [C]."""
    softmax = logits.softmax(dim=-1) if classifier.scoring == "softmax" else None  # [C]
    sigmoid = logits.sigmoid() if classifier.scoring == "sigmoid" else None  # [C]
    for number in logits.topk(min(k, len(logits))).indices.tolist():
        yield ClassScore(
            image=source,
            id=number,
            label=classifier.labels[number],
            logit=float(logits[number]),
            sigmoid=None if sigmoid is None else float(sigmoid[number]),
            softmax=None if softmax is None else float(softmax[number]),
        )
