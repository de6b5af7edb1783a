"""Families that take an image at its own resolution: the larger it is, the more slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import ENCODER, chat, decoder, prefixed_tokenizer, save, tokenizer


def _qwen_vl(folder: Path, family: str, processor: type[Any], patch: int, vision: dict[str, Any], **text: Any) -> Path:
    """One of the Qwen-VL line: three-dimensional rope whose offset lives on the model object."""
    tokens = tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    edge = 2 * patch
    sizes = {"size": {"shortest_edge": edge**2, "longest_edge": edge**2 * 12}, "patch_size": patch}
    videos = hf.Qwen3VLVideoProcessor if family.startswith("Qwen3") else hf.Qwen2VLVideoProcessor
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = getattr(hf, f"{family}Config")(
        vision_config={"depth": 2, "hidden_size": 32, "num_heads": 4, "patch_size": patch, **vision},
        text_config=decoder(tokens, rope_parameters=rope, **text),
        image_token_id=tokens.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokens.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokens.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokens.convert_tokens_to_ids("<|vision_end|>"),
    )
    slot = "<|vision_start|><|image_pad|><|vision_end|>"
    ready = processor(
        image_processor=hf.Qwen2VLImageProcessor(**sizes),
        tokenizer=tokens,
        video_processor=videos(**sizes),
        chat_template=chat(slot),
    )
    return save(folder, getattr(hf, f"{family}ForConditionalGeneration")(config), ready)


def qwen2_vl(folder: Path) -> Path:
    """Any resolution, three-dimensional rope whose offset lives on the model object."""
    return _qwen_vl(folder, "Qwen2VL", hf.Qwen2VLProcessor, 14, {"embed_dim": 32})


def qwen2_5_vl(folder: Path) -> Path:
    """The encoder attends within windows, and everywhere only in some layers."""
    windows = {"intermediate_size": 64, "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1]}
    return _qwen_vl(folder, "Qwen2_5_VL", hf.Qwen2_5_VLProcessor, 14, windows)


_DEEP = {
    "intermediate_size": 64,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
}


def qwen3_vl(folder: Path) -> Path:
    """Features of several encoder layers, added in the decoder's first layers."""
    return _qwen_vl(folder, "Qwen3VL", hf.Qwen3VLProcessor, 16, _DEEP, head_dim=8)


def qwen3_vl_moe(folder: Path) -> Path:
    """The same with a mixture of experts."""
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return _qwen_vl(folder, "Qwen3VLMoe", hf.Qwen3VLProcessor, 16, _DEEP, head_dim=8, **experts)


_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}


def _qwen3_5(folder: Path, family: str, **text: Any) -> Path:
    """Linear attention in all but some layers: a state beside the cache."""
    vision = {key: value for key, value in _DEEP.items() if key != "deepstack_visual_indexes"}
    return _qwen_vl(folder, family, hf.Qwen3VLProcessor, 16, vision, head_dim=8, **_LINEAR, **text)


def qwen3_5(folder: Path) -> Path:
    """Linear attention in all but some layers: a state beside the cache."""
    return _qwen3_5(folder, "Qwen3_5")


def qwen3_5_moe(folder: Path) -> Path:
    """The same with a mixture of experts."""
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return _qwen3_5(folder, "Qwen3_5Moe", shared_expert_intermediate_size=32, **experts)


def _glm(folder: Path, family: str, kind: str, **text: Any) -> Path:
    """Qwen-VL's way with positions of its own and interpolated embeddings of places; ``kind`` names the processor."""
    marks = ("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>")
    tokens = tokenizer("<|image|>", "<|video|>", *marks)
    ids = dict(zip(("image_start", "image_end", "video_start", "video_end"), marks, strict=True))
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    config = getattr(hf, f"{family}Config")(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 4,
            "image_size": 56,
            "patch_size": 14,
            "out_hidden_size": 32,
            "intermediate_size": 64,
        },
        text_config=decoder(tokens, rope_parameters=rope, **text),
        image_token_id=tokens.convert_tokens_to_ids("<|image|>"),
        video_token_id=tokens.convert_tokens_to_ids("<|video|>"),
        **{f"{name}_token_id": tokens.convert_tokens_to_ids(mark) for name, mark in ids.items()},
    )
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 12 * 2}
    processor = getattr(hf, f"{kind}Processor")(
        getattr(hf, f"{kind}ImageProcessor")(size=size),
        tokens,
        getattr(hf, f"{kind}VideoProcessor")(size=size),
        chat_template=chat("<|begin_of_image|><|image|><|end_of_image|>"),
    )
    return save(folder, getattr(hf, f"{family}ForConditionalGeneration")(config), processor, seed=1)


