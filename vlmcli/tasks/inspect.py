"""What a model is made of, and how many tokens an image becomes: told without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from vlmcli.errors import VlmError
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.models.anatomy import dissect, family, method, pair, text_config, vision_config, whole
from vlmcli.models.skeleton import Skeleton
from vlmcli.types.inspect import Anatomy
from vlmcli.types.result import ImageInfo

# Stands for a photograph where the encoder takes images in their own size.
_PHOTOGRAPH = (640, 480)
_GREY = (128, 128, 128)
# Their texts meet the image in ways of their own, and none of them answers in words.
_WORDLESS = ("detector", "segmenter")


def inspect(
    skeleton: Skeleton, images: Sequence[LoadedImage] = (), image_size: tuple[int, int] | None = None
) -> Anatomy:
    """The parts of a model, and the tokens that ``images`` become; without any, those of a blank image.

    ``image_size`` is the blank one's (width, height) in pixels; by default the encoder's own size, else 640x480.

    Raises InputError for images, or a size, that the model does not take. An image that nobody asked for raises
    nothing: ``notes`` say why it could not be counted.
    """
    parts = dissect(skeleton.config, skeleton.weights() or skeleton.stored, skeleton.stored)
    vision, text = vision_config(skeleton.config), text_config(skeleton.config)
    encoder_size = pair(vision, "image_size")
    notes = list(skeleton.notes)
    if images or image_size:
        infos = [_measured(skeleton, image) for image in images or [_blank(image_size or _PHOTOGRAPH)]]
    else:
        infos = _default(skeleton, encoder_size or _PHOTOGRAPH, notes)
    largest = max(parts, key=lambda part: part.size_bytes or 0, default=None)
    return Anatomy(
        model=replace(skeleton.info, dtype=largest.dtype if largest else skeleton.info.dtype),
        family=family(skeleton.config),
        method="none" if skeleton.kind in _WORDLESS else method(parts, skeleton.config),
        parts=parts,
        licence=skeleton.licence,
        patch=pair(vision, "patch_size") or pair(skeleton.config, "patch_size"),
        image_size=encoder_size,
        vocabulary=whole(text, "vocab_size"),
        context=whole(text, "max_position_embeddings"),
        images=tuple(infos),
        notes=tuple(notes),
    )


def _default(skeleton: Skeleton, size: tuple[int, int], notes: list[str]) -> list[ImageInfo]:
    """What a blank image of ``size`` becomes, where this can be told."""
    if not skeleton.sees:
        return []
    try:
        return [_measured(skeleton, _blank(size))]
    except VlmError as error:
        notes.append(f"no image tokens: {error.message}")
        return []


def _measured(skeleton: Skeleton, image: LoadedImage) -> ImageInfo:
    shape = skeleton.image_shape(image.pixels)
    return replace(image.info, resized=shape.resized, tokens=shape.tokens)


def _blank(size: tuple[int, int]) -> LoadedImage:
    image = load_image(Image.new("RGB", size, _GREY))
    return replace(image, info=replace(image.info, source="a blank image"))
