"""From a loaded image to a picture that a page can hold."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from vlmcli.inputs.image import LoadedImage
from vlmcli.types.picture import MAX_SIDE_PX, Picture

_JPEG_QUALITY = 90
_PNG_BYTES = 400_000
"""A drawing is smaller, and without loss; of a photograph a JPEG file is a tenth."""


def picture(image: LoadedImage) -> Picture:
    """The upright image, made smaller where a side is longer than MAX_SIDE_PX; PNG where that is not large."""
    pixels = image.pixels
    if max(pixels.size) > MAX_SIDE_PX:
        pixels = pixels.copy()
        pixels.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    png = _encoded(pixels, "PNG")
    if len(png) <= _PNG_BYTES:
        return Picture(png, "image/png", pixels.size, image.pixels.size)
    return Picture(_encoded(pixels, "JPEG", quality=_JPEG_QUALITY), "image/jpeg", pixels.size, image.pixels.size)


def _encoded(pixels: Image.Image, form: str, **options: int) -> bytes:
    stream = BytesIO()
    pixels.save(stream, form, **options)
    return stream.getvalue()
