"""Find what words name, or what resembles an example, in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.boxes import areas, clipped, distinct
from vlmcli.models.detector import Candidates, Detector
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.detect import Detection, Detections
from vlmcli.types.result import ImageInfo, Usage


def detect(
    detector: Detector,
    images: Sequence[LoadedImage],
    labels: Sequence[str] = (),
    *,
    example: LoadedImage | None = None,
    template: str = "{}",
    threshold: float | None = None,
    nms: float | None = None,
    top: int | None = None,
    load_ms: float = 0.0,
) -> Detections:
    """What scores above ``threshold``, image by image, the best first.

    ``example``, an image that shows one thing, takes the place of ``labels``. ``template`` wraps each label at its
    ``{}``. ``nms`` is the overlap (intersection over union) beyond which the worse of two boxes with one label goes; 1
    keeps all. None leaves threshold and overlap to the family, as transformers' post-processing has them. ``top`` is
    how many are told of an image. What lies outside of it altogether, as in the part that OWLv2 pads, is left out.

    Raises UsageError, InputError, ContextOverflow, NumericalError, OutOfMemory.
    """
    _check(images, labels, example, template, threshold, nms, top)
    watch = Stopwatch(load_ms)
    texts = [template.replace("{}", label) for label in labels]
    names = tuple(labels) if example is None else (example.info.source,)
    found: list[tuple[Detection, ...]] = []
    infos: list[ImageInfo] = []
    habits = None
    for image in images:
        made = (
            detector.detect(image.pixels, texts)
            if example is None
            else detector.detect_like(image.pixels, example.pixels)
        )
        habits = replace(
            made.habits,
            threshold=made.habits.threshold if threshold is None else threshold,
            nms=made.habits.nms if nms is None else nms,
        )
        best = _chosen(replace(made, habits=habits), names, image.pixels.size)
        found.append(tuple(best)[:top])
        infos.append(replace(image.info, resized=made.resized, tokens=made.tokens, cached=made.cached))
        watch.lap("detect")
    assert habits is not None
    tokens = sum(info.tokens for info in infos)
    return Detections(
        tuple(found),
        names,
        habits.threshold,
        habits.nms,
        detector.info,
        tuple(infos),
        watch.timings_ms(),
        Usage(tokens, tokens),
    )


def _check(
    images: Sequence[LoadedImage],
    labels: Sequence[str],
    example: LoadedImage | None,
    template: str,
    threshold: float | None,
    overlap: float | None,
    top: int | None,
) -> None:
    """Raises UsageError."""
    if not images:
        raise UsageError("detecting needs at least one image")
    if any(not label.strip() for label in labels):
        raise UsageError("a label is empty")
    if example is None and not labels:
        raise UsageError(
            "no label: nothing to look for", "for example: vlm detect photo.jpg 'a cat' 'a remote control'"
        )
    if example is not None and labels:
        raise UsageError("labels and an example exclude each other", "the example takes the place of labels")
    if "{}" not in template:
        raise UsageError(f"the template {template!r} has no {{}} for the label", hint='for example "a photo of {}"')
    for name, value in (("threshold", threshold), ("nms", overlap)):
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"{name} must be from 0 to 1, not {value}")
    if top is not None and top < 1:
        raise UsageError("top must be at least 1")


def _chosen(made: Candidates, names: Sequence[str], size: tuple[int, int]) -> Iterator[Detection]:
    """The candidates that count, the best first; ``size`` is the image's (width, height)."""
    inside = areas(clipped(made.boxes, size)) > 0
    keep = ((made.scores > made.habits.threshold) & inside).nonzero().flatten()
    boxes, scores, labels = made.boxes[keep], made.scores[keep], made.labels[keep]
    if made.habits.nms is None:
        order = scores.argsort(descending=True, stable=True)
    else:
        order = distinct(boxes, scores, made.habits.nms, labels)
    for i in order.tolist():
        box = clipped(boxes[i : i + 1], size)[0] if made.habits.clips else boxes[i]
        x0, y0, x1, y1 = (float(value) for value in box.to(torch.float64))
        yield Detection(names[int(labels[i])], float(scores[i]), (x0, y0, x1, y1))
