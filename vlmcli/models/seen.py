"""What a detector's family makes of an image.

Shapes: N candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """Boxes [N, 4] as centre, width and height between 0 and 1 of ``frame`` (width, height in the image's pixels).

    ``scores`` [N] are between 0 and 1, ``labels`` [N] numbers. The rest is as in ``vlmcli.models.detector.Candidates``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    frame: tuple[int, int]
    resized: tuple[int, int]
    tokens: int = 0
    cached: bool | None = None


def placed(model: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A processor's tensors where the model is, floating ones in its numbers."""
    device, dtype = model.device, model.dtype
    return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}


def size_of(pixels: Tensor) -> tuple[int, int]:
    """The (width, height) of pixel values [..., H, W]."""
    return int(pixels.shape[-1]), int(pixels.shape[-2])
