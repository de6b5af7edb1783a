"""A token's time on a CPU: our own step beside transformers' ``generate`` and llama.cpp, in turn, in one run.

``python -m bench.decode [--rounds 3] [--shape 135m|0.5b|2b] [--lengths 128,4096] [--dtype bfloat16]``

A prompt of some length is not read but made up: keys and values are random, as weights are, for what they are does not
change the time. Every round measures every way once, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from bench.peers import LlamaCpp, llama_cpp_reason
from bench.report import Comparison, table
from bench.shapes import DECODERS, decoder_of
from vlmcli.models.cpu.cache import KeyValues
from vlmcli.models.cpu.machine import Conversation, Machine
from vlmcli.models.cpu.quantize import quantize_decoder
from vlmcli.models.cpu.steps import described
from vlmcli.models.cpu.weights import read_weights

TOKENS = 32  # of a measurement
WARM_UP = 3  # tokens before it

DTYPES = ("float32", "bfloat16", "int8", "int4")
_LLAMA_CPP = {"bfloat16": "F16", "int8": "Q8_0", "int4": "Q4_0"}

# What is wanted of (shape, length, dtype), beside whom.
_WANTED = {
    ("135m", 128, "bfloat16", "transformers generate"): 3.3,
    ("135m", 128, "bfloat16", "llama.cpp F16"): 1.0,
    ("135m", 128, "int8", "llama.cpp Q8_0"): 1.15,
    ("135m", 128, "int4", "llama.cpp Q4_0"): 0.9,
}
_WANTED_OF_BANDWIDTH = {("2b", 128, "bfloat16"): 0.75}
_MORE_THAN_BYTES = 1.15  # what a token may cost at the greatest length, of what the cache's bytes explain


@dataclass
class Way:
    """One way to decode with one kind of weights: milliseconds a token by length, a number a round."""

    runner: Any
    ms: dict[int, list[float]] = field(default_factory=dict)


class Ours:
    """Our own step."""

    def __init__(self, model: Any) -> None:
        self._spec, decoder, head = described(model)
        self._embedding, self._dtype = decoder.embed_tokens, model.dtype
        self._machine = Machine(read_weights(self._spec, decoder, head))

    def bytes_at(self, length: int) -> int:
        """What a token reads: all weights, and the keys and values before it."""
        size = 2 if self._dtype == torch.bfloat16 else 4
        one = self._spec.layers * self._spec.kv_heads * self._spec.head_width * size
        return self._machine.weights.nbytes + 2 * one * length

    @torch.inference_mode()
    def ms(self, length: int) -> float:
        cache = KeyValues(self._spec, length + TOKENS + 1, self._dtype)
        for part in (*cache.keys, *cache.values):
            numbers = torch.randn(part.size).to(self._dtype)
            part.reshape(-1)[:] = (numbers.view(torch.uint16) if cache.is_bf16 else numbers).numpy()
        conversation = Conversation(0, False, cache)
        self._steps(conversation, length, WARM_UP)
        return self._steps(conversation, length, TOKENS)

    def _steps(self, conversation: Conversation, length: int, tokens: int) -> float:
        assert conversation.cache is not None
        conversation.cache.length = length
        began = time.perf_counter()
        for i in range(tokens):
            self._machine.step(conversation, self._embedding(torch.tensor(i)))
        return 1000 * (time.perf_counter() - began) / tokens


class Generate:
    """transformers' own ``generate``."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.inference_mode()
    def ms(self, length: int) -> float:
        self._generate(length, WARM_UP)
        return self._generate(length, TOKENS)

    def _generate(self, length: int, tokens: int) -> float:
        config = self._model.config
        cache = hf.DynamicCache(config=config)
        shape = (1, config.num_key_value_heads, length, config.hidden_size // config.num_attention_heads)
        for i in range(config.num_hidden_layers):
            cache.update(*(torch.randn(shape).to(self._model.dtype) for _ in range(2)), i)
        ids = torch.randint(3, 1000, (1, length + 1))
        began = time.perf_counter()
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )
        return 1000 * (time.perf_counter() - began) / tokens


def ways(shape: str, dtypes: Sequence[str], folder: Path) -> Iterator[tuple[tuple[str, str], Way]]:
    """All ways of a shape, by dtype and name."""
    for dtype in dtypes:
        model = decoder_of(shape, torch.float32 if dtype == "float32" else torch.bfloat16)
        if dtype in ("int8", "int4"):
            quantize_decoder(model, dtype)
        else:
            yield (dtype, "transformers generate"), Way(Generate(model))
        yield (dtype, "vlm"), Way(Ours(model))
        if dtype in _LLAMA_CPP and not llama_cpp_reason():
            kind = _LLAMA_CPP[dtype]
            yield (dtype, f"llama.cpp {kind}"), Way(LlamaCpp(DECODERS[shape](), kind, folder))


def read_gb_per_s() -> float:
    """What the memory delivers to a sum over 512 MB, the best of three."""
    values = torch.ones(128_000_000)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        values.sum()
        times.append(time.perf_counter() - began)
    return values.nbytes / min(times) / 1e9


def measure(shape: str, lengths: Sequence[int], dtypes: Sequence[str], rounds: int) -> Iterator[Comparison]:
    """Ours beside each other way, beside what the memory could deliver, and long beside short."""
    bandwidths: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        made = dict(ways(shape, dtypes, Path(folder)))
        for _ in range(rounds):
            bandwidths.append(read_gb_per_s())
            for length in lengths:
                for way in made.values():
                    way.ms.setdefault(length, []).append(way.runner.ms(length))
    for dtype in dtypes:
        own = made[dtype, "vlm"]
        floors = {n: [own.runner.bytes_at(n) / gb_per_s / 1e6 for gb_per_s in bandwidths] for n in lengths}
        for length in lengths:
            what = f"{shape}, {dtype}, {length} positions"
            for name in (name for kind, name in made if kind == dtype and name != "vlm"):
                wanted = _WANTED.get((shape, length, dtype, name))
                other = made[dtype, name].ms[length]
                yield Comparison(f"{what} / {name}", tuple(own.ms[length]), tuple(other), at_least=wanted)
            wanted = _WANTED_OF_BANDWIDTH.get((shape, length, dtype))
            share = f"{what} / reading its {own.runner.bytes_at(length) / 1e6:.0f} MB once"
            yield Comparison(share, tuple(own.ms[length]), tuple(floors[length]), at_least=wanted)
        short, long = min(lengths), max(lengths)
        if short < long:
            more = [b - a for a, b in zip(floors[short], floors[long], strict=True)]
            explained = tuple(a + b for a, b in zip(own.ms[short], more, strict=True))
            what = f"{shape}, {dtype}, {long} positions / {short} and reading the rest of the cache"
            yield Comparison(what, tuple(own.ms[long]), explained, at_least=round(1 / _MORE_THAN_BYTES, 2))


def run(rounds: int = 3) -> str:
    """A token's time: the small shape whole, the larger ones at one length."""
    rows = [
        *measure("135m", (128, 4096), DTYPES, rounds),
        *measure("0.5b", (128,), DTYPES[1:], rounds),
        *measure("2b", (128,), ("bfloat16",), rounds),
    ]
    return table(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shape", choices=DECODERS, default="135m")
    parser.add_argument("--lengths", default="128,4096")
    parser.add_argument("--dtype", action="append", choices=DTYPES)
    given = parser.parse_args(arguments)
    lengths = [int(length) for length in given.lengths.split(",")]
    print(table(measure(given.shape, lengths, given.dtype or DTYPES, given.rounds)))


if __name__ == "__main__":
    main()
