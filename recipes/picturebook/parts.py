"""The parts of the two models, as ordinary transformers configurations, and the heads that exist only in training."""

from __future__ import annotations

import math
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
_NOISE_FLOOR = 1e-2  # variance below which a direction of pixel space is left quiet


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
    model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision_config(True).to_dict()))
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10))  # where SigLIP's paper starts both
        model.logit_bias.fill_(-10)
        model.vision_model.embeddings.position_embedding.weight.copy_(grid_positions())
    return model


@torch.no_grad()
def whiten_patches(model: SiglipModel, pictures: Tensor) -> None:
    """Start the patch embedding as the whitened principal components of ``pictures`` [B, 3, side, side], -1..1.

    Pixels of a patch are nearly equal, so that random filters mostly see its mean; whitened ones see edges as loud as
    areas, and shapes are learned from the first step on (first layer of airbench, arXiv 2404.00498).
    """
    patches = nn.functional.unfold(pictures, PATCH_PX, stride=PATCH_PX).transpose(1, 2).flatten(0, 1)  # [B * P, pixels]
    mean, variances, directions = _principal(patches)
    kept = directions[:, -WIDTH:] / (variances[-WIDTH:] + _NOISE_FLOOR).sqrt()  # [pixels, D]
    embedding = model.vision_model.embeddings.patch_embedding
    embedding.weight.copy_(kept.T.reshape(embedding.weight.shape))
    embedding.bias.copy_(-mean @ kept)


@torch.no_grad()
def whiten_projector(model: LlavaForConditionalGeneration, pictures: Tensor) -> None:
    """Start the projector's first layer as the whitened principal components of what the encoder says of ``pictures``.

    The encoder's residual stream is large, and most of its variance says little; whitened, every direction is of the
    decoder's own scale. The bias keeps the values where gelu is nearly linear.
    """
    seen = model.model.vision_tower(pictures, output_hidden_states=True).hidden_states[-1].flatten(0, 1)  # [B * P, D]
    mean, variances, directions = _principal(seen)
    kept = directions / (variances + _NOISE_FLOOR * variances.mean()).sqrt()  # [D, D]
    first = model.model.multi_modal_projector.linear_1
    first.weight.copy_(kept.T)
    first.bias.copy_(1 - mean @ kept)


def _principal(samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [N], variances [N] in ascending order and principal directions [N, N] of samples [count, N]."""
    mean = samples.mean(0)
    variances, directions = torch.linalg.eigh((samples - mean).T.cov())
    return mean, variances, directions


def grid_positions() -> Tensor:
    """Sines and cosines of row and column [P, D]: a start from which neighbours are easily found (arXiv 2205.01580)."""
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    frequencies = 100 ** -(torch.arange(WIDTH // 4) / (WIDTH // 4))  # [D / 4]
    angles = torch.stack([rows, columns]).flatten(1)[..., None] * frequencies  # [2, P, D / 4]
    return torch.cat([*angles.sin(), *angles.cos()], dim=-1)  # [P, D]


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
