"""The families that differ from the common way, and in what: everything else about them is left to transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Layouts that transformers reads only after models/published.py has taught it; by config.json's model_type.
PUBLISHED_LAYOUTS = ("internvl_chat", "NVLM_D")

# Their config.json does not say which token is an image slot: only the tokenizer knows.
UNKNOWN_TOKEN = -1


@dataclass(frozen=True)
class Family:
    """How a family differs.

    ``decoder``: the part that continues the answer, where the model's own ``forward`` takes no cache; it also reads the
    prompts without an image, which the model refuses. ``images``: as many can stand in one prompt. ``renamed``: what
    the processor calls its tensors -> what ``forward`` calls them. ``slot_mask``: the tensor that marks the image slots
    among the ids, where no token does. ``bare_head``: nothing follows the output head, and ``forward`` takes no text
    without images, so that the head is applied by itself.
    """

    decoder: str = ""
    images: int | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    slot_mask: str = ""
    bare_head: bool = False


NAMED: dict[str, Family] = {
    "blip-2": Family(decoder="language_model", images=1),
    "fuyu": Family(renamed={"image_patches": "pixel_values"}, images=1),
    "git": Family(images=1),
    "got_ocr2": Family(images=1),
    "idefics": Family(bare_head=True),
    "instructblip": Family(decoder="language_model", images=1),
    "kosmos-2": Family(decoder="text_model", images=1, slot_mask="image_embeds_position_mask"),
}


def family_of(config: Any) -> Family:
    """The differences of the family that a configuration names; none for most."""
    return NAMED.get(config.model_type, Family())
