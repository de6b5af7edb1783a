"""An image as a page can show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_SIDE_PX = 1024
"""A page is not the place to keep an image: no side of a picture in it is longer."""


@dataclass(frozen=True, slots=True)
class Picture:
    """``data`` is a whole PNG or JPEG file; ``size`` is (width, height) in its pixels, ``original`` in the image's."""

    data: bytes
    media_type: Literal["image/png", "image/jpeg"]
    size: tuple[int, int]
    original: tuple[int, int]
