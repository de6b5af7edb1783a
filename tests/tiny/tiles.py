"""Families that cut an image into tiles and put a thumbnail beside them."""

from __future__ import annotations

from pathlib import Path

import transformers as hf

from tests.tiny.parts import ENCODER, chat, decoder, save, square, tokenizer


def _internvl(folder: Path, vision: dict[str, object]) -> Path:
    """Tiles and a thumbnail, pixel shuffle, a Qwen2 decoder."""
    tokens = tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = hf.InternVLProcessor(
        square(hf.GotOcr2ImageProcessor, min_patches=1, max_patches=4),
        tokens,
        square(hf.InternVLVideoProcessor),
        image_seq_length=4,
        chat_template=chat("<IMG_CONTEXT>\n"),
    )
    config = hf.InternVLConfig(
        vision_config={**ENCODER, "image_size": [32, 32], "patch_size": [8, 8], **vision},
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    return save(folder, hf.InternVLForConditionalGeneration(config), processor)


def internvl(folder: Path) -> Path:
    """Tiles and a thumbnail, pixel shuffle, a Qwen2 decoder."""
    return _internvl(folder, {"attention_bias": True})


def internvit_6b(folder: Path) -> Path:
    """InternVL with the options of InternViT-6B: normalised queries and keys, RMS norms, no biases."""
    return _internvl(folder, {"use_qk_norm": True, "norm_type": "rms_norm", "attention_bias": False})


def idefics3(folder: Path) -> Path:
    """Tiles with row and column tokens between them, so the slots of one image are several runs."""
    rows = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokens = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows)
    processor = hf.Idefics3Processor(
        hf.Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        tokens,
        image_seq_len=4,
        chat_template=chat("<image>"),
    )
    config = hf.Idefics3Config(
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    return save(folder, hf.Idefics3ForConditionalGeneration(config), processor)


def llava_next(folder: Path) -> Path:
    """AnyRes: a thumbnail and tiles, with a line-break feature after each row."""
    tokens = tokenizer("<image>")
    grids = [[32, 64], [64, 32], [64, 64]]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**ENCODER, image_size=32, patch_size=8),
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    crop = {"height": 32, "width": 32}
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessor(size={"shortest_edge": 32}, crop_size=crop, image_grid_pinpoints=grids),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.LlavaNextForConditionalGeneration(config), processor, seed=1)


def llava_onevision(folder: Path) -> Path:
    """AnyRes for a single image; of several, each is one square."""
    tokens = tokenizer("<image>", "<video>")
    grids = [[32, 64], [64, 32], [64, 64]]
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**ENCODER, image_size=32, patch_size=8, vision_use_head=False),
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
    )
    processor = hf.LlavaOnevisionProcessor(
        square(hf.LlavaOnevisionImageProcessor, image_grid_pinpoints=grids),
        tokens,
        square(hf.LlavaOnevisionVideoProcessor),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.LlavaOnevisionForConditionalGeneration(config), processor)


def molmo2(folder: Path) -> Path:
    """Overlapping crops, features of two encoder layers pooled by attention, column tokens."""
    marks = ("im_patch", "im_col", "im_start", "low_res_im_start", "frame_start", "im_end", "frame_end", "im_low")
    tokens = tokenizer("<|image|>", "<|video|>", *(f"<{mark}>" for mark in marks))
    ids = {mark: tokens.convert_tokens_to_ids(f"<{mark}>") for mark in marks}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8}
    config = hf.Molmo2Config(
        vision_config={**ENCODER, **heads, "image_size": [32, 32], "patch_size": 4},
        adapter_config={
            **heads,
            "hidden_size": 32,
            "intermediate_size": 64,
            "text_hidden_size": 32,
            "vision_feature_layer": [-1, 0],
        },
        text_config=decoder(tokens, head_dim=8, additional_vocab_size=0),
        image_patch_id=ids["im_patch"],
        image_start_token_id=ids["im_start"],
        low_res_image_start_token_id=ids["low_res_im_start"],
        image_end_token_id=ids["im_end"],
        frame_start_token_id=ids["frame_start"],
        frame_end_token_id=ids["frame_end"],
    )
    sizes = {"patch_size": 4, "pooling_size": [2, 2]}
    processor = hf.Molmo2Processor(
        square(hf.Molmo2ImageProcessor, max_crops=2, overlap_margins=[1, 1], **sizes),
        square(hf.Molmo2VideoProcessor, **sizes),
        tokens,
        chat_template=chat("<|image|>"),
    )
    return save(folder, hf.Molmo2ForConditionalGeneration(config), processor)
