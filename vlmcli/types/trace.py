"""Each stage of the machine, from the image's pixels to the tokens of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vlmcli.types.result import ImageInfo, ModelInfo, Usage

StageName = Literal["decode", "resize", "patchify", "encode", "project", "fuse", "prefill", "step"]
STAGES: tuple[StageName, ...] = ("decode", "resize", "patchify", "encode", "project", "fuse", "prefill", "step")
"""In the order of the diagram. ``decode`` is that of the image's file; ``step`` is one token of the answer."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Tensors of one stage: their shapes, and what all their numbers have in common.

    ``low``, ``mean`` and ``high`` are over those that are numbers, None where there is none; ``nans`` are not.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    low: float | None
    mean: float | None
    high: float | None
    nans: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it made, how long it took, and how much memory it needed at most.

    ``figures`` is None for a stage that cannot be seen or that the model does not have; ``note`` says which, and else
    what has to be known of it. ``peak_bytes`` is above what was in use before the first stage; None where the device
    does not tell. ``token`` is what a step, or the prefill, has said.
    """

    name: StageName
    figures: Figures | None
    ms: float | None = None
    peak_bytes: int | None = None
    note: str = ""
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring positions of one kind in the sequence that the decoder reads."""

    kind: Literal["text", "image"]
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The stages in their order, and the sequence (B, T, D) that the decoder reads, as runs of text and image."""

    stages: tuple[Stage, ...]
    sequence: tuple[Run, ...]
    width: int | None
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    usage: Usage
    notes: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
