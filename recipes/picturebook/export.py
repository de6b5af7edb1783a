"""Write the trained models as ordinary Hugging Face checkpoints, weights in float16."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

from recipes.picturebook import parts, tokenizer


def image_processor() -> SiglipImageProcessor:
    side = {"height": parts.SIDE_PX, "width": parts.SIDE_PX}
    return SiglipImageProcessor(size=side, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def export(dual: SiglipModel, llava: LlavaForConditionalGeneration, tokens: PreTrainedTokenizerFast, out: Path) -> None:
    """``out``/picturebook and ``out``/picturebook-dual, ready for vlmcli/builtin."""
    llava.to("cpu", torch.float16).save_pretrained(out / "picturebook")
    LlavaProcessor(
        image_processor=image_processor(), tokenizer=tokens, patch_size=parts.PATCH_PX,
        vision_feature_select_strategy="full", num_additional_image_tokens=0, chat_template=tokenizer.CHAT_TEMPLATE,
    ).save_pretrained(out / "picturebook")  # fmt: skip
    dual.to("cpu", torch.float16).save_pretrained(out / "picturebook-dual")
    words = tokenizer.for_dual(tokens, parts.TEXT_LENGTH)
    SiglipProcessor(image_processor(), words).save_pretrained(out / "picturebook-dual")
