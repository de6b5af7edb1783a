"""What all kinds of model share: where it came from, and how images are read."""

from __future__ import annotations

from vlmcli.api.images import Images, as_sequence
from vlmcli.catalog import ModelSpec
from vlmcli.inputs.image import ImageSource, LoadedImage, load_image
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
        return tuple(self.read_one(source) for source in as_sequence(images))

    def read_one(self, source: ImageSource) -> LoadedImage:
        return load_image(source, max_pixels=self._max_pixels, allow_private_urls=self._allow_private_urls)
