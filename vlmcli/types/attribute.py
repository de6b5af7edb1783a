"""What an answer rests on in an image."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from vlmcli.types.picture import Picture
from vlmcli.types.result import ImageInfo, ModelInfo, TopToken, Usage

Method = Literal["occlusion", "ablation", "gradient", "integrated", "attention", "tam"]
METHODS: tuple[Method, ...] = get_args(Method)

Grid = tuple[tuple[float, ...], ...]
"""Rows of numbers over the whole upright image, the image's rows first; all cells are equally large."""


@dataclass(frozen=True, slots=True)
class Reliance:
    """How much the image adds to a token's log-probability, in nats: the image's minus that of a spoiled one.

    Near 0 the word came from the language model alone; below 0 the image speaks against it.
    """

    blank: float
    noised: float
    shuffled: float


@dataclass(frozen=True, slots=True)
class AttributedToken:
    """One token of the answer: what the model gave it, what the image adds, and its own map.

    ``rank`` 1 is the likeliest; ``entropy`` and ``top`` describe the whole distribution that it was taken from.
    """

    index: int
    id: int
    token: str
    bytes: bytes
    logprob: float
    rank: int
    entropy: float
    top: tuple[TopToken, ...]
    reliance: Reliance
    grid: Grid


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How good the map is: the answer's probability while the image goes, and comes, in the map's order.

    The area under the curve of the probability (geometric mean over the tokens) when the cells are taken away, the
    most important first (``deletion``, lower is better) or put into an empty picture (``insertion``, higher is better):
    RISE (Petsiuk et al. 2018, arXiv 1806.07421). ``random_*`` is the mean over as many orders drawn at random.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float
    steps: int
    orders: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which parts of image number ``of`` the tokens of an answer rest on.

    ``token``: the index of the only token that was asked about, None for the whole answer. ``grid`` is the sum of the
    tokens' maps. What the numbers are depends on the method: nats of log-probability that a covered cell costs
    (``occlusion``, ``ablation``), that the embeddings contribute to first order (``gradient``, ``integrated``), the
    share of attention (``attention``), an activation (``tam``). ``picture`` is the image, for those who draw.
    """

    text: str
    method: Method
    token: int | None
    grid: Grid
    tokens: tuple[AttributedToken, ...]
    of: int
    faithfulness: Faithfulness | None
    picture: Picture = field(repr=False)
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    notes: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def peak(self) -> tuple[int, int]:
        """(row, column) of the largest number."""
        cells = ((value, -r, -c) for r, row in enumerate(self.grid) for c, value in enumerate(row))
        _, row, column = max(cells)
        return -row, -column

    @property
    def reliance(self) -> float:
        """What the image adds to the answer against a blank one, in nats for each token."""
        return math.fsum(token.reliance.blank for token in self.tokens) / len(self.tokens)
