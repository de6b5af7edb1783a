"""What all kinds of model share: where it came from, and how images are read."""

from __future__ import annotations

from vlmcli.api.images import Images, OneImage, as_sequence, read_image
from vlmcli.catalog import ModelSpec
from vlmcli.inputs.image import LoadedImage
from vlmcli.weights.resolve import Checkpoint


class Model:
    """What all kinds of model share: where it came from, and how images are read."""

    def __init__(self, checkpoint: Checkpoint, load_ms: float, max_pixels: int, allow_private_urls: bool) -> None:
        self.spec: ModelSpec | None = checkpoint.spec
        self.checkpoint = checkpoint
        self.load_ms = load_ms
        self._max_pixels = max_pixels
        self._allow_private_urls = allow_private_urls

    def read(self, images: Images) -> tuple[LoadedImage, ...]:
        """Images in order, each upright RGB pixels with its origin; those that were read before stay as they are."""
        return tuple(self.read_one(source) for source in as_sequence(images))

    def read_one(self, source: OneImage) -> LoadedImage:
        """One of them. Raises InputError."""
        return read_image(source, self._max_pixels, self._allow_private_urls)
