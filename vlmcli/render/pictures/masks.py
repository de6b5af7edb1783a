"""Masks as pictures: each by itself, or what they cut out of the image."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image, ImageChops

from vlmcli.types.segment import Mask, Rle


def mask_image(rle: Rle) -> Image.Image:
    """A mask as a grey image of the original's size: 255 in it, 0 elsewhere."""
    height, width = rle.size
    columns = b"".join((b"\xff" if i % 2 else b"\0") * run for i, run in enumerate(rle.runs()))
    # Column after column is the transposed image's row after row.
    return Image.frombytes("L", (height, width), columns).transpose(Image.Transpose.TRANSPOSE)


def together(masks: Iterable[Mask], size: tuple[int, int]) -> Image.Image:
    """What is in any of the masks of an image of ``size`` (width, height)."""
    union = Image.new("L", size)
    for mask in masks:
        union = ImageChops.lighter(union, mask_image(mask.rle))
    return union


def cutout(image: Image.Image, masks: Iterable[Mask]) -> Image.Image:
    """The image with all but the masks transparent, in its own size, so that it lies where it was."""
    cut = image.convert("RGB")
    cut.putalpha(together(masks, image.size))
    return cut
