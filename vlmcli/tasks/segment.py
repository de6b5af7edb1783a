"""Draw masks of things in an image: those that points or boxes point at, those that words name, or all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.boxes import clipped, distinct
from vlmcli.models.segmenter import Scene, Segmenter, bounds, encoded
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.detect import Box, Detection, Detections
from vlmcli.types.segment import Mask, Point, Prompt, Segmentation

PROMPTS_TOGETHER = 16
"""Prompts that go through the decoder together: it takes some 30 MB for each of them."""

Item = TypeVar("Item")


def segment(
    segmenter: Segmenter, image: LoadedImage, prompts: Sequence[Prompt], *, load_ms: float = 0.0
) -> Segmentation:
    """One mask for each prompt, in their order.

    A single point may mean a part or the whole: of the three masks that the model proposes, the one with the best
    predicted IoU is taken. Of more than a point it draws one mask.

    Raises UsageError for a prompt that points at nothing, InputError for one outside the image, NumericalError,
    OutOfMemory.
    """
    if not prompts:
        raise UsageError("nothing to segment: neither a point nor a box")
    for prompt in prompts:
        check(prompt, image.info.original)
    watch = Stopwatch(load_ms)
    scene = segmenter.encode(image.pixels)
    watch.lap("encode")
    masks = tuple(mask for batch in _alike(prompts) for mask in _masks(segmenter, scene, batch))
    watch.lap("masks")
    return _result(segmenter, image, scene, masks, watch)


def segment_found(
    segmenter: Segmenter, image: LoadedImage, detections: Detections, *, load_ms: float = 0.0
) -> Segmentation:
    """A mask for each thing that a detector found in the image, by its box (OWLSAM).

    Raises NumericalError, OutOfMemory.
    """
    watch = Stopwatch(load_ms)
    found = detections.found[0]
    if not found:
        return Segmentation((), segmenter.info, image.info, detections.model, watch.timings_ms())
    scene = segmenter.encode(image.pixels)
    watch.lap("encode")
    prompts = [Prompt(box=_inside(detection.box, image.pixels.size)) for detection in found]
    drawn = [mask for batch in _alike(prompts) for mask in _masks(segmenter, scene, batch)]
    masks = tuple(_named(mask, detection) for mask, detection in zip(drawn, found, strict=True))
    watch.lap("masks")
    return replace(_result(segmenter, image, scene, masks, watch), detector=detections.model)


def everything(
    segmenter: Segmenter,
    image: LoadedImage,
    *,
    grid: int = 32,
    min_iou: float = 0.88,
    min_stability: float = 0.95,
    nms: float = 0.7,
    load_ms: float = 0.0,
) -> Segmentation:
    """A mask of everything in the image, the best first, by a grid of ``grid`` x ``grid`` points.

    Of the three masks a point those stay whose predicted IoU and whose stability exceed the limits (0: all do); of two
    whose boxes overlap by more than ``nms`` (intersection over union), the better (Segment Anything, appendix B). Only
    one mask at a time is as large as the image; those that stay are kept as runs.

    Raises UsageError, NumericalError, OutOfMemory.
    """
    if grid < 1 or not all(0 <= limit <= 1 for limit in (min_iou, min_stability, nms)):
        raise UsageError("the grid has at least 1 point a side, and the limits are from 0 to 1")
    watch = Stopwatch(load_ms)
    scene = segmenter.encode(image.pixels)
    watch.lap("encode")
    prompts = [Prompt(points=(point,)) for point in _grid(scene.size, grid)]
    masks: list[Mask] = []
    for batch in batched(prompts, PROMPTS_TOGETHER):
        made = segmenter.propose(scene, batch, several=True)
        for n, m in (made.ious > (min_iou or -math.inf)).nonzero().tolist():
            mask = _drawn(segmenter, scene, made.logits[n, m], float(made.ious[n, m]))
            if mask.stability > (min_stability or -math.inf):
                masks.append(mask)
    watch.lap("masks")
    return _result(segmenter, image, scene, _without_copies(masks, nms), watch)


def check(prompt: Prompt, size: tuple[int, int]) -> None:
    """Raises UsageError for a prompt that points at nothing, InputError for one outside an image of ``size``."""
    width, height = size
    for x, y in (*prompt.points, *prompt.negative):
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(
                f"the point {x:g},{y:g} is outside of the image, which has {width} x {height} pixels",
                f"x goes from 0 to {width - 1}, y from 0 to {height - 1}",
            )
    if prompt.box is None:
        if not prompt.points:
            raise UsageError("points outside of a thing alone do not say where it is", "give a point in it too")
        return
    x0, y0, x1, y1 = prompt.box
    name = ",".join(f"{value:g}" for value in prompt.box)
    if not (x0 < x1 and y0 < y1):
        raise UsageError(f"the box {name} has no area", "a box is x0,y0,x1,y1: its upper left and lower right corner")
    if not (x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height):
        raise InputError(f"the box {name} reaches out of the image, which has {width} x {height} pixels")


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """``items`` in order, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _alike(prompts: Sequence[Prompt]) -> Iterator[Sequence[Prompt]]:
    """Prompts in order, neighbours of one shape together."""
    start = 0
    for end in range(1, len(prompts) + 1):
        if end == len(prompts) or end - start == PROMPTS_TOGETHER or _shape(prompts[end]) != _shape(prompts[start]):
            yield prompts[start:end]
            start = end


