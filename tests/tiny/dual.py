"""Dual encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import ENCODER, fallback_tokenizer, save, square, token_ids, tokenizer


def _dual_text(tokens: Any) -> dict[str, Any]:
    return {**ENCODER, "max_position_embeddings": 24, **token_ids(tokens)}


def siglip(folder: Path) -> Path:
    """A sigmoid for each pair; texts padded to the full length, without an attention mask."""
    tokens = tokenizer(reads=("input_ids",), closed=True)
    config = hf.SiglipConfig(
        text_config={**_dual_text(tokens), "projection_size": 32},
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
    )
    processor = hf.SiglipProcessor(square(hf.SiglipImageProcessor), tokens)
    return save(folder, hf.SiglipModel(config), processor, scale=0.15)


def siglip2(folder: Path) -> Path:
    """NaFlex: the image as a bag of patches with a mask."""
    tokens = fallback_tokenizer(hf.Siglip2Tokenizer)
    config = hf.Siglip2Config(
        text_config={**_dual_text(tokens), "projection_size": 32},
        vision_config={**ENCODER, "num_patches": 16, "patch_size": 16},
    )
    processor = hf.Siglip2Processor(hf.Siglip2ImageProcessor(patch_size=16, max_num_patches=256), tokens)
    return save(folder, hf.Siglip2Model(config), processor, scale=0.15)


def clip(folder: Path) -> Path:
    """A softmax over the texts, and no sigmoid."""
    tokens = tokenizer(closed=True)
    config = hf.CLIPConfig(
        text_config={**_dual_text(tokens), "projection_dim": 32},
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8, "projection_dim": 32},
        projection_dim=32,
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return save(folder, hf.CLIPModel(config), hf.CLIPProcessor(images, tokens), scale=0.15)
