"""Tiny random checkpoints in Hugging Face layout: each family's own classes, weights of a few hundred kilobytes.

Nothing is downloaded: the tokenizer is trained on the spot, the weights come from a seeded generator. They are large
enough (0.3 instead of 0.02) that an image changes the answer; with the usual initialisation it would drown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.tiny import (
    classifier,
    cross,
    detector,
    dual,
    native,
    published,
    queries,
    segmenter,
    squares,
    text,
    tiles,
    timm_encoders,
    unnamed,
)
from tests.tiny.parts import CORPUS, DECODER, ENCODER, fallback_tokenizer, picture, save, token_ids, tokenizer

__all__ = ["CLASSIFIERS", "CORPUS", "DECODER", "DETECTORS", "DUALS", "ENCODER", "FAMILIES", "GENERATORS", "SEGMENTERS"]
__all__ += ["TEXT", "TIMM", "fallback_tokenizer", "picture", "save", "token_ids", "tokenizer"]

Make = Callable[[Path], Path]


def _makers(room: ModuleType) -> dict[str, Make]:
    """The functions of a room that write a checkpoint, one for each family: public, and returning its folder."""
    own = {name: value for name, value in vars(room).items() if getattr(value, "__module__", "") == room.__name__}
    return {name: make for name, make in own.items() if name[0] != "_" and make.__annotations__["return"] == "Path"}


TEXT = _makers(text)
TIMM = _makers(timm_encoders)  # they need the package timm
GENERATORS = (
    TEXT
    | _makers(squares)
    | _makers(tiles)
    | _makers(native)
    | _makers(queries)
    | _makers(cross)
    | _makers(published)
    | _makers(unnamed)
    | TIMM
)
DUALS = _makers(dual)
CLASSIFIERS = _makers(classifier)
DETECTORS = _makers(detector)
SEGMENTERS = _makers(segmenter)
FAMILIES = GENERATORS | DUALS | CLASSIFIERS | DETECTORS | SEGMENTERS
