"""How long a token takes on a CPU: ours beside transformers' ``generate`` and llama.cpp, in turn, in one run.

``python -m bench.decode [--rounds 5] [--shape 135m|0.5b|2b] [--lengths 128,4096] [--pair]``

Weights are random, of a known decoder's shape: what they are does not change the time. Every round measures every row
once, so that what else the machine does hits all alike. ``floor`` is the time in which the memory could deliver the
weights and the cache, at the bandwidth that was measured in the same round. ``--pair``: two processes at once against
one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from bench.peers import LlamaCpp, llama_cpp_reason
from vlmcli.models.cpu.cache import KeyValues
from vlmcli.models.cpu.machine import Conversation, Machine
from vlmcli.models.cpu.quantize import quantize_decoder
from vlmcli.models.cpu.steps import described
from vlmcli.models.cpu.weights import read_weights
from vlmcli.models.torchvision_shim import mend_torchvision

mend_torchvision()  # transformers' own modules import torchvision wherever it is installed

TOKENS = 32  # of a measurement
LENGTHS = (128, 4096)

_LLAMA: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}
_QWEN_HALF: dict[str, Any] = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
}
_QWEN_TWO: dict[str, Any] = {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
}

SHAPES: dict[str, Callable[[], Any]] = {
    "135m": lambda: hf.LlamaConfig(**_LLAMA, tie_word_embeddings=True, max_position_embeddings=8192),
    "0.5b": lambda: hf.Qwen2Config(**_QWEN_HALF, tie_word_embeddings=True, max_position_embeddings=8192),
    "2b": lambda: hf.Qwen2Config(**_QWEN_TWO, tie_word_embeddings=True, max_position_embeddings=8192),
}


@dataclass
class Row:
    """One way to decode, of a shape and at a length: milliseconds a token, a number a round.

    ``floors_ms`` is what reading its weights and cache once takes at least, 0 where nobody knows what it reads.
    """

    shape: str
    length: int
    name: str
    ms: list[float] = field(default_factory=list)
    floors_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.ms)

    def line(self) -> str:
        floor = f"  {statistics.median(self.floors_ms) / self.median_ms:4.0%}" if self.floors_ms else "     -"
        numbers = f"{min(self.ms):8.2f}{self.median_ms:8.2f}{max(self.ms):8.2f}"
        return f"{self.shape:<6}{self.length:>6}  {self.name:<28}{numbers}{floor}"


def read_gb_per_s() -> float:
    """What the memory delivers to a sum over 512 MB, the best of three."""
    values = torch.ones(128_000_000)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        values.sum()
        times.append(time.perf_counter() - began)
    return values.nbytes / min(times) / 1e9


class Ours:
    """Our own step, over a cache of random numbers: reading a long prompt would take longer than all the rest."""

    def __init__(self, model: Any) -> None:
        self.spec, decoder, head = described(model)
        self._embedding = decoder.embed_tokens
        self._dtype = model.dtype
        self.machine = Machine(read_weights(self.spec, decoder, head))
        self._model = model

    def bytes_at(self, length: int) -> int:
        """What a token reads."""
        size = 2 if self._dtype == torch.bfloat16 else 4
        cache = 2 * self.spec.layers * self.spec.kv_heads * self.spec.head_width * size * length
        return self.machine.weights.nbytes + cache

    @torch.inference_mode()
    def ms(self, length: int, tokens: int = TOKENS) -> float:
        cache = KeyValues(self.spec, length + tokens + 1, self._dtype)
        for keys, values in zip(cache.keys, cache.values, strict=True):
            for part in (keys, values):
                numbers = torch.randn(part.size).to(self._dtype)
                part.reshape(-1)[:] = (numbers.view(torch.uint16) if cache.is_bf16 else numbers).numpy()
        cache.length = length
        conversation = Conversation(0, False, cache)
        for i in range(3):
            self.machine.step(conversation, self._embedding(torch.tensor(i)))
        cache.length = length
        began = time.perf_counter()
        for i in range(tokens):
            self.machine.step(conversation, self._embedding(torch.tensor(i)))
        return 1000 * (time.perf_counter() - began) / tokens


class Generate:
    """transformers' own ``generate``, from a cache of random numbers."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.inference_mode()
    def ms(self, length: int, tokens: int = TOKENS) -> float:
        self._run(length, 2)
        return self._run(length, tokens) / tokens

    def _run(self, length: int, tokens: int) -> float:
        config = self._model.config
        width = config.hidden_size // config.num_attention_heads
        cache = hf.DynamicCache(config=config)
        for i in range(config.num_hidden_layers):
            shape = (1, config.num_key_value_heads, length, width)
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
        return 1000 * (time.perf_counter() - began)


