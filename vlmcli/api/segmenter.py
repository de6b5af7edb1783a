"""A model that draws masks of things in an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlmcli.api.detector import DetectorModel
from vlmcli.api.images import OneImage
from vlmcli.api.model import Model
from vlmcli.errors import UsageError
from vlmcli.types.detect import Box
from vlmcli.types.result import ModelInfo
from vlmcli.types.segment import Point, Prompt, Segmentation
from vlmcli.weights.resolve import Checkpoint

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.segmenter import Segmenter


class SegmenterModel(Model):
    """A model that draws masks of what one points at."""

    def __init__(
        self, segmenter: Segmenter, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.segmenter = segmenter

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.segmenter.info

    def segment(
        self,
        image: OneImage,
        labels: str | Sequence[str] = (),
        *,
        points: Sequence[Point] = (),
        negative: Sequence[Point] = (),
        boxes: Sequence[Box] = (),
        each: bool = False,
        detector: DetectorModel | None = None,
        **options: Any,
    ) -> Segmentation:
        """Masks of what points, boxes or labels point at, in the pixels of the upright image.

        All ``points`` are in one thing and all ``negative`` ones outside of it; with ``each``, every point is in a
        thing of its own. Several ``boxes`` are several things; one box and points are one. ``labels`` go through a
        ``detector``, with ``options`` as its ``detect`` takes them, and its boxes come here (OWLSAM).

        The image is encoded once, however many prompts there are; a model that was loaded with its cache knows it again
        at the next call.

        Raises InputError, UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.segment import segment, segment_found

        if not (labels or options.get("query_image") is not None):
            if options or detector:
                raise UsageError("no label for the detector", "give labels, or points and boxes without a detector")
            prompts = prompts_of(points, negative, boxes, each)
            return segment(self.segmenter, self.read_one(image), prompts, load_ms=self.load_ms)
        if points or negative or boxes:
            raise UsageError("labels exclude points and boxes", "a detector says where the things are")
        if detector is None:
            raise UsageError("labels need a detector beside the segmenter", "such as load(kind='detector')")
        loaded = self.read_one(image)
        found = detector.detect(loaded, labels, **options)
        made = segment_found(self.segmenter, loaded, found, load_ms=self.load_ms)
        return replace(made, timings_ms=_together(found.timings_ms, made.timings_ms), usage=found.usage)

    def everything(
        self,
        image: OneImage,
        *,
        grid: int = 32,
        min_iou: float = 0.88,
        min_stability: float = 0.95,
        nms: float = 0.7,
    ) -> Segmentation:
        """A mask of everything in the image: ``vlmcli.tasks.segment.everything`` says how.

        Raises InputError, UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.segment import everything

        return everything(
            self.segmenter,
            self.read_one(image),
            grid=grid,
            min_iou=min_iou,
            min_stability=min_stability,
            nms=nms,
            load_ms=self.load_ms,
        )


def prompts_of(
    points: Sequence[Point], negative: Sequence[Point], boxes: Sequence[Box], each: bool = False
) -> tuple[Prompt, ...]:
    """What points and boxes point at, thing by thing. Raises UsageError for what makes no sense together."""
    if each:
        if negative or boxes:
            raise UsageError("points that are a thing each go with neither boxes nor points outside")
        return tuple(Prompt(points=(point,)) for point in points)
    if len(boxes) > 1:
        if points or negative:
            raise UsageError("points belong to one box, and several were given")
        return tuple(Prompt(box=box) for box in boxes)
    if not (points or negative or boxes):
        return ()
    return (Prompt(tuple(points), tuple(negative), boxes[0] if boxes else None),)


def _together(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Two models' times: ``load`` and ``total`` are sums, the stages of the first come first."""
    stages = {name: before.get(name, 0.0) + after.get(name, 0.0) for name in (*before, *after)}
    return {name: round(stages[name], 3) for name in sorted(stages, key=lambda name: name == "total")}
