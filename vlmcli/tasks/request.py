"""What the tasks are asked: images with their origin, and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vlmcli.inputs.chat import Prompt
from vlmcli.inputs.image import LoadedImage
from vlmcli.models.prompts import Inputs
from vlmcli.types.chat import Message
from vlmcli.types.result import ImageInfo, Usage

Tick = Callable[[int, int], None]
"""Is told from time to time how much of a long task is done, and how much there is."""


@dataclass(frozen=True)
class Request:
    """A conversation about images, in the order in which its messages show them; ``raw``: no chat template.

    ``load_ms`` and ``decode_ms`` are what loading the model and decoding the images have taken before; the latter is
    None where they were given decoded.
    """

    messages: tuple[Message, ...]
    images: tuple[LoadedImage, ...] = ()
    raw: bool = False
    load_ms: float = 0.0
    decode_ms: float | None = None

    @property
    def prompt(self) -> Prompt:
        """The same for the model: pixels without their origin."""
        return Prompt(self.messages, tuple(image.pixels for image in self.images), self.raw)


def image_infos(images: Sequence[LoadedImage], inputs: Inputs) -> tuple[ImageInfo, ...]:
    """Where each image came from and what became of it."""
    return tuple(
        replace(image.info, resized=shape.resized, tokens=shape.tokens, cached=shape.cached)
        for image, shape in zip(images, inputs.images, strict=True)
    )


def usage(inputs: Inputs, completion_tokens: int = 0) -> Usage:
    """Token counts of a prompt and its answer."""
    return Usage(len(inputs.ids), sum(inputs.is_image), completion_tokens)
