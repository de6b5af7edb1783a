"""The table of families: what each is, how it is tried, and what it refuses.

The parity suite runs it (tests/models/test_parity.py), and docs/families.md is written from it:
``python -m tests.families``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vlmcli.catalog import Fusion

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
    Family(
        "LLaVA-NeXT", "llava_next", "llava_next", "A", "AnyRes: a thumbnail and tiles, a line-break feature per row"
    ),
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
    Family(
        "Llama 3.2 Vision", "mllama", "mllama", "B", "cross-attention layers; several images each with their own mask"
    ),
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
    Family(
        "InternVL, published layout", "internvl_chat", "internvl_chat", "A", "read as InternVL, without its own code"
    ),
    Family("Aria", "aria", "aria", "A", "learned queries for the patches; a mixture-of-experts decoder"),
    Family(
        "Emu3",
        "emu3",
        "emu3",
        "A",
        "images as words of the vocabulary, from a code book; beside a larger image another answer; draws",
        alone=False,
    ),
    Family("Janus", "janus", "janus", "A", "an encoder to see with, a code book to draw with; draws"),
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
    Family("SmolVLM", "smolvlm", "smolvlm", "A", "Idefics3's tiles, smaller"),
    Family("Aya Vision", "aya_vision", "aya_vision", "A", "the placeholder is not the slot; a tag before each tile"),
    Family("Command A Vision", "cohere2_vision", "cohere2_vision", "A", "a line break after each tile"),
    Family("Ovis 2", "ovis2", "ovis2", "A", "patches as mixtures of a visual vocabulary's words"),
    Family("Llama 4", "llama4", "llama4", "A", "tiles with separators; routed experts; attention in chunks"),
    Family("LFM2-VL", "lfm2_vl", "lfm2_vl", "A", "a decoder of convolutions and attention"),
    Family("DeepSeek-VL", "deepseek_vl", "deepseek_vl", "A", "images on a grey square"),
    Family("Chameleon", "chameleon", "chameleon", "A", "images as words of the vocabulary, all in one square"),
    Family("GLM-4.1V", "glm4v", "glm4v", "A", "any resolution; rope in three dimensions, counted in its own way"),
    Family("Qwen3.5", "qwen3_5", "qwen3_5", "A", "linear attention in most layers: a state beside the cache"),
    Family("Idefics", "idefics", "idefics", "B", "gated cross-attention around every block of a Llama"),
    Family(
        "GIT",
        "git",
        "git",
        "A",
        "image features before the text, without slots in it; one image; chat template from the catalogue",
        {"two images": _ONE_IMAGE, **_SINGLE},
    ),
    Family("Gemma 4", "gemma4", "gemma4", "A", "patches of the image's own shape, pooled; embeddings for each layer"),
    Family("GLM-4.6V", "glm46v", "glm46v", "A", "as GLM-4.1V"),
    Family("GLM-4.5V", "glm4v_moe", "glm4v_moe", "A", "as GLM-4.1V, over routed experts"),
    Family("Qwen3.5, mixture of experts", "qwen3_5_moe", "qwen3_5_moe", "A", "as Qwen3.5, over routed experts"),
    Family("DeepSeek-VL, hybrid", "deepseek_vl_hybrid", "deepseek_vl_hybrid", "A", "two encoders, SigLIP's and SAM's"),
    Family("LightOnOCR", "lighton_ocr", "lighton_ocr", "A", "Pixtral's encoder, Qwen3's decoder"),
    Family("PaddleOCR-VL", "paddleocr_vl", "paddleocr_vl", "A", "any resolution; rope in three dimensions"),
    Family("VideoLLaMA 3", "video_llama_3", "video_llama_3", "A", "any resolution; its videos are not read"),
    Family("LLaVA-NeXT-Video", "llava_next_video", "llava_next_video", "A", "as LLaVA-NeXT; its videos are not read"),
    Family(
        "GOT-OCR 2.0",
        "got_ocr2",
        "got_ocr2",
        "A",
        "SAM's encoder; one image; chat template from the catalogue",
        {"two images": _ONE_IMAGE, **_SINGLE},
    ),
    Family("PerceptionLM", "perception_lm", "perception_lm", "A", "a thumbnail and tiles; needs `vlmcli[timm]`"),
    Family("FastVLM", "fast_vlm", "fast_vlm", "A", "a convolutional encoder; needs `vlmcli[timm]`"),
    Family("Gemma 3n", "gemma3n", "gemma3n", "A", "embeddings for each layer; no sounds; needs `vlmcli[timm]`"),
    Family("Llama", "llama", "llama", "none", "text only"),
    Family("Qwen2", "qwen2", "qwen2", "none", "text only"),
    Family("Gemma 2", "gemma2", "gemma2", "none", "text only; soft caps behind the head"),
    Family("Mixtral", "mixtral", "mixtral", "none", "text only; a mixture of experts"),
)

# Scored against transformers' own forward by tests/models/test_dual.py: name, type, special.
DUALS: tuple[tuple[str, str, str], ...] = (
    ("CLIP, OpenCLIP in CLIP's layout", "clip", "a softmax over the texts"),
    ("SigLIP", "siglip", "a sigmoid for each pair; texts padded to the full length, as in training"),
    ("SigLIP 2", "siglip2", "NaFlex: an image as a bag of patches with a mask"),
)

CLASSIFIERS: tuple[tuple[str, str], ...] = (("ViT", "vit"), ("ConvNeXt", "convnext"), ("DINOv2", "dinov2"))


# Command -> name, type, what is special.
FINDERS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "detect": (
        ("OWL-ViT", "owlvit", "CLIP whose patches propose boxes; words or an example image"),
        ("OWLv2", "owlv2", "the image padded to a square, and the boxes brought back"),
        ("Grounding DINO", "grounding-dino", "the labels joined into one text; a score for each of its tokens"),
        ("MM Grounding DINO", "mm-grounding-dino", "the same, with biases where it compares"),
        ("OmDet-Turbo", "omdet-turbo", "each label by itself beside a task in words; suppression of its own"),
    ),
    "segment": (
        ("SAM", "sam", "the longer side resized, the rest padded"),
        ("SAM-HQ", "sam_hq", "looks at the encoder's inner layers too"),
        ("SAM 2", "sam2", "a square picture; features of three sizes"),
        ("SAM 2, as published", "sam2_video", "the image half of the tracker's checkpoint"),
    ),
}


@dataclass(frozen=True)
class Composition:
    """A model made of parts: ``vision`` and ``decoder`` name functions in tests/tiny, the rest is as in models.toml."""

    name: str
    method: str
    fusion: Fusion
    special: str
    projector: str = "mlp"
    vision: str = "siglip"
    decoder: str = "llama"
    tiles: int = 4


COMPOSITIONS: tuple[Composition, ...] = (
    Composition(
        "NVLM-X", "B", "cross-attention", "gated cross-attention reads the tiles", "pixel-shuffle-mlp", "internvl"
    ),
    Composition(
        "NVLM-H", "A and B", "hybrid", "the thumbnail spliced, the tiles read", "pixel-shuffle-mlp", "internvl"
    ),
    Composition("MM1.5", "A", "concat", "AnyRes over a mixture of experts", "average-pool", "clip", "mixtral"),
    Composition("Baichuan-Omni, image path", "A", "concat", "AnyRes in LLaVA-OneVision's way"),
)

# What does not answer in words, or cannot be loaded, and why: name, reason.
MISSING: tuple[tuple[str, str], ...] = (
    ("Florence-2, Pix2Struct, UDOP, T5Gemma 2, BLIP-2 with T5", "encoder-decoders: refused with a line that says so"),
    ("BLIP, DiffusionGemma, pi0", "they write no answer token by token from a cache: refused with a line that says so"),
)


def page() -> str:
    """docs/families.md: the tables above as a page."""
    lines = [_HEAD, *_table(("family", "`model_type`", "method", *SHAPES, "what is special"), map(_cells, FAMILIES))]
    lines += ["", _AFTER, "", "## Dual encoders", "", "Scores of `vlm zeroshot`, compared with transformers' own.", ""]
    lines += _table(
        ("family", "`model_type`", "result", "what is special"), ((n, f"`{t}`", "yes", s) for n, t, s in DUALS)
    )
    lines += ["", "## Classifiers", "", "Logits of `vlm classify`, compared with transformers' own.", ""]
    lines += _table(("family", "`model_type`", "result"), ((n, f"`{t}`", "yes") for n, t in CLASSIFIERS))
    lines += ["", "## Detectors and segmenters", "", _FOUND, ""]
    lines += _table(
        ("family", "`model_type`", "command", "result", "what is special"),
        ((n, f"`{t}`", f"`{command}`", "yes", s) for command, some in FINDERS.items() for n, t, s in some),
    )
    lines += ["", "## Compositions", "", _COMPOSED, ""]
    rows = ((c.name, c.method, f"`{c.fusion}`", f"`{c.projector}`", "yes", c.special) for c in COMPOSITIONS)
    lines += _table(("model", "method", "fusion", "projector", "result", "what is special"), rows)
    lines += ["", "## Missing", "", *_table(("model", "why"), MISSING)]
    return "\n".join(lines) + "\n"


_HEAD = """# Families