def glm4v(folder: Path) -> Path:
    """Qwen-VL's way with positions of its own and interpolated embeddings of places."""
    return _glm(folder, "Glm4v", "Glm4v")


def glm46v(folder: Path) -> Path:
    """The same under another name."""
    return _glm(folder, "Glm46V", "Glm46V")


def glm4v_moe(folder: Path) -> Path:
    """The same with a mixture of experts."""
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1}
    sizes = {"moe_intermediate_size": 32, "first_k_dense_replace": 1, "head_dim": 8}
    return _glm(folder, "Glm4vMoe", "Glm4v", **experts, **sizes)


def _pixtral(folder: Path, merge: int, wrap: type[Any], model: type[Any], text: type[Any], **options: Any) -> Path:
    """A Pixtral encoder: two-dimensional rope, a token at the end of every row of patches."""
    tokens = tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    config = wrap(
        vision_config=hf.PixtralVisionConfig(**ENCODER, image_size=64, patch_size=8),
        text_config=text(**decoder(tokens, head_dim=8)),
        image_token_index=tokens.convert_tokens_to_ids("[IMG]"),
        vision_feature_layer=-1,
        **options,
    )
    edge = 8 * merge
    processor = hf.PixtralProcessor(
        hf.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": edge, "width": edge}),
        tokens,
        patch_size=8,
        spatial_merge_size=merge,
        chat_template=chat("[IMG]"),
    )
    return save(folder, model(config), processor)


def pixtral(folder: Path) -> Path:
    """LLaVA with an encoder for any resolution: two-dimensional rope, a token after each row of patches."""
    options = {"vision_feature_select_strategy": "full"}
    return _pixtral(folder, 1, hf.LlavaConfig, hf.LlavaForConditionalGeneration, hf.MistralConfig, **options)


def mistral3(folder: Path) -> Path:
    """Pixtral's encoder; four patches become one slot."""
    return _pixtral(folder, 2, hf.Mistral3Config, hf.Mistral3ForConditionalGeneration, hf.MistralConfig)


def fuyu(folder: Path) -> Path:
    """No encoder: a linear layer on the patches. The processor writes the slots, before the text."""
    tokens = prefixed_tokenizer("|SPEAKER|", "|NEWLINE|", "<0x04>")
    config = hf.FuyuConfig(
        text_config=hf.PersimmonConfig(**decoder(tokens)),
        image_size=64,
        patch_size=8,
        image_token_id=tokens.convert_tokens_to_ids("|SPEAKER|"),
        vocab_size=len(tokens),
    )
    images = hf.FuyuImageProcessor(size={"height": 64, "width": 64}, patch_size={"height": 8, "width": 8})
    return save(folder, hf.FuyuForCausalLM(config), hf.FuyuProcessor(images, tokens))


def emu3(folder: Path) -> Path:
    """Images become ids of a code book, which are words of the decoder's vocabulary."""
    codes = [f"<|visual token {i:06d}|>" for i in range(16)]
    tokens = tokenizer(
        *codes,
        "<|extra_200|>",
        image_token="<image>",
        boi_token="<|image start|>",
        eoi_token="<|image end|>",
        image_wrapper_token="<|image token|>",
        eof_token="<|extra_201|>",
    )
    config = hf.Emu3Config(
        vq_config={
            "codebook_size": 16,
            "temporal_downsample_factor": 1,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "hidden_size": 32,
            "attn_resolutions": [],
            "num_res_blocks": 1,
        },
        text_config=decoder(tokens, attention_dropout=0.0),
        vocabulary_map=tokens.get_vocab(),
    )
    processor = hf.Emu3Processor(
        hf.Emu3ImageProcessor(min_pixels=32 * 32, max_pixels=64 * 64), tokens, chat_template=chat("<image>")
    )
    return save(folder, hf.Emu3ForConditionalGeneration(config), processor, seed=1)
