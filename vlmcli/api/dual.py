"""A model that embeds images and texts in one space."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vlmcli.api.images import Images, as_sequence
from vlmcli.api.model import Model
from vlmcli.inputs.embeddings.kept import Kept
from vlmcli.types.embed import EmbedEvent
from vlmcli.types.result import ModelInfo
from vlmcli.types.zeroshot import Zeroshot
from vlmcli.weights.resolve import Checkpoint, pinned_revision

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.dual import Dual


class DualModel(Model):
    """A model that embeds images and texts in one space, and so scores labels against images."""

    def __init__(
        self, dual: Dual, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.dual = dual

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.dual.info

    def zeroshot(self, images: Images | Kept, labels: Sequence[str], *, template: str = "{}") -> Zeroshot:
        """Every image against every label: raw logit, sigmoid (where the model was trained so) and softmax.

        ``Kept.open(FILE)`` in the place of images scores the vectors that ``embed`` made of them before. Raises
        InputError (also for a file that another model made), UsageError, NumericalError, OutOfMemory.
        """
        from vlmcli.tasks.zeroshot import zeroshot

        if isinstance(images, Kept):
            images.check_model(self._pinned())
        given = images if isinstance(images, Kept) else self.read(images)
        return zeroshot(self.dual, given, labels, template=template, load_ms=self.load_ms)

    def embed(
        self, images: Images = None, texts: str | Sequence[str] = (), *, batch_size: int = 16
    ) -> Generator[EmbedEvent, None, None]:
        """Images and texts as unit vectors: Start, an Embedding for each (or Skipped), EmbedTotals.

        ``vlmcli.inputs.embeddings.kept.keep`` writes them into a file on the way. The model's ``revision`` in the
        events is never None: where the hub gives none it is a checksum of the checkpoint.

        Raises InputError for a lone image or text, or where none at all can be used; UsageError, NumericalError,
        OutOfMemory; all when the first event is asked for or later.
        """
        from vlmcli.tasks.embed import embed

        words = (texts,) if isinstance(texts, str) else texts
        pictures, read, model = as_sequence(images), self.read_one, self._pinned()
        yield from embed(
            self.dual, pictures, words, read=read, model=model, batch_size=batch_size, load_ms=self.load_ms
        )

    def _pinned(self) -> ModelInfo:
        """The model's info with a revision that no other weights have."""
        return replace(self.info, revision=pinned_revision(self.checkpoint))
