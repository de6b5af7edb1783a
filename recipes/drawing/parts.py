"""The model that draws, as an ordinary Janus checkpoint, small.

An autoencoder says a picture of 64 x 64 pixels in 16 x 16 words of a code book, and a Llama-shaped decoder learns to
say those words after a prompt. The encoder with which Janus understands pictures is there, for the architecture has
one; as nobody trains it, it is as small as can be.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessor,
    JanusProcessor,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.janus.modeling_janus import JanusVQVAE

from recipes.drawing.prompts import PALETTE, SIDE_PX, sample_order

PATCH_PX = 4
GRID = SIDE_PX // PATCH_PX
CODES = 512
CODE_WIDTH = 8
WIDTH = 128
CONTEXT = 384
GUIDANCE = 1.5

BOS, END, PAD, USER, ASSISTANT, BEGIN, DONE, IMAGE = (
    "<s>",
    "</s>",
    "<pad>",
    "<|user|>",
    "<|assistant|>",
    "<begin_of_image>",
    "<end_of_image>",
    "<image_placeholder>",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image_placeholder>{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over the recipe's own prompts, in which nearly every word is one token; capitals do not count."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=448,
        special_tokens=[PAD, BOS, END, USER, ASSISTANT, BEGIN, DONE, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompts = (
        sample_order(random.Random(f"tokenizer-{index}"), tuple(PALETTE)).prompt.lower() for index in range(4000)
    )
    core.train_from_iterator(prompts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BOS, eos_token=END, pad_token=PAD, additional_special_tokens=[USER, ASSISTANT],
        extra_special_tokens={"image_token": IMAGE, "boi_token": BEGIN, "eoi_token": DONE},
        clean_up_tokenization_spaces=False, model_max_length=CONTEXT, chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def build_model(tokens: PreTrainedTokenizerFast) -> JanusForConditionalGeneration:
    """Fresh weights. There is no block in the encoder before the picture is small, where it would be slow."""
    special = {
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    config = JanusConfig(
        vision_config={
            "image_size": SIDE_PX, "patch_size": PATCH_PX, "num_image_tokens": GRID**2, "hidden_size": 16,
            "mlp_ratio": 1, "num_hidden_layers": 1, "num_attention_heads": 1, "depth": 1, "projection_dim": WIDTH,
        },
        vq_config={
            "base_channels": 64, "channel_multiplier": [1, 1, 1], "num_res_blocks": 0, "latent_channels": 64,
            "num_embeddings": CODES, "embed_dim": CODE_WIDTH, "projection_dim": WIDTH, "image_token_embed_dim": WIDTH,
        },
        text_config=LlamaConfig(
            vocab_size=len(tokens), hidden_size=WIDTH, intermediate_size=352, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
            **special,
        ),
        image_token_id=tokens.convert_tokens_to_ids(IMAGE), tie_word_embeddings=True,
    )  # fmt: skip
    model = JanusForConditionalGeneration(config)
    _prepare(model.model.vqmodel)
    model.generation_config = GenerationConfig(guidance_scale=GUIDANCE, do_sample=True, temperature=1.0, **special)
    # transformers' own ``generate`` asks for it there
    model.generation_config.generation_kwargs = {"boi_token_id": tokens.convert_tokens_to_ids(BEGIN)}
    return model


@torch.no_grad()
def _prepare(vq: JanusVQVAE) -> None:
    """Start the autoencoder as a linear one: signals neither grow nor fade, and blocks add nothing at first."""
    for name, layer in vq.named_modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            if name.endswith(("conv2", "proj_out")):
                nn.init.zeros_(layer.weight)


def export(model: JanusForConditionalGeneration, tokens: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the checkpoint, weights in float16."""
    side = {"height": SIDE_PX, "width": SIDE_PX}
    processor = JanusProcessor(
        JanusImageProcessor(size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3),
        tokens,
        chat_template=CHAT_TEMPLATE,
        num_image_tokens=GRID**2,
    )
    model.to("cpu", torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