def model_of(shape: str, dtype: torch.dtype) -> Any:
    """A decoder of a shape with random weights."""
    torch.manual_seed(0)
    return hf.AutoModelForCausalLM.from_config(SHAPES[shape](), dtype=dtype).eval()


def ways(shape: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a shape: what each is called, and something with ``ms`` and perhaps ``bytes_at``."""
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        model = model_of(shape, dtype)
        yield f"transformers generate {name}", Generate(model)
        yield f"vlm {name}", Ours(model)
    for bits in ("int8", "int4"):
        model = model_of(shape, torch.bfloat16)
        quantize_decoder(model, bits)
        yield f"vlm {bits}", Ours(model)
    if not llama_cpp_reason():
        for kind in ("F16", "Q8_0", "Q4_0"):
            yield f"llama.cpp {kind}", LlamaCpp(SHAPES[shape](), kind, folder)


def measure(shape: str, lengths: Sequence[int], rounds: int) -> list[Row]:
    """Every row, every round."""
    with tempfile.TemporaryDirectory() as folder:
        made = list(ways(shape, Path(folder)))
        rows = {(length, name): Row(shape, length, name) for length in lengths for name, _ in made}
        for _ in range(rounds):
            bandwidth = read_gb_per_s()
            for length in lengths:
                for name, way in made:
                    row = rows[length, name]
                    row.ms.append(way.ms(length))
                    if hasattr(way, "bytes_at"):
                        row.floors_ms.append(way.bytes_at(length) / bandwidth / 1e6)
    return list(rows.values())


RATIOS = (
    ("transformers generate bfloat16", "vlm bfloat16"),
    ("transformers generate float32", "vlm float32"),
    ("llama.cpp F16", "vlm bfloat16"),
    ("llama.cpp Q8_0", "vlm int8"),
    ("llama.cpp Q4_0", "vlm int4"),
)


def ratios(rows: Sequence[Row]) -> Iterator[str]:
    """How many times faster ours is, by medians; and what length costs beyond what its bytes explain."""
    medians = {(row.length, row.name): row for row in rows}
    for length in sorted({row.length for row in rows}):
        for theirs, own in RATIOS:
            if (length, theirs) in medians:
                times = medians[length, theirs].median_ms / medians[length, own].median_ms
                yield f"{length:>6}  {theirs} / {own}: {times:.2f}x"
    short, *_, long = sorted({row.length for row in rows}) * 2
    for name in ("vlm float32", "vlm bfloat16", "vlm int8", "vlm int4"):
        a, b = medians[short, name], medians[long, name]
        if short < long:
            explained = a.median_ms + statistics.median(b.floors_ms) - statistics.median(a.floors_ms)
            yield f"{short}->{long}  {name}: {b.median_ms / explained:.2f} of what the cache's bytes explain"


def pair_ratio(shape: str, length: int, tokens: int = 200) -> float:
    """How many times longer two processes at once take than one by itself."""
    command = [sys.executable, "-m", "bench.decode", "--once", shape, str(length), str(tokens)]

    def run(count: int) -> float:
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        return statistics.fmean(float(process.communicate()[0]) for process in started)

    run(1)  # compiled, and in the page cache
    alone = run(1)
    return run(2) / alone


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", action="append", choices=SHAPES)
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--pair", action="store_true", help="two processes at once against one")
    parser.add_argument("--once", nargs=3, metavar=("SHAPE", "LENGTH", "TOKENS"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    hf.utils.logging.set_verbosity_error()
    if given.once:
        shape, length, tokens = given.once
        print(Ours(model_of(shape, torch.bfloat16)).ms(int(length), int(tokens)))
        return
    if reason := llama_cpp_reason():
        print(f"without llama.cpp: {reason}")
    lengths = [int(length) for length in given.lengths.split(",")]
    for shape in given.shape or ["135m"]:
        print(f"{'shape':<6}{'length':>6}  {'ms a token, ' + str(torch.get_num_threads()) + ' threads':<28}", end="")
        print(f"{'min':>8}{'median':>8}{'max':>8}  floor")
        rows = measure(shape, lengths, given.rounds)
        for row in rows:
            print(row.line())
        for line in ratios(rows):
            print(line)
        if given.pair:
            print(f"two processes at once / one: {pair_ratio(shape, lengths[0]):.2f}x")


if __name__ == "__main__":
    main()
