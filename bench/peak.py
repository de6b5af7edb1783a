"""The most memory that ``vlm ask`` holds, beside what the weights take: at most 1.25 times as much, and 350 MB."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from bench import shapes
from bench.processes import VLM, peak_bytes
from bench.report import Comparison, table
from vlmcli.models.fit import needed_bytes
from vlmcli.weights.resolve import Checkpoint

_FACTOR, _MORE_BYTES = 1.25, 350e6


def run(rounds: int = 2) -> str:
    """A decoder of 400 million weights, from a bfloat16 file; ``other`` is the bound."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = shapes.save_decoder(Path(name), layers=24, width=1152)
        for dtype in ("bfloat16", "float32"):
            command = (*VLM, "ask", "-q", "-m", str(folder), "--dtype", dtype, "--max-tokens", "4", "star")
            weights = needed_bytes(Checkpoint(folder, "bench", None, None), getattr(torch, dtype))
            bound = (_FACTOR * weights + _MORE_BYTES) / 1e6
            peaks = tuple(peak_bytes(command) / 1e6 for _ in range(rounds))
            what = f"peak memory, {weights / 1e6:.0f} MB of weights, {dtype}"
            rows.append(Comparison(what, peaks, (bound,) * rounds, "MB", 1.0))
    return table(rows)
