"""An answer tried again and again, on pictures that show less or with embeddings that were changed.

Shapes: A tokens of the answer, B variants side by side, n slots of the image, C cells of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from vlmcli.engine.forced import answer_logprobs
from vlmcli.errors import OutOfMemory
from vlmcli.inputs.answer import Ids
from vlmcli.inputs.chat import Prompt
from vlmcli.inputs.spoiled import Box, cells, windows
from vlmcli.models.changed import ChangedRows, with_features
from vlmcli.models.places import Places, overlap, places
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Tick

WINDOWS = (0.25, 0.4)
"""So much of the picture windows are wide and high, however fine the grid: they must hide a thing to be missed.

The larger ones are for larger things, of which a small window leaves enough to answer by.
"""

_STEPS = 8  # along each side, unless there are fewer cells, or more than twice as many

_T = TypeVar("_T")


@dataclass
class Work:
    """Batches of forward passes: as many at once as fit, counted aloud."""

    size: int
    tick: Tick | None = None
    total: int = 0
    done: int = 0
    notes: list[str] = field(default_factory=list)

    def each(self, items: Sequence[_T], run: Callable[[Sequence[_T]], Tensor]) -> Tensor:
        """What ``run`` makes of all items, [items, ...]; where memory runs out, half as many at a time.

        Raises OutOfMemory where even one is too many.
        """
        parts: list[Tensor] = []
        start = 0
        while start < len(items):
            some = items[start : start + self.size]
            try:
                parts.append(run(some))
            except OutOfMemory:
                if len(some) == 1:
                    raise
                self.size = len(some) // 2
                self.notes = [f"memory ran out: the batch size was lowered to {self.size}"]
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            start += len(some)
            self.count(len(some))
        return torch.cat(parts)

    def count(self, passes: int) -> None:
        """So many more are done."""
        self.done += passes
        if self.tick:
            self.tick(self.done, self.total)


@dataclass(frozen=True)
class Trial:
    """A prompt, the answer's tokens, the image in question and the grid over it."""

    vlm: Vlm
    prompt: Prompt
    inputs: Inputs
    ids: Ids
    of: int
    rows: int
    columns: int
    work: Work

    @property
    def image(self) -> Image.Image:
        """The image in question."""
        return self.prompt.images[self.of]

    @property
    def size(self) -> int:
        """How many cells the grid has."""
        return self.rows * self.columns

    @property
    def windows(self) -> list[Box]:
        """What is hidden at a time: overlapping, half a window apart or a cell, whichever is wider."""
        rows, columns = (min(count, max(_STEPS, count // 2)) for count in (self.rows, self.columns))
        return [box for side in WINDOWS for box in windows(rows, columns, side, side)]

    def averaged(self, values: Tensor) -> Tensor:
        """What each window cost [windows, A] -> cells [A, rows, columns]: the mean over the windows that hide a cell.

        So a thing that several windows hide is found in their middle, and not at the rim of the one that hid it best;
        and cells may be finer than windows are apart. Windows beyond the picture's edge count too: they hide nothing.
        """
        own = torch.tensor(cells(self.rows, self.columns))
        shares = overlap(own, torch.tensor(self.windows)).chunk(len(WINDOWS), dim=1)  # [C, windows] of one size each
        weights = torch.cat([share / share.sum(1).max() for share in shares], dim=1) / len(WINDOWS)
        return (values.T @ weights.T).reshape(-1, self.rows, self.columns)

    def around(self, boxes: Tensor) -> Tensor:
        """Which part of each of an image's slots lies around each cell, [n, C]: two slots wide and high, or the cell.

        Neighbouring slots have seen each other in the encoder: one by one they say less than they seem to.
        """
        width, height = (2 * float((boxes[:, i + 2] - boxes[:, i]).nanmedian()) for i in (0, 1))
        return overlap(boxes, torch.tensor(windows(self.rows, self.columns, width, height)))

    def places(self) -> Places:
        """Where the image's slots lie in it."""
        return places(self.vlm, self.prompt, self.inputs, self.of)

    def on(self, pictures: Sequence[Callable[[], Image.Image]]) -> Tensor:
        """The answer's log-probabilities [B, A] with each of these pictures in the image's place.

        The pictures are made when they are needed, so that no more of them are held than a batch has.
        """
        lab = self._lab

        def run(some: Sequence[Callable[[], Image.Image]]) -> Tensor:
            batch = lab.prepare_batch([self._showing(make()) for make in some])
            return answer_logprobs(lab, batch, self.ids).float().cpu()

        return self.work.each(pictures, run)

    @cached_property
    def _lab(self) -> Vlm:
        """The model with the rows of pixels as they are: what a picture leaves unchanged is known from here."""
        lab = with_features(self.vlm, ChangedRows())
        lab.encode(self.inputs)
        return lab

    def _showing(self, picture: Image.Image) -> Prompt:
        images = (*self.prompt.images[: self.of], picture, *self.prompt.images[self.of + 1 :])
        return replace(self.prompt, images=images)
