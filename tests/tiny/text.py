"""Decoders without eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from tests.tiny.parts import TEXT_CHAT, decoder, save, tokenizer


def _text_only(folder: Path, config: type[Any], **options: Any) -> Path:
    tokens = tokenizer()
    tokens.chat_template = TEXT_CHAT
    return save(folder, hf.AutoModelForCausalLM.from_config(config(**decoder(tokens, **options))), tokens)


def llama(folder: Path) -> Path:
    """A text-only decoder with a chat template on its tokenizer."""
    return _text_only(folder, hf.LlamaConfig)


def qwen2(folder: Path) -> Path:
    """Biases in the attention's projections."""
    return _text_only(folder, hf.Qwen2Config)


def gemma2(folder: Path) -> Path:
    """Sliding windows, and soft caps behind attention and head."""
    return _text_only(folder, hf.Gemma2Config, head_dim=8, sliding_window=16, tie_word_embeddings=False)


def mixtral(folder: Path) -> Path:
    """Four experts, two for each token."""
    return _text_only(folder, hf.MixtralConfig, num_local_experts=4, num_experts_per_tok=2)
