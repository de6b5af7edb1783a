"""The images that a caller may give."""

from __future__ import annotations

import os
from collections.abc import Sequence

from PIL import Image

from vlmcli.inputs.image import ImageSource

Images = ImageSource | Sequence[ImageSource] | None
"""One image or several: a path, a URL, "-" (standard input), the bytes of a file, or a PIL image."""


def as_sequence(images: Images) -> Sequence[ImageSource]:
    """One image is a sequence of one; strings and bytes are images, not sequences."""
    if images is None:
        return ()
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        return (images,)
    return images
