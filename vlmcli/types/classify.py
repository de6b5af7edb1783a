"""Images by a model's own labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, Usage


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One of an image's classes; ``id`` is its number in the model.

    ``softmax`` is over all classes of the model; a model of several labels an image has ``sigmoid`` instead, and one
    that was trained as a regression has neither.
    """

    image: str
    id: int
    label: str
    logit: float
    sigmoid: float | None
    softmax: float | None


@dataclass(frozen=True, slots=True)
class Classification:
    """The likeliest classes, image by image, the likeliest first; ``classes`` is how many the model knows."""

    scores: tuple[ClassScore, ...]
    classes: int
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
