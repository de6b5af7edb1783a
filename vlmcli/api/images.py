"""The images that a caller may give."""

from __future__ import annotations

import os
from collections.abc import Sequence

from PIL import Image

from vlmcli.inputs.image import ImageSource, LoadedImage, load_image

OneImage = ImageSource | LoadedImage
Images = OneImage | Sequence[OneImage] | None
"""One image or several: a path, a URL, "-" (standard input), the bytes of a file, a PIL image, or one that was read."""


def as_sequence(images: Images) -> Sequence[OneImage]:
    """One image is a sequence of one; strings and bytes are images, not sequences."""
    if images is None:
        return ()
    if isinstance(images, (str, bytes, os.PathLike, Image.Image, LoadedImage)):
        return (images,)
    return images


def read_image(image: OneImage, max_pixels: int, allow_private_urls: bool) -> LoadedImage:
    """Upright RGB pixels and where they came from; what was read before stays as it is. Raises InputError."""
    if isinstance(image, LoadedImage):
        return image
    return load_image(image, max_pixels=max_pixels, allow_private_urls=allow_private_urls)
