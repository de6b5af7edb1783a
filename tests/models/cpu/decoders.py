"""Tiny random decoders of every family that our own step describes, and odd shapes of them; built in memory."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import transformers as hf

from tests.tiny import parts
from vlmcli.inputs.chat import Prompt
from vlmcli.models.steps import Steps
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message
from vlmcli.types.result import ModelInfo

_LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 1e4}
_GEMMA3_TYPES = ["sliding_attention", "full_attention"]

DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama with biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama, no size a multiple of 16": (
        "LlamaConfig",
        {
            "hidden_size": 40,
            "intermediate_size": 72,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "num_hidden_layers": 1,
        },
    ),
    "llama, rope for long texts": (
        "LlamaConfig",
        {"rope_parameters": {**_LLAMA3, "original_max_position_embeddings": 64}},
    ),
    "llama, yarn": ("LlamaConfig", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}}),
    "llama, six heads share keys": (
        "LlamaConfig",
        {"num_attention_heads": 6, "num_key_value_heads": 1, "head_dim": 16, "hidden_size": 96},
    ),
    "mistral, sliding window": ("MistralConfig", {"sliding_window": 24}),
    "qwen2": ("Qwen2Config", {}),
    "qwen2, some layers slide": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "gemma": ("GemmaConfig", {"head_dim": 16}),
    "gemma2": ("Gemma2Config", {"head_dim": 8, "sliding_window": 16, "final_logit_softcapping": 3.0}),
    "gemma3": (
        "Gemma3TextConfig",
        {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 10, "layer_types": _GEMMA3_TYPES},
    ),
    "phi3": ("Phi3Config", {"hidden_size": 64, "partial_rotary_factor": 0.5, "sliding_window": 30}),
}


@cache
def tokens() -> Any:
    return parts.tokenizer()


@cache
def built(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """The model; shared, so tests must leave it as it is."""
    kind, options = DECODERS[name]
    return make(kind, dtype, **options)


def make(kind: str, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """A decoder of a configuration's class."""
    model = hf.AutoModelForCausalLM.from_config(getattr(hf, kind)(**parts.decoder(tokens(), **options))).eval()
    parts.randomise(model)
    return model.to(dtype)


def as_vlm(model: Any, steps: Steps | None = None) -> Vlm:
    """It, with a tokenizer and a way to take steps."""
    info = ModelInfo("tiny", None, str(model.dtype).removeprefix("torch."), "cpu")
    return Vlm(model, tokens(), info, steps=steps)


def prompt(text: str = "The quick brown fox jumped over the lazy dog. " * 3) -> Prompt:
    return Prompt((Message("user", text),), raw=True)
