"""Families whose vision encoder is timm's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import chat, decoder, save, square, tokenizer

# No smaller perception encoder has a name in timm: the large one, with everything about it changed.
_PE: dict[str, Any] = {
    "architecture": "vit_pe_core_large_patch14_336",
    "model_args": {
        "embed_dim": 64,
        "img_size": (28, 28),
        "depth": 2,
        "global_pool": "",
        "use_post_transformer_norm": False,
        "init_values": 0.1,
        "ref_feat_shape": (2, 2),
    },
}


def perception_lm(folder: Path) -> Path:
    """A perception encoder; a thumbnail and tiles."""
    tokens = tokenizer(image_token="<|image|>", video_token="<|video|>")
    config = hf.PerceptionLMConfig(
        vision_config=_PE,
        text_config=hf.LlamaConfig(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<|image|>"),
        video_token_id=tokens.convert_tokens_to_ids("<|video|>"),
        vision_use_cls_token=True,
        projector_pooling_ratio=1,
    )
    images = square(hf.PerceptionLMImageProcessor, tile_size=28, max_num_tiles=4, vision_input_type="thumb+tile")
    processor = hf.PerceptionLMProcessor(
        image_processor=images,
        tokenizer=tokens,
        video_processor=hf.PerceptionLMVideoProcessor(size={"height": 28, "width": 28}),
        patch_size=14,
        pooling_ratio=1,
        chat_template=chat("<|image|>"),
    )
    return save(folder, hf.PerceptionLMForConditionalGeneration(config), processor)


def fast_vlm(folder: Path) -> Path:
    """A convolutional encoder, LLaVA otherwise."""
    tokens = tokenizer("<image>")
    config = hf.FastVlmConfig(
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "fastvit_mci3",
            "do_pooling": True,
            "global_pool": "avg",
            "hidden_size": 32,
            "model_args": {
                "inference_mode": True,
                "layers": (2, 2),
                "embed_dims": (8, 16),
                "mlp_ratios": (4, 4),
                "se_downsamples": (False, False),
                "downsamples": (False, True),
                "pos_embs": (None, None),
                "token_mixers": ("repmixer", "repmixer"),
                "lkc_use_act": True,
                "stem_use_scale_branch": False,
            },
        },
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    processor = hf.LlavaProcessor(
        square(hf.CLIPImageProcessor, crop_size={"height": 32, "width": 32}),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="full",
        chat_template=chat("<image>\n"),
    )
    return save(folder, hf.FastVlmForConditionalGeneration(config), processor)


def gemma3n(folder: Path) -> Path:
    """Nested decoders, embeddings for each layer; sounds are not read."""
    tokens = tokenizer(
        image_token="<image_soft_token>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        audio_token="<audio_soft_token>",
        boa_token="<start_of_audio>",
        eoa_token="<end_of_audio>",
    )
    ids = tokens.convert_tokens_to_ids
    config = hf.Gemma3nConfig(
        text_config=decoder(
            tokens,
            head_dim=8,
            vocab_size_per_layer_input=len(tokens),
            hidden_size_per_layer_input=8,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
            num_kv_shared_layers=0,
            laurel_rank=4,
            activation_sparsity_pattern=[0.0, 0.0],
        ),
        # timm lets no one make a small MobileNet: transformers' own tests take this encoder too.
        vision_config={
            "architecture": _PE["architecture"],
            "model_args": {**_PE["model_args"], "class_token": False},
            "hidden_size": 64,
            "vocab_size": 8,
            "vocab_offset": len(tokens),
        },
        audio_config={
            "hidden_size": 32,
            "conf_num_hidden_layers": 1,
            "conf_num_attention_heads": 4,
            "vocab_size": 8,
            "vocab_offset": len(tokens) + 8,
        },
        image_token_id=ids("<image_soft_token>"),
        boi_token_id=ids("<start_of_image>"),
        eoi_token_id=ids("<end_of_image>"),
        audio_token_id=ids("<audio_soft_token>"),
        boa_token_id=ids("<start_of_audio>"),
        eoa_token_id=ids("<end_of_audio>"),
        vision_soft_tokens_per_image=4,
    )
    processor = hf.Gemma3nProcessor(
        hf.Gemma3nAudioFeatureExtractor(),
        hf.SiglipImageProcessor(size={"height": 28, "width": 28}),
        tokens,
        image_seq_length=4,
        chat_template=chat("<image_soft_token>"),
    )
    return save(folder, hf.Gemma3nForConditionalGeneration(config), processor, seed=1)
