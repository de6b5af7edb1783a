"""The table of families: what each is, how it is tried, and what it refuses.

The parity suite runs it (tests/models/test_parity.py), and docs/families.md is written from it:
``python -m tests.families``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PAGE = Path(__file__).parent.parent / "docs" / "families.md"

Shape = Literal["one image", "two images", "second turn", "no image", "padded batch"]
SHAPES: tuple[Shape, ...] = ("one image", "two images", "second turn", "no image", "padded batch")

_ONE_IMAGE = "this model reads 1 image in a prompt"
_SINGLE = {"second turn": "one prompt, no conversation"}


@dataclass(frozen=True)
class Family:
    """A row.

    ``tiny`` names the function in tests/tiny that makes its checkpoint, ``type`` is config.json's ``model_type``.
    ``method``: A, image embeddings take the places of placeholder tokens; B, cross-attention; none, text only.
    ``refused``: the shapes that the family does not have -> a part of the message with which vlm refuses them.
    ``reader``: the part of the model that transformers itself must be asked for prompts without an image. ``alone``:
    whether a prompt in a padded batch gives what it gives by itself, in transformers as here.
    """

    name: str
    tiny: str
    type: str
    method: Literal["A", "B", "none"]
    special: str
    refused: Mapping[str, str] = field(default_factory=dict)
    reader: str = ""
    alone: bool = True

    def tries(self, shape: Shape) -> bool:
        """Whether a shape exists for this family at all: without eyes there is no image."""
        return self.method != "none" or "image" not in shape or shape == "no image"


FAMILIES: tuple[Family, ...] = (
    Family("LLaVA 1.5", "llava", "llava", "A", "the plainest: encoder, two-layer projector, decoder"),
    Family("LLaVA-NeXT", "llava_next", "llava_next", "A", "AnyRes: a thumbnail and tiles, a line-break feature per row"),
    Family(
        "LLaVA-OneVision",
        "llava_onevision",
        "llava_onevision",
        "A",
        "AnyRes for a single image; of several, each is one square",
    ),
    Family(
        "PaliGemma",
        "paligemma",
        "paligemma",
        "A",
        "attention in both directions over the prompt; chat template from the catalogue",
        _SINGLE,
    ),
    Family("Qwen2-VL", "qwen2_vl", "qwen2_vl", "A", "any resolution; rope in three dimensions"),
    Family("Qwen2.5-VL", "qwen2_5_vl", "qwen2_5_vl", "A", "window attention in most encoder layers"),
    Family("Pixtral", "pixtral", "llava", "A", "LLaVA with an encoder for any resolution; a token after each row"),
    Family("Molmo 2", "molmo2", "molmo2", "A", "overlapping crops; pooled features of several encoder layers"),
    Family(
        "Fuyu",
        "fuyu",
        "fuyu",
        "A",
        "no encoder, a linear layer on patches; one image; chat template from the catalogue",
        {"two images": _ONE_IMAGE, **_SINGLE},
    ),
    Family("Llama 3.2 Vision", "mllama", "mllama", "B", "cross-attention layers; several images each with their own mask"),
    Family("InternVL", "internvl", "internvl", "A", "tiles and a thumbnail; pixel shuffle"),
    Family(
        "InternVL with InternViT-6B's options",
        "internvit_6b",
        "internvl",
        "A",
        "normalised queries and keys, RMS norms, no biases in the attention",
    ),
    Family(
        "NVLM-D",
        "nvlm_d",
        "NVLM_D",
        "A",
        "its published layout, read as InternVL; a tag before each tile; chat template from the catalogue",
    ),
    Family("InternVL, published layout", "internvl_chat", "internvl_chat", "A", "read as InternVL, without its own code"),
    Family("Aria", "aria", "aria", "A", "learned queries for the patches; a mixture-of-experts decoder"),
    Family(
        "Emu3",
        "emu3",
        "emu3",
        "A",
        "understanding only: images as words of the vocabulary, from a code book; beside a larger image another answer",
        alone=False,
    ),
    Family("Janus", "janus", "janus", "A", "understanding only: the drawing half of the model is left alone"),
    Family(
        "LLaVA, mixture of experts",
        "llava_moe",
        "llava",
        "A",
        "the shape of MM1.5, whose weights are not public: Mixtral behind a projector",
    ),
    Family("Idefics2", "idefics2", "idefics2", "A", "a perceiver resampler"),
    Family("Idefics3, SmolVLM's base", "idefics3", "idefics3", "A", "tiles with row and column tokens; pixel shuffle"),
    Family("Gemma 3", "gemma3", "gemma3", "A", "attention in both directions within an image; sliding windows"),
    Family("Qwen3-VL", "qwen3_vl", "qwen3_vl", "A", "features of several encoder layers enter several decoder layers"),
    Family("Qwen3-VL, mixture of experts", "qwen3_vl_moe", "qwen3_vl_moe", "A", "the same over routed experts"),
    Family("Mistral 3", "mistral3", "mistral3", "A", "Pixtral's encoder; four patches become one slot"),
    Family("ViP-LLaVA", "vipllava", "vipllava", "A", "features of several encoder layers side by side"),
    Family("Video-LLaVA", "video_llava", "video_llava", "A", "images only: its videos are not read"),
    Family(
        "BLIP-2",
        "blip2",
        "blip-2",
        "A",
        "32 queries for an image; the decoder inside continues; one image; chat template from the catalogue",
        {"two images": _ONE_IMAGE},
        reader="language_model",
    ),
    Family(
        "InstructBLIP",
        "instructblip",
        "instructblip",
        "A",
        "the queries read the prompt too, its padding among it; one image; chat template from the catalogue",
        {"two images": _ONE_IMAGE, **_SINGLE},
        reader="language_model",
        alone=False,
    ),
    Family(
        "Kosmos-2",
        "kosmos2",
        "kosmos-2",
        "A",
        "a mask marks the slots; padding counts as positions; one image; chat template from the catalogue",
        {"two images": _ONE_IMAGE, **_SINGLE},
        reader="text_model",
        alone=False,
    ),
    Family("Llama", "llama", "llama", "none", "text only"),
    Family("Qwen2", "qwen2", "qwen2", "none", "text only"),
    Family("Gemma 2", "gemma2", "gemma2", "none", "text only; soft caps behind the head"),
    Family("Mixtral", "mixtral", "mixtral", "none", "text only; a mixture of experts"),
)
