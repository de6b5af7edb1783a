"""A model that draws images from words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vlmcli.api.model import Model
from vlmcli.types.draw import Brush, DrawEvent
from vlmcli.types.result import ModelInfo
from vlmcli.weights.resolve import Checkpoint

# Commands import this module before they know that they need a model: torch comes with the first call.
if TYPE_CHECKING:
    from vlmcli.models.vlm import Vlm


class PainterModel(Model):
    """A model of words and pictures of which nothing is promised but that it draws."""

    def __init__(
        self, vlm: Vlm, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool
    ) -> None:
        super().__init__(checkpoint, load_ms, max_pixels, allow_private_urls)
        self.vlm = vlm

    @property
    def info(self) -> ModelInfo:
        """Which weights these are, and where they run."""
        return self.vlm.info

    def draw(
        self,
        prompt: str,
        *,
        count: int = 1,
        size: str | None = None,
        negative: str = "",
        brush: Brush | None = None,
        batch_size: int = 1,
    ) -> Iterator[DrawEvent]:
        """Draw images: DrawStart, a DrawnToken for each token, a Drawn with each finished image, DrawTotals.

        Args:
            prompt: what to draw.
            count: how many images, each with a seed of its own.
            size: ``720x720`` in pixels or ``16:9`` as a ratio, where the family draws other sizes than one.
            negative: what guidance leads away from, where the family reads it.
            brush: guidance, seed and sampling; the makers' advice if not given.
            batch_size: images drawn side by side.

        Raises UsageError for a model that cannot draw; InputError, NumericalError, OutOfMemory; all when the first
        event is asked for or later.
        """
        from vlmcli.tasks.draw import draw

        yield from draw(
            self.vlm,
            prompt,
            brush or Brush(),
            count=count,
            size=size,
            negative=negative,
            batch_size=batch_size,
            load_ms=self.load_ms,
        )
