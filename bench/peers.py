"""llama.cpp through llama-cpp-python, where it is installed: random weights of a shape, written as GGUF."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

_KINDS = {
    "F16": gguf.GGMLQuantizationType.F16,
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
    "Q4_0": gguf.GGMLQuantizationType.Q4_0,
}

_ROWS = 256  # of a matrix that are drawn
MOST_TOKENS = 64  # of a measurement


def llama_cpp_reason() -> str:
    """Why there is no llama.cpp to compare with; empty where there is."""
    if importlib.util.find_spec("llama_cpp") is None:
        return "llama-cpp-python is not installed"
    try:
        import llama_cpp  # noqa: F401
    except Exception as error:  # a shared library that does not load
        return f"llama-cpp-python does not load: {error}"
    return ""


class LlamaCpp:
    """A decoder of a configuration's shape in llama.cpp, batch of one."""

    def __init__(self, config: Any, kind: str, folder: Path) -> None:
        self._path = folder / f"{config.model_type}-{config.hidden_size}-{kind}.gguf"
        write_gguf(self._path, config, kind)
        self._read: dict[int, Any] = {}  # by length: a prompt stays in the cache of its own context

    def read(self, length: int) -> Any:
        """A context that has just read ``length`` tokens."""
        from llama_cpp import Llama

        threads = torch.get_num_threads()
        room = length + MOST_TOKENS
        llama = Llama(str(self._path), n_ctx=room, n_threads=threads, n_threads_batch=threads, verbose=False)
        llama.eval([300 + i % 1000 for i in range(length)])
        return llama

    def ms(self, length: int, tokens: int = 32) -> float:
        """Milliseconds a token behind ``length`` others; at most MOST_TOKENS."""
        if length not in self._read:
            self._read[length] = self.read(length)
        llama = self._read[length]
        llama.n_tokens = length
        began = time.perf_counter()
        for i in range(tokens):
            llama.eval([500 + i])
        return 1000 * (time.perf_counter() - began) / tokens


def write_gguf(path: Path, config: Any, kind: str) -> None:
    """Random weights. With Q4_0 the embedding, which is the head, is Q8_0: files that people use keep it finer too."""
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_context_length(8192)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config.vocab_size)
    width = config.hidden_size // config.num_attention_heads
    writer.add_rope_dimension_count(width)
    _add_vocabulary(writer, config.vocab_size)
    generator = np.random.default_rng(0)
    for name, shape in _tensors(config, width):
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32) if "norm" in name else np.zeros(shape, np.float32))
            continue
        wanted = _KINDS["Q8_0" if kind == "Q4_0" and name == "token_embd.weight" else kind]
        rows = generator.standard_normal((min(shape[0], _ROWS), shape[1]), np.float32) * np.float32(0.02)
        writer.add_tensor(name, _repeated(gguf.quants.quantize(rows, wanted), shape[0]), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _repeated(rows: Any, count: int) -> Any:
    """``count`` rows, the same few over and over: drawing and rounding millions takes minutes."""
    return np.concatenate([rows] * -(-count // len(rows)))[:count]


def _tensors(config: Any, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    wide, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.num_attention_heads * width, config.num_key_value_heads * width
    yield "token_embd.weight", (config.vocab_size, wide)
    yield "output_norm.weight", (wide,)
    for i in range(config.num_hidden_layers):
        yield f"blk.{i}.attn_norm.weight", (wide,)
        yield f"blk.{i}.ffn_norm.weight", (wide,)
        for name, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield f"blk.{i}.attn_{name}.weight", (rows, wide)
            if config.model_type == "qwen2":
                yield f"blk.{i}.attn_{name}.bias", (rows,)
        yield f"blk.{i}.attn_output.weight", (wide, queries)
        yield f"blk.{i}.ffn_gate.weight", (inner, wide)
        yield f"blk.{i}.ffn_up.weight", (inner, wide)
        yield f"blk.{i}.ffn_down.weight", (wide, inner)


def _add_vocabulary(writer: Any, size: int) -> None:
    """A SentencePiece vocabulary of numbered words: llama.cpp loads no model without one."""
    special = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    pieces = [*special, *((f"<0x{byte:02X}>", 6) for byte in range(256))]
    pieces += [(f"w{i}", 1) for i in range(size - len(pieces))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in pieces])
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([kind for _, kind in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
