"""Families that cut an image into tiles and put a thumbnail beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def _idefics3(folder: Path, family: str, *videos: Any) -> Path:
    """Tiles with row and column tokens between them, so the slots of one image are several runs."""
    rows = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokens = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows)
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    processor = getattr(hf, f"{family}Processor")(
        getattr(hf, f"{family}ImageProcessor")(**sizes),
        tokens,
        *videos,
        image_seq_len=4,
        chat_template=chat("<image>"),
    )
    config = getattr(hf, f"{family}Config")(
        vision_config={**ENCODER, "image_size": 32, "patch_size": 8},
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    return save(folder, getattr(hf, f"{family}ForConditionalGeneration")(config), processor)


def idefics3(folder: Path) -> Path:
    """Tiles with row and column tokens between them, so the slots of one image are several runs."""
    return _idefics3(folder, "Idefics3")


def smolvlm(folder: Path) -> Path:
    """The same with a processor for videos."""
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    return _idefics3(folder, "SmolVLM", hf.SmolVLMVideoProcessor(**sizes))


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


def aya_vision(folder: Path) -> Path:
    """The placeholder in the prompt is not the slot; a word before each tile; a Cohere decoder."""
    slots = ("<|IMG_PATCH|>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL")
    tokens = tokenizer("<image>", *slots)
    config = hf.AyaVisionConfig(
        vision_config=hf.SiglipVisionConfig(**ENCODER, image_size=32, patch_size=8, vision_use_head=False),
        text_config=hf.Cohere2Config(**decoder(tokens, sliding_window=16, tie_word_embeddings=False)),
        image_token_index=tokens.convert_tokens_to_ids("<|IMG_PATCH|>"),
        tie_word_embeddings=False,
    )
    processor = hf.AyaVisionProcessor(
        square(hf.GotOcr2ImageProcessor, min_patches=1, max_patches=4, crop_to_patches=True),
        tokens,
        patch_size=8,
        img_size=32,
        downsample_factor=2,
        chat_template=chat("<image>"),
    )
    return save(folder, hf.AyaVisionForConditionalGeneration(config), processor)


def cohere2_vision(folder: Path) -> Path:
    """A line break after each tile; a Cohere decoder."""
    tokens = tokenizer(
        image_token="<|IMG_PATCH|>",
        boi_token="<|START_OF_IMG|>",
        eoi_token="<|END_OF_IMG|>",
        img_line_break_token="<|IMG_LINE_BREAK|>",
    )
    config = hf.Cohere2VisionConfig(
        vision_config=hf.SiglipVisionConfig(**ENCODER, image_size=32, patch_size=8, vision_use_head=False),
        text_config=hf.Cohere2Config(**decoder(tokens, sliding_window=16, tie_word_embeddings=False)),
        image_token_id=tokens.convert_tokens_to_ids("<|IMG_PATCH|>"),
        alignment_intermediate_size=64,
        tie_word_embeddings=False,
    )
    # Its processor takes patch_size squared for a tile's slots: 32 / 8 / 2 of them in a row.
    images = square(hf.Cohere2VisionImageProcessor, min_patches=1, max_patches=4, patch_size=2)
    processor = hf.Cohere2VisionProcessor(images, tokens, chat_template=chat("<|IMG_PATCH|>"))
    return save(folder, hf.Cohere2VisionForConditionalGeneration(config), processor)


def ovis2(folder: Path) -> Path:
    """Patches as mixtures of words of a visual vocabulary; tokens for the grid of tiles."""
    marks = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    tokens = tokenizer("<image>", "<IMG_ATOM>", *marks)
    config = hf.Ovis2Config(
        vision_config={
            **ENCODER,
            "image_size": 32,
            "patch_size": 8,
            "vocab_size": 32,
            "hidden_stride": 2,
            "num_visual_indicator_tokens": 5,
        },
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=tokens.convert_tokens_to_ids(list(marks)),
        vocab_size=len(tokens),
        hidden_size=32,
        tie_word_embeddings=False,
    )
    images = square(hf.Ovis2ImageProcessor, crop_to_patches=True, max_patches=4)
    processor = hf.Ovis2Processor(images, tokens, chat_template=chat("<image>"), image_seq_length=4)
    return save(folder, hf.Ovis2ForConditionalGeneration(config), processor)


def llama4(folder: Path) -> Path:
    """Tiles with separators; routed experts; attention in chunks."""
    marks = ("<|image_start|>", "<|image_end|>", "<|tile_x_separator|>", "<|tile_y_separator|>")
    tokens = tokenizer("<|image|>", "<|patch|>", *marks)
    config = hf.Llama4Config(
        vision_config={
            **ENCODER,
            "intermediate_size": 128,
            "image_size": 32,
            "patch_size": 8,
            "projector_input_dim": 32,
            "projector_output_dim": 32,
            "vision_output_dim": 32,
        },
        text_config=decoder(
            tokens,
            head_dim=8,
            intermediate_size_mlp=64,
            num_local_experts=4,
            num_experts_per_tok=1,
            attention_chunk_size=32,
            no_rope_layer_interval=2,
        ),
        image_token_index=tokens.convert_tokens_to_ids("<|patch|>"),
        boi_token_index=tokens.convert_tokens_to_ids("<|image_start|>"),
        eoi_token_index=tokens.convert_tokens_to_ids("<|image_end|>"),
    )
    images = square(hf.Llama4ImageProcessor, max_patches=4)
    processor = hf.Llama4Processor(images, tokens, patch_size=8, chat_template=chat("<|image|>"))
    return save(folder, hf.Llama4ForConditionalGeneration(config), processor)


def lfm2_vl(folder: Path) -> Path:
    """Patches with a mask from a SigLIP 2 encoder; a decoder of convolutions and attention."""
    tokens = tokenizer("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>")
    config = hf.Lfm2VlConfig(
        vision_config=hf.Siglip2VisionConfig(**ENCODER, patch_size=8, num_patches=16, vision_use_head=False),
        text_config=hf.Lfm2Config(**decoder(tokens, full_attn_idxs=[1], block_ff_dim=64, conv_L_cache=3)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        projector_hidden_size=32,
    )
    images = square(
        hf.Lfm2VlImageProcessor,
        tile_size=32,
        encoder_patch_size=8,
        min_image_tokens=1,
        max_image_tokens=4,
        max_tiles=4,
    )
    processor = hf.Lfm2VlProcessor(images, tokens, chat_template=chat("<image>"))
    return save(folder, hf.Lfm2VlForConditionalGeneration(config), processor)
