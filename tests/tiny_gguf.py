"""Tiny GGUF files: the llama of tests/tiny.py as llama.cpp's converter would write it, and headers without tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import transformers as hf

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def header_only(path: Path, **pairs: int | str) -> Path:
    """A GGUF file that says what it is and holds no tensor."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in pairs.items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(key.replace("__", "."), value)
    return _close(writer)


def llama(
    path: Path,
    checkpoint: Path,
    *,
    quantised: bool = False,
    architecture: str = "llama",
    splits: str = "gpt-2",
    change: Callable[[gguf.GGUFWriter, dict[str, np.ndarray]], None] = lambda writer, tensors: None,
) -> Any:
    """Write the checkpoint of ``tiny.llama`` as a GGUF file, and return the transformers model that equals it.

    ``quantised``: matrices as Q4_1, and the model has the weights that come out of that. ``splits`` is the name of the
    pre-tokenizer. ``change`` may add pairs, and add or take away tensors.
    """
    model = hf.LlamaForCausalLM.from_pretrained(checkpoint).eval()
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, checkpoint, splits)
    tensors = {_name(name): value.detach().numpy().copy() for name, value in model.state_dict().items()}
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors = {name: _permuted(value, heads.get(name.split(".")[-2], 0)) for name, value in tensors.items()}
    change(writer, tensors)
    for name, value in tensors.items():
        if quantised and value.ndim == 2:
            blocks = gguf.quants.quantize(value, gguf.GGMLQuantizationType.Q4_1)
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        else:
            writer.add_tensor(name, value)
    _close(writer)
    if quantised:
        _quantise(model)
    return model


def _add_tokenizer(writer: gguf.GGUFWriter, checkpoint: Path, splits: str) -> None:
    tokens = hf.AutoTokenizer.from_pretrained(checkpoint)
    core = json.loads(tokens.backend_tokenizer.to_str())["model"]
    vocabulary = sorted(tokens.get_vocab(), key=tokens.get_vocab().__getitem__)
    special = set(tokens.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in core["merges"]])
    writer.add_bos_token_id(tokens.bos_token_id)
    writer.add_eos_token_id(tokens.eos_token_id)
    writer.add_pad_token_id(tokens.pad_token_id)
    writer.add_add_bos_token(True)
    writer.add_chat_template(tokens.chat_template)


def _name(name: str) -> str:
    """llama.cpp's name of a tensor of transformers."""
    stem, suffix = name.rsplit(".", 1)
    if stem in NAMES:
        return f"{NAMES[stem]}.{suffix}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.{suffix}"


def _permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """Query and key rows in llama.cpp's order, where the two numbers that rope turns stand side by side."""
    if not heads:
        return weights
    rows, width = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def _quantise(model: Any) -> None:
    import torch

    kind = gguf.GGMLQuantizationType.Q4_1
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:  # rows are quantised one by one, so their order does not matter
                blocks = gguf.quants.quantize(weight.numpy(), kind)
                weight.copy_(torch.from_numpy(gguf.quants.dequantize(blocks, kind)))


def _close(writer: gguf.GGUFWriter) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(writer.path)
