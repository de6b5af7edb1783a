"""Labels for things in a scene, each with its truth about any thing: "a red circle", "stars", "something blue"."""

from __future__ import annotations

import random
from dataclasses import dataclass

from recipes.picturebook.lettering import WORDS
from recipes.picturebook.scenes import COLOURS, SHAPES, Scene, box, letterings
from recipes.picturebook.skills import plural, with_article
from vlmcli.types.detect import Box

TEXT = "text"
"""The shape of a printed string."""
_NOUNS = ("thing", "object", "shape", "item", "figure")
_TEXTS = ("text", "word", "writing", "lettering", "text", "word")
_FRAMES = ("{}",) * 8 + ("a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}")


@dataclass(frozen=True, slots=True)
class Thing:
    """What can be found in a picture; its box in fractions of the canvas."""

    colour: str
    shape: str
    box: Box


@dataclass(frozen=True, slots=True)
class Phrase:
    """A label. None: nothing is said of it; an empty shape is one that no thing has."""

    text: str
    colour: str | None = None
    shape: str | None = None

    def fits(self, thing: Thing) -> bool:
        return self.colour in (None, thing.colour) and self.shape in (None, thing.shape)


def things_in(scene: Scene) -> tuple[Thing, ...]:
    """All shapes, then all printed strings."""
    frame = (scene.width_px, scene.height_px) * 2
    shapes = [
        Thing(i.colour, i.shape, tuple(v / side for v, side in zip(box(scene, i), frame, strict=True)))  # type: ignore[arg-type]
        for i in scene.items
    ]
    return (*shapes, *(Thing(string.colour, TEXT, string.box) for string in letterings(scene)))


def sample_phrases(rng: random.Random, things: tuple[Thing, ...], count: int) -> list[Phrase]:
    """Labels of a picture: most of them true of something in it, some nearly true, some of what does not exist."""
    return [_one(rng, things) for _ in range(count)]


def _one(rng: random.Random, things: tuple[Thing, ...]) -> Phrase:
    if rng.random() < 0.08:
        return _unknown(rng)
    thing = rng.choice(things) if things else None
    colour, shape = (thing.colour, thing.shape) if thing else (rng.choice(list(COLOURS)), rng.choice(SHAPES))
    if rng.random() < 0.2:
        colour = rng.choice(list(COLOURS))
    if rng.random() < 0.2:
        shape = rng.choice((*SHAPES, TEXT))
    way = rng.random()
    if way < 0.6:
        return phrase(rng, colour, shape)
    if way < 0.8:
        return phrase(rng, None, shape)
    return phrase(rng, colour, None) if way < 0.97 else phrase(rng, None, None)


def phrase(rng: random.Random, colour: str | None, shape: str | None) -> Phrase:
    """One of the ways to say this."""
    spelled = "grey" if colour == "gray" and rng.random() < 0.3 else colour
    if colour and shape is None and rng.random() < 0.4:
        return Phrase(_framed(rng, rng.choice((spelled or "", f"something {spelled}"))), colour)
    noun = rng.choice(_TEXTS if shape == TEXT else _NOUNS) if shape in (None, TEXT) else shape or ""
    words = f"{spelled} {noun}" if spelled else noun
    return Phrase(_framed(rng, _with_number(rng, words)), colour, shape)


def _unknown(rng: random.Random) -> Phrase:
    """A label that nothing drawn here fits."""
    word = rng.choice(WORDS)
    words = f"{rng.choice(list(COLOURS))} {word}" if rng.random() < 0.3 else word
    return Phrase(_framed(rng, _with_number(rng, words)), shape="")


def _with_number(rng: random.Random, noun: str) -> str:
    return rng.choices((with_article(noun), noun, plural(noun), f"the {noun}"), (5, 3, 1, 1))[0]


def _framed(rng: random.Random, words: str) -> str:
    return rng.choice(_FRAMES).format(words)
