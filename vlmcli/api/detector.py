"""A model that finds things in images by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlmcli.api.images import Images, OneImage
from vlmcli.api.model import Model
from vlmcli.types.detect import Detections
from vlmcli.types.result import ModelInfo
from vlmcli.weights.resolve import Checkpoint

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.detector import Detector


class DetectorModel(Model):
    """A model that puts boxes around what words name."""

    def __init__(
        self, detector: Detector, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.detector = detector

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.detector.info

    def detect(
        self,
        images: Images,
        labels: str | Sequence[str] = (),
        *,
        query_image: OneImage | None = None,
        template: str = "{}",
        threshold: float | None = None,
        nms: float | None = None,
        top: int | None = None,
    ) -> Detections:
        """Boxes around what ``labels`` name, image by image, the best first, in pixels of the upright images.

        Args:
            images: one image or several.
            labels: what to look for.
            query_image: an image of one thing to look for, in the place of labels (OWL-ViT and OWLv2).
            template: the text around each label, such as ``a photo of a {}``.
            threshold: what a score has to exceed; None is the family's own.
            nms: of two boxes with one label that overlap more than this the worse goes; None is the family's own, 1
                keeps all.
            top: how many are told of an image.

        Raises InputError, UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.detect import detect

        return detect(
            self.detector,
            self.read(images),
            (labels,) if isinstance(labels, str) else labels,
            example=None if query_image is None else self.read_one(query_image),
            template=template,
            threshold=threshold,
            nms=nms,
            top=top,
            load_ms=self.load_ms,
        )
