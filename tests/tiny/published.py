"""InternVL as its own publishers write it: other names, queries, keys and values in one tensor, ``llm_config``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.tiny.parts import ENCODER, chat, decoder, randomise, tokenizer

_NAMES = {
    r"^model\.language_model": "language_model.model",
    r"^lm_head": "language_model.lm_head",
    r"^model\.vision_tower": "vision_model",
    r"^model\.multi_modal_projector\.layer_norm": "mlp1.0",
    r"^model\.multi_modal_projector\.linear_1": "mlp1.1",
    r"^model\.multi_modal_projector\.linear_2": "mlp1.3",
    r"\.cls_token": ".class_embedding",
    r"\.patch_embeddings\.projection": ".patch_embedding",
    r"\.position_embeddings": ".position_embedding",
    r"\.encoder\.layer\.": ".encoder.layers.",
    r"\.attention\.projection_layer": ".attn.proj",
    r"\.attention\.": ".attn.",
    r"\.layernorm_before": ".norm1",
    r"\.layernorm_after": ".norm2",
    r"\.lambda_": ".ls",
}


def reference(folder: Path) -> Any:
    """The model that a published checkpoint was made from, in transformers' own classes."""
    config = hf.AutoConfig.from_pretrained(folder / "original")
    model = _model(config, wide="NVLM" in (folder / "config.json").read_text())
    model.load_state_dict(load_file(folder / "original" / "model.safetensors"))
    return model.eval()


def _model(config: Any, wide: bool) -> Any:
    """InternVL; ``wide``: with NVLM-D's projector, without biases and as wide as the decoder's feed-forward layers."""
    model = hf.InternVLForConditionalGeneration(config)
    if wide:
        projector = model.model.multi_modal_projector
        projector.linear_1, projector.linear_2 = nn.Linear(128, 64, bias=False), nn.Linear(64, 32, bias=False)
    return model


def _config(tokens: Any, slot: str, **vision: Any) -> Any:
    return hf.InternVLConfig(
        vision_config={**ENCODER, "image_size": [32, 32], "patch_size": [8, 8], **vision},
        text_config=hf.Qwen2Config(**decoder(tokens)),
        image_token_id=tokens.convert_tokens_to_ids(slot),
        tie_word_embeddings=False,
    )


def internvl_chat(folder: Path) -> Path:
    """InternVL 2's layout."""
    tokens = tokenizer("<img>", "</img>", "<IMG_CONTEXT>")
    tokens.chat_template = chat("<IMG_CONTEXT>\n")
    model = _model(_config(tokens, "<IMG_CONTEXT>", attention_bias=True), wide=False)
    published = {"qkv_bias": True, "qk_normalization": False, "norm_type": "layer_norm"}
    return _publish(folder, model, tokens, "internvl_chat", published, dummy=0)


def nvlm_d(folder: Path) -> Path:
    """NVLM-D: InternViT-6B's options, heads that only fill up, a wide projector, tile tags."""
    tokens = tokenizer("<|vision_pad|>", "<|im_start|>", "<|im_end|>")
    config = _config(tokens, "<|vision_pad|>", attention_bias=False, use_qk_norm=True, norm_type="rms_norm")
    model = _model(config, wide=True)
    published = {"qkv_bias": False, "qk_normalization": True, "norm_type": "rms_norm"}
    return _publish(folder, model, tokens, "NVLM_D", published, dummy=2)


def _publish(folder: Path, model: Any, tokens: Any, kind: str, vision: dict[str, Any], dummy: int) -> Path:
    """Write the model twice: as published, and below ``original`` under the names of its modules."""
    randomise(model)
    model.config.save_pretrained(folder / "original")
    save_file(model.state_dict(), folder / "original" / "model.safetensors")
    tokens.save_pretrained(folder)
    save_file(_published(model, dummy * 8), folder / "model.safetensors", metadata={"format": "pt"})
    text = model.config.text_config.to_dict()
    config = {
        "model_type": kind,
        "architectures": ["InternVLChatModel" if kind == "internvl_chat" else "NVLM_D"],
        "auto_map": {"AutoConfig": "configuration.Config", "AutoModel": "modeling.Model"},
        "llm_config": {**text, "model_type": "llama", "architectures": ["Qwen2ForCausalLM"]},
        "vision_config": {**ENCODER, "model_type": "intern_vit_6b", "image_size": 32, "patch_size": 8, **vision},
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 4,
        "use_thumbnail": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _published(model: Any, padding: int) -> dict[str, Tensor]:
    """The weights under their published names, ``padding`` channels of meaningless heads behind the real ones."""
    tensors = {}
    for name, weight in model.state_dict().items():
        for pattern, published in _NAMES.items():
            name = re.sub(pattern, published, name)
        if name.endswith(".attn.proj.weight"):
            weight = nn.functional.pad(weight, (0, padding))  # zeros: what those heads say is not heard
        elif re.search(r"\.attn\.[qkv]_(proj|norm)\.", name):
            weight = torch.cat([weight, torch.ones(padding, *weight.shape[1:])])
        tensors[name] = weight.contiguous()
    for name in [name for name in tensors if ".attn.q_proj." in name]:
        parts = [tensors.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        tensors[name.replace("q_proj", "qkv")] = torch.cat(parts)
    return tensors
