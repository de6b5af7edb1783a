"""Families in which learned queries read the image, so that its slots are few."""

from __future__ import annotations

from pathlib import Path

import transformers as hf

from tests.tiny.parts import ENCODER, chat, decoder, save, square, tokenizer


def _blip(folder: Path, name: str, *tokenizers: str) -> Path:
    """A querying transformer between encoder and decoder; the processor writes the slots, before everything else."""
    tokens = tokenizer()
    more = {role: tokenizer() for role in tokenizers}
    processor = getattr(hf, f"{name}Processor")(square(hf.BlipImageProcessor), tokens, num_query_tokens=4, **more)
    config = getattr(hf, f"{name}Config")(
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
        qformer_config={**ENCODER, "encoder_hidden_size": 32, "vocab_size": len(tokens)},
        text_config=hf.OPTConfig(**decoder(tokens, ffn_dim=64, word_embed_proj_dim=32)),
        num_query_tokens=4,
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
    )
    return save(folder, getattr(hf, f"{name}ForConditionalGeneration")(config), processor)


def blip2(folder: Path) -> Path:
    """Its forward takes no cache: the decoder inside continues; no chat template."""
    return _blip(folder, "Blip2")


def instructblip(folder: Path) -> Path:
    """The queries read the prompt as well, through a tokenizer of their own."""
    return _blip(folder, "InstructBlip", "qformer_tokenizer")


def kosmos2(folder: Path) -> Path:
    """Image embeddings are told by a mask beside the ids; the decoder inside continues."""
    tokens = tokenizer(unk_token="<unk>")
    processor = hf.Kosmos2Processor(
        square(hf.CLIPImageProcessor, crop_size={"height": 32, "width": 32}), tokens, num_patch_index_tokens=4
    )
    config = hf.Kosmos2Config(
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
        text_config={
            **decoder(tokens, tie_word_embeddings=False),
            "embed_dim": 32,
            "layers": 2,
            "ffn_dim": 64,
            "attention_heads": 4,
        },
        latent_query_num=64,
        tie_word_embeddings=False,
    )
    return save(folder, hf.Kosmos2ForConditionalGeneration(config), processor)


def idefics2(folder: Path) -> Path:
    """A perceiver resampler; images of any size, padded in a mask."""
    tokens = tokenizer("<end_of_utterance>", image_token="<image>", image_boundary_token="<fake_token_around_image>")
    config = hf.Idefics2Config(
        vision_config={**ENCODER, "image_size": 64, "patch_size": 8},
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 8,
            "num_key_value_heads": 2,
        },
        text_config=hf.MistralConfig(**decoder(tokens, head_dim=8)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
    )
    processor = hf.Idefics2Processor(
        hf.Idefics2ImageProcessor(size={"shortest_edge": 32, "longest_edge": 64}, do_image_splitting=False),
        tokens,
        image_seq_len=4,
        chat_template=chat("<image>"),
    )
    return save(folder, hf.Idefics2ForConditionalGeneration(config), processor)
