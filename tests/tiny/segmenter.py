"""Promptable segmenters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import save

_SIDE = 64
_PROMPTS: dict[str, Any] = {"hidden_size": 32, "image_size": _SIDE, "patch_size": 16, "mask_input_channels": 4}
_DECODER: dict[str, Any] = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "iou_head_depth": 2,
    "iou_head_hidden_dim": 32,
}
_ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": _SIDE,
    "patch_size": 16,
    "window_size": 2,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
    "mlp_dim": 64,
}


def _padded(**decoder: Any) -> dict[str, Any]:
    """What the first family and its refinement share: the longer side resized, the rest padded."""
    return {
        "vision_config": dict(_ENCODER),
        "prompt_encoder_config": dict(_PROMPTS),
        "mask_decoder_config": {**_DECODER, **decoder},
    }


def _images() -> Any:
    square = {"height": _SIDE, "width": _SIDE}
    return hf.SamImageProcessor(size={"longest_edge": _SIDE}, pad_size=square)


def sam(folder: Path) -> Path:
    """The longer side resized, the rest padded; three masks for one point."""
    return save(folder, hf.SamModel(hf.SamConfig(**_padded())), hf.SamProcessor(_images()))


def sam_hq(folder: Path) -> Path:
    """SAM with finer masks, for which it needs the encoder's inner layers too."""
    config = hf.SamHQConfig(**_padded(vit_dim=32))
    return save(folder, hf.SamHQModel(config), hf.SamHQProcessor(_images()))


def _pyramid() -> dict[str, Any]:
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [_SIDE, _SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3],
    }
    return {
        "vision_config": {
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": dict(_PROMPTS),
        "mask_decoder_config": dict(_DECODER),
    }


def _squares() -> Any:
    return hf.Sam2ImageProcessor(size={"height": _SIDE, "width": _SIDE}, mask_size={"height": 16, "width": 16})


def sam2(folder: Path) -> Path:
    """A square picture whatever the image's shape; features of three sizes."""
    return save(folder, hf.Sam2Model(hf.Sam2Config(**_pyramid())), hf.Sam2Processor(_squares()))


def sam2_video(folder: Path) -> Path:
    """How SAM 2 is published: the configuration and the weights of the tracker, of which images need a part."""
    config = hf.Sam2VideoConfig(
        **_pyramid(),
        memory_attention_hidden_size=32,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_num_layers=1,
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4],
    )
    processor = hf.Sam2VideoProcessor(_squares(), hf.Sam2VideoVideoProcessor())
    return save(folder, hf.Sam2VideoModel(config), processor)
