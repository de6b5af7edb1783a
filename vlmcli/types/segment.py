"""Masks of things in an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vlmcli.types.detect import Box
from vlmcli.types.result import ImageInfo, ModelInfo, Usage

Point = tuple[float, float]
"""``x, y`` in pixels of the upright image; whole numbers are pixels' centres."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What points at one thing: places in it, places outside it, a box around it."""

    points: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask in COCO's run-length encoding: ``size`` is (height, width), ``counts`` the compressed runs.

    The pixels are read column by column, and the first run is of pixels outside the mask. Each run is written as its
    difference from the last of its kind, from the fourth on, in groups of five bits (maskApi.c of cocoapi, 2014).
    """

    size: tuple[int, int]
    counts: str

    @classmethod
    def of_runs(cls, size: tuple[int, int], runs: Sequence[int]) -> Rle:
        """Runs outside, inside, outside ... whose sum is height times width."""
        differences = (run - runs[i - 2] if i > 2 else run for i, run in enumerate(runs))
        return cls(size, "".join(character for number in differences for character in _characters(number)))

    def runs(self) -> list[int]:
        """The lengths of the runs: outside, inside, outside ..."""
        runs: list[int] = []
        number, shift = 0, 0
        for character in self.counts:
            group = ord(character) - 48
            number |= (group & 0x1F) << shift
            shift += 5
            if not group & 0x20:
                if group & 0x10:
                    number -= 1 << shift
                runs.append(number + runs[-2] if len(runs) > 2 else number)
                number, shift = 0, 0
        return runs


def _characters(number: int) -> Iterator[str]:
    """A number, which may be negative, in groups of five bits, the lowest first; bit 5 says that more follow."""
    while True:
        group = number & 0x1F
        number >>= 5
        more = number != (-1 if group & 0x10 else 0)
        yield chr((group | (0x20 if more else 0)) + 48)
        if not more:
            return


@dataclass(frozen=True, slots=True)
class Mask:
    """One thing's mask.

    ``box`` is the smallest around it (all zeros for an empty mask), ``area`` its pixels. ``iou`` is the model's own
    guess at how well the mask fits; ``stability`` the overlap of the masks that a stricter and a looser cut give.
    ``label`` and ``score`` are a detector's, where one found the thing.
    """

    rle: Rle
    box: Box
    area: int
    iou: float
    stability: float
    label: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The masks of one image; ``detector`` is the model whose boxes led to them, where there was one."""

    masks: tuple[Mask, ...]
    model: ModelInfo
    image: ImageInfo
    detector: ModelInfo | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