def _shape(prompt: Prompt) -> tuple[int, int, bool]:
    return len(prompt.points), len(prompt.negative), prompt.box is not None


def _masks(segmenter: Segmenter, scene: Scene, prompts: Sequence[Prompt]) -> Iterator[Mask]:
    """The best mask for each of some prompts of one shape."""
    made = segmenter.propose(scene, prompts, several=_shape(prompts[0]) == (1, 0, False))
    for logits, ious in zip(made.logits, made.ious, strict=True):  # [m, h, w], [m]
        best = int(ious.argmax())
        yield _drawn(segmenter, scene, logits[best], float(ious[best]))


def _drawn(segmenter: Segmenter, scene: Scene, logits: Tensor, iou: float) -> Mask:
    """A mask's logits [h, w] as the value that leaves here."""
    drawn = segmenter.draw(scene, logits)
    return Mask(encoded(drawn.pixels), bounds(drawn.pixels), int(drawn.pixels.sum()), iou, drawn.stability)


def _named(mask: Mask, detection: Detection) -> Mask:
    return replace(mask, label=detection.label, score=detection.score)


def _inside(box: Box, size: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = clipped(torch.tensor([box], dtype=torch.float64), size)[0].tolist()
    return (x0, y0, x1, y1)


def _grid(size: tuple[int, int], n: int) -> Iterator[Point]:
    """The centres of ``n`` x ``n`` equal parts of an image, row by row."""
    for row in range(n):
        for column in range(n):
            yield ((column + 0.5) / n * size[0], (row + 0.5) / n * size[1])


def _without_copies(masks: Sequence[Mask], nms: float) -> tuple[Mask, ...]:
    """Of masks with nearly the same box the one with the best predicted IoU; the best first."""
    if not masks:
        return ()
    # transformers measures boxes from centre to centre of their outermost pixels.
    boxes = torch.tensor([mask.box for mask in masks]) - torch.tensor([0.0, 0.0, 1.0, 1.0])
    kept = distinct(boxes, torch.tensor([mask.iou for mask in masks]), nms)
    return tuple(masks[i] for i in kept.tolist())


def _result(
    segmenter: Segmenter, image: LoadedImage, scene: Scene, masks: tuple[Mask, ...], watch: Stopwatch
) -> Segmentation:
    info = replace(image.info, resized=scene.resized, cached=scene.cached)
    return Segmentation(masks, segmenter.info, info, timings_ms=watch.timings_ms())
