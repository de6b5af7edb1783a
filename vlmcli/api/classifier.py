"""A model that knows images by labels of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmcli.api.images import Images
from vlmcli.api.model import Model
from vlmcli.types.classify import Classification
from vlmcli.types.result import ModelInfo
from vlmcli.weights.resolve import Checkpoint

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.classifier import Classifier


class ClassifierModel(Model):
    """A model that knows images by labels of its own."""

    def __init__(
        self, classifier: Classifier, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.classifier = classifier

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.classifier.info

    def classify(self, images: Images, *, k: int = 5) -> Classification:
        """The ``k`` likeliest classes of each image, with logit and softmax (or sigmoid: several labels an image).

        Raises InputError, UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.classify import classify

        return classify(self.classifier, self.read(images), k=k, load_ms=self.load_ms)
