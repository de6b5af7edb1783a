"""Things found in images, by words or by an example."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlmcli.types.result import ImageInfo, ModelInfo, Usage

Box = tuple[float, float, float, float]
"""``x0, y0, x1, y1`` in pixels of the upright image, from its top left corner; it may reach over the image's edges."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing: the label that fits it best, the model's own score for that, and where it is."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found, image by image as in ``images``, the best score first.

    ``labels`` is what was looked for, or the name of the example; ``threshold`` what a score had to exceed, ``nms`` the
    overlap (intersection over union) beyond which the better of two boxes of one label stands alone, None for any.
    """

    found: tuple[tuple[Detection, ...], ...]
    labels: tuple[str, ...]
    threshold: float
    nms: float | None
    model: ModelInfo
    images: tuple[ImageInfo, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
