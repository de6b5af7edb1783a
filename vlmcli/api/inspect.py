"""What a model is made of, without loading it."""

from __future__ import annotations

import os

from vlmcli.api.images import Images, as_sequence, read_image
from vlmcli.api.load import name_of
from vlmcli.catalog import Catalog
from vlmcli.errors import UsageError
from vlmcli.inputs.image import MAX_PIXELS
from vlmcli.types.inspect import Anatomy
from vlmcli.weights.resolve import resolve


def inspect(
    model: str | os.PathLike[str] | None = None,
    images: Images = None,
    *,
    image_size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_private_urls: bool = False,
    catalog: Catalog | None = None,
    progress: bool = False,
) -> Anatomy:
    """What a model is made of, and how many tokens images become, from its configuration: no weights are loaded.

    Args:
        model: as for ``load``; of a hub id that is not in the cache, only the small files are fetched.
        images: one image, several, or None for a blank one.
        image_size: the blank one's (width, height) in pixels; None is the encoder's own, else 640x480.
        max_pixels, allow_private_urls, catalog, progress: as for ``load``.

    Raises ModelNotFound, Offline, ModelError, and InputError or UsageError for images and sizes that cannot be used.
    """
    from vlmcli.models.outline import skeleton
    from vlmcli.tasks.inspect import inspect as inspect_skeleton

    if image_size and image_size[0] * image_size[1] > max_pixels:
        raise UsageError(f"an image of {image_size[0]}x{image_size[1]} has more than {max_pixels} pixels")
    catalog = catalog or Catalog.load()
    loaded = [read_image(source, max_pixels, allow_private_urls) for source in as_sequence(images)]
    checkpoint = resolve(name_of(model, catalog, "vlm"), catalog, progress=progress, weights=False)
    return inspect_skeleton(skeleton(checkpoint), loaded, image_size)
