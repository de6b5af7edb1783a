"""Reading a prompt of some 600 positions, most of them an image: beside transformers, and text beside llama.cpp."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import shapes
from bench.report import Comparison, in_turn, table
from vlmcli.models.cpu.wide import imitates_bfloat16


def run(rounds: int = 5) -> str:
    """In float32 and bfloat16; text in what the processor is faster in."""
    fast = torch.float32 if imitates_bfloat16() else torch.bfloat16
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        vlm = shapes.llava("86m", dtype)
        rows.append(_beside_generate(vlm, rounds))
        rows += _beside_llama_cpp(vlm, rounds) if dtype == fast else []
    return table(rows)


def _beside_generate(vlm: Any, rounds: int) -> Comparison:
    """The encoder too; the first round warms both up."""
    inputs = vlm.prepare(shapes.question())

    @torch.inference_mode()
    def generate() -> None:
        vlm.model.generate(**inputs.tensors, max_new_tokens=1, do_sample=False)

    times = in_turn(rounds + 1, lambda: _ms(lambda: vlm.prefill(inputs)), lambda: _ms(generate))
    what = f"prefill, image, {len(inputs.ids)} positions, {vlm.info.dtype}"
    return Comparison(what, *(column[1:] for column in times), at_least=1.0)


def _ms(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _beside_llama_cpp(vlm: Any, rounds: int) -> list[Comparison]:
    """Text alone, for the decoder is what both have; nothing where llama.cpp is not there."""
    if importlib.util.find_spec("llama_cpp") is None:
        return []
    from bench.peers import LlamaCpp

    ids = torch.arange(600)[None] + 300  # [1, 600]
    decoder = vlm.model

    @torch.inference_mode()
    def ours() -> None:
        decoder(input_ids=ids, use_cache=True, logits_to_keep=1)

    with tempfile.TemporaryDirectory() as folder:
        llama = LlamaCpp(vlm.model.config.text_config, "F16", Path(folder)).read(len(ids[0]))

        def theirs() -> None:
            llama.reset()
            llama.eval(ids[0].tolist())

        times = in_turn(rounds + 1, lambda: _ms(ours), lambda: _ms(theirs))
    what = f"prefill, text, 600 positions, {vlm.info.dtype}, beside llama.cpp F16"
    return [Comparison(what, *(column[1:] for column in times), at_least=1.0)]
