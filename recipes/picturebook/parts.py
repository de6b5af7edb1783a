"""The parts of the two models, as ordinary transformers configurations, and the heads that exist only in training."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
)

from recipes.picturebook.lettering import CHARACTERS
from recipes.picturebook.scenes import COLOURS, SHAPES

# B batch, P patches, D width
SIDE_PX = 128
PATCH_PX = 16
GRID = SIDE_PX // PATCH_PX
WIDTH = 256
TEXT_LENGTH = 24  # tokens the dual encoder's texts are padded to
CONTEXT = 512


def vision_config(head: bool) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=6, num_attention_heads=8,
        image_size=SIDE_PX, patch_size=PATCH_PX, vision_use_head=head,
    )  # fmt: skip


def dual_model(tokens: PreTrainedTokenizerFast) -> SiglipModel:
    """The dual encoder of stage one: its vision part becomes the LLaVA model's encoder."""
    end = tokens.eos_token_id
    text = SiglipTextConfig(
        vocab_size=len(tokens), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2,
        num_attention_heads=8, max_position_embeddings=TEXT_LENGTH, projection_size=WIDTH,
        pad_token_id=tokens.pad_token_id, bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    return SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision_config(True).to_dict()))


def llava_model(tokens: PreTrainedTokenizerFast, image: int) -> LlavaForConditionalGeneration:
    """Encoder, two-layer MLP projector, Llama-shaped decoder: LLaVA-1.5's plan (arXiv 2310.03744), small."""
    special = {
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    decoder = LlamaConfig(
        vocab_size=len(tokens), hidden_size=WIDTH, intermediate_size=704, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        **special,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision_config(False), text_config=decoder, image_token_index=image, image_seq_length=GRID**2,
        vision_feature_layer=-1, vision_feature_select_strategy="full", projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**special)
    return model


class PatchHeads(nn.Module):
    """Linear read-outs of what lies under each patch: the direct supervision of stage one, thrown away afterwards."""

    CLASSES: ClassVar = {
        "colour": len(COLOURS) + 1, "shape": len(SHAPES) + 2, "character": len(CHARACTERS) + 1, "place": 6,
        "centres": 3, "background": len(COLOURS),
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.sizes = list(self.CLASSES.values())
        self.read = nn.Linear(WIDTH, sum(self.sizes) + 3)

    def forward(self, patches: Tensor, labels: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Loss of patches [B, P, D] against labels [B, P] each; and the accuracy on patches that show something."""
        *logits, geometry = self.read(patches).float().split([*self.sizes, 3], dim=-1)  # each [B, P, classes]
        shown = labels["shape"] > 0  # [B, P]
        loss, accuracy = patches.new_zeros((), dtype=torch.float32), {}
        for name, scores in zip(self.CLASSES, logits, strict=True):
            target = labels[name]
            counts = {"character": target > 0, "place": target > 0, "background": target >= 0}.get(name, shown)
            weight = torch.where(counts, 1.0, 0.1)
            each = nn.functional.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none")
            share = 2.0 if name == "character" else 1.0  # the hardest to learn, and shown by a quarter of the pictures
            loss = loss + share * (each * weight.flatten()).sum() / weight.sum()
            right = (scores.argmax(-1) == target)[counts]
            accuracy[name] = right.float().mean().item()
        off = (geometry - labels["geometry"]).square().sum(-1)  # [B, P]
        return loss + 4 * (off * shown).sum() / shown.sum().clamp(min=1), accuracy
