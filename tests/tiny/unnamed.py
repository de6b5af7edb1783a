"""Families that no one asked for by name: what the common path gives without a line of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import ENCODER, chat, decoder, save, square, tokenizer
from tests.tiny.squares import SIGLIP


def got_ocr2(folder: Path) -> Path:
    """A SAM-like encoder; one image for each prompt."""
    tokens = tokenizer("<imgpad>", "<img>", "</img>", "<|im_start|>", "<|im_end|>")
    config = hf.GotOcr2Config(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "output_channels": 8,
            "image_size": 256,
            "patch_size": 4,
            "window_size": 8,
            "global_attn_indexes": [],
            "mlp_dim": 64,
        },
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<imgpad>"),
        image_seq_length=256,
    )
    images = hf.GotOcr2ImageProcessor(size={"height": 256, "width": 256})
    processor = hf.GotOcr2Processor(images, tokens)
    return save(folder, hf.GotOcr2ForConditionalGeneration(config), processor)


def deepseek_vl_hybrid(folder: Path) -> Path:
    """Two encoders, SigLIP and SAM's, side by side."""
    tokens = tokenizer(image_token="<image_placeholder>")
    config = hf.DeepseekVLHybridConfig(
        vision_config=hf.SiglipVisionConfig(**SIGLIP),
        high_res_vision_config={
            "model_type": "sam_vision_model",
            "hidden_size": 32,
            "output_channels": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
            "mlp_dim": 64,
        },
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image_placeholder>"),
        tie_word_embeddings=False,
    )
    images = square(hf.DeepseekVLHybridImageProcessor, high_res_size={"height": 64, "width": 64})
    processor = hf.DeepseekVLHybridProcessor(
        images, tokens, chat_template=chat("<image_placeholder>"), num_image_tokens=16
    )
    return save(folder, hf.DeepseekVLHybridForConditionalGeneration(config), processor)


def lighton_ocr(folder: Path) -> Path:
    """Pixtral's encoder, Qwen3's decoder."""
    tokens = tokenizer(
        image_token="<|image_pad|>", image_break_token="<|vision_pad|>", image_end_token="<|vision_end|>"
    )
    config = hf.LightOnOcrConfig(
        vision_config=hf.PixtralVisionConfig(**ENCODER, image_size=64, patch_size=8),
        text_config=hf.Qwen3Config(**decoder(tokens, head_dim=8)),
        image_token_id=tokens.convert_tokens_to_ids("<|image_pad|>"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    images = hf.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": 16, "width": 16})
    processor = hf.LightOnOcrProcessor(
        images, tokens, patch_size=8, spatial_merge_size=2, chat_template=chat("<|image_pad|>")
    )
    return save(folder, hf.LightOnOcrForConditionalGeneration(config), processor)


def paddleocr_vl(folder: Path) -> Path:
    """Any resolution, Ernie's decoder, rope in three dimensions."""
    tokens = tokenizer(image_token="<|IMAGE_PLACEHOLDER|>", start="<|IMAGE_START|>", end="<|IMAGE_END|>")
    ids = tokens.convert_tokens_to_ids
    config = hf.PaddleOCRVLConfig(
        vision_config={**ENCODER, "image_size": 56, "patch_size": 14},
        text_config=decoder(
            tokens,
            head_dim=8,
            rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        ),
        image_token_id=ids("<|IMAGE_PLACEHOLDER|>"),
        vision_start_token_id=ids("<|IMAGE_START|>"),
        vision_end_token_id=ids("<|IMAGE_END|>"),
        tie_word_embeddings=False,
    )
    images = hf.PaddleOCRVLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 12})
    slot = "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"
    processor = hf.PaddleOCRVLProcessor(images, tokens, chat_template=chat(slot))
    return save(folder, hf.PaddleOCRVLForConditionalGeneration(config), processor)


def video_llama_3(folder: Path) -> Path:
    """Images as videos of one frame."""
    tokens = tokenizer(image_token="<image>", video_token="<video>")
    config = hf.VideoLlama3Config(
        vision_config={**ENCODER, "patch_size": 14},
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        video_token_id=tokens.convert_tokens_to_ids("<video>"),
    )
    sizes = {"size": {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 12}}
    processor = hf.VideoLlama3Processor(
        image_processor=hf.VideoLlama3ImageProcessor(**sizes),
        tokenizer=tokens,
        video_processor=hf.VideoLlama3VideoProcessor(**sizes),
        chat_template=chat("<image>"),
    )
    return save(folder, hf.VideoLlama3ForConditionalGeneration(config), processor)


def llava_next_video(folder: Path) -> Path:
    """LLaVA-NeXT with videos beside its images."""
    tokens = tokenizer("<image>", "<video>")
    grids = [[32, 64], [64, 32], [64, 64]]
    config = hf.LlavaNextVideoConfig(
        vision_config=hf.CLIPVisionConfig(**ENCODER, image_size=32, patch_size=8),
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    sizes: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor = hf.LlavaNextVideoProcessor(
        video_processor=hf.LlavaNextVideoVideoProcessor(**sizes),
        image_processor=hf.LlavaNextImageProcessor(**sizes, image_grid_pinpoints=grids),
        tokenizer=tokens,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.LlavaNextVideoForConditionalGeneration(config), processor, seed=1)


def gemma4(folder: Path) -> Path:
    """Patches of an image's own shape, pooled; embeddings for each layer."""
    tokens = tokenizer(
        image_token="<|image|>",
        boi_token="<|image>",
        eoi_token="<image|>",
        audio_token="<|audio|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        video_token="<|video|>",
    )
    ids = tokens.convert_tokens_to_ids
    config = hf.Gemma4Config(
        text_config=decoder(
            tokens,
            head_dim=8,
            global_head_dim=8,
            vocab_size_per_layer_input=len(tokens),
            hidden_size_per_layer_input=8,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
            tie_word_embeddings=False,
        ),
        vision_config={**ENCODER, "num_key_value_heads": 4, "head_dim": 8, "patch_size": 4, "pooling_kernel_size": 2},
        audio_config=None,
        boi_token_id=ids("<|image>"),
        eoi_token_id=ids("<image|>"),
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        audio_token_id=ids("<|audio|>"),
        tie_word_embeddings=False,
    )
    sizes = {"patch_size": 4, "pooling_kernel_size": 2}
    processor = hf.Gemma4Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(**sizes, max_soft_tokens=70),
        tokens,
        hf.Gemma4VideoProcessor(**sizes),
        image_seq_length=70,
        chat_template=chat("<|image|>"),
    )
    return save(folder, hf.Gemma4ForConditionalGeneration(config), processor)