Which vision-language models are tried, and what with. For each row the tests make a tiny checkpoint with random weights
and compare `vlm` with transformers' own `generate` and `forward`: the same greedy tokens, and probabilities that differ
by 1e-5 at most in float32. Any other checkpoint that transformers loads for image-text-to-text goes the same way.

Method A: image embeddings take the places of placeholder tokens. Method B: they are the keys and values of
cross-attention layers. `python -m tests.families` writes this page from the table that the tests run.
"""
_FOUND = """Boxes, scores, masks and predicted IoUs, compared with transformers' own forward and post-processing within
1e-4, on square, wide, tall, sideways and tiny images. Any other checkpoint of transformers' mask-generation class that
takes points and boxes goes the way of the segmenters."""
_COMPOSED = """No weights of these are public: their shapes are [compositions](compositions.md) of tiny random parts,
and what is compared is the forward pass, with the same written out plainly, position by position."""
_AFTER = """- **two images** of different sizes in one prompt; **second turn**: a question, an answer, another question;
  **padded batch**: two prompts of different lengths with images of different sizes, padded on the left.
- **yes**: the same tokens and probabilities. **together**: so in a batch, which gives another answer than the prompt
  by itself, in transformers as here. **refused**: the family has no such prompt, and `vlm` says so in one line."""


def _cells(family: Family) -> tuple[str, ...]:
    return (family.name, f"`{family.type}`", family.method, *(_result(family, s) for s in SHAPES), family.special)


def _result(family: Family, shape: Shape) -> str:
    if not family.tries(shape):
        return "-"
    if shape in family.refused:
        return "refused"
    return "together" if shape == "padded batch" and not family.alone else "yes"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(head), _row(("---",) * len(head)), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
