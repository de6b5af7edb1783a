"""Short texts for the dual encoder, each with its truth about any scene."""

from __future__ import annotations

import random
from dataclasses import dataclass

from recipes.picturebook.scenes import COLOURS, SHAPES, Scene
from recipes.picturebook.skills import MAX_COUNT, counted, description, plural, with_article

_FRAMES = (
    "{}", "{}", "{}", "a photo of {}", "a picture of {}", "an image of {}", "this is {}", "a drawing of {}",
    "there is {} in the image", "an image with {}", "{} in a picture", "This is a photo of {}.", "a picture with {}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """What a text says of a scene. None: nothing is said of it."""

    text: str
    colour: str | None = None
    shape: str | None = None
    number: int | None = None
    background: str | None = None

    def holds(self, scene: Scene) -> bool:
        """True if the scene is as the text says; "a red circle" is true of any scene that has one."""
        if self.background is not None and self.background != scene.background:
            return False
        if self.colour is None and self.shape is None:
            return True
        fitting = sum(self.colour in (None, i.colour) and self.shape in (None, i.shape) for i in scene.items)
        return fitting == self.number if self.number is not None else fitting > 0


def sample_claim(rng: random.Random, scene: Scene) -> Claim:
    """A text about this scene, true of it more often than not."""
    item = rng.choice(scene.items) if scene.items and rng.random() < 0.75 else None
    colour, shape = (item.colour, item.shape) if item else (rng.choice(list(COLOURS)), rng.choice(SHAPES))
    way = rng.random()
    if way < 0.62:
        article = rng.random() < 0.85
        noun = f"{colour} {shape}"
        return Claim(_framed(rng, with_article(noun) if article else noun), colour, shape)
    if way < 0.72:
        return Claim(_framed(rng, with_article(shape) if rng.random() < 0.7 else shape), None, shape)
    if way < 0.8:
        thing = rng.choice(("shape", "object", "thing"))
        return Claim(_framed(rng, with_article(f"{colour} {thing}")), colour)
    if way < 0.88:
        return Claim(_framed(rng, f"{with_article(scene.background)} background"), background=scene.background)
    noun = f"{colour} {shape}"
    if way < 0.94:
        ground = scene.background
        words = f"{with_article(noun)} on {with_article(ground)} background"
        return Claim(_framed(rng, words), colour, shape, background=ground)
    number = sum(i.shape == shape and i.colour == colour for i in scene.items) or rng.randint(2, MAX_COUNT)
    number = min(MAX_COUNT, number)
    in_digits = f"{number} {plural(noun)}" if number > 1 else f"one {noun}"
    return Claim(_framed(rng, rng.choice((counted(number, noun), in_digits))), colour, shape, number)


def sample_caption(rng: random.Random, scene: Scene) -> str:
    """Any short text about the scene, for the tokenizer."""
    return description(scene) if rng.random() < 0.3 else sample_claim(rng, scene).text


def _framed(rng: random.Random, words: str) -> str:
    return rng.choice(_FRAMES).format(words)
