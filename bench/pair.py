"""Two processes at once on the same cores: they may take 2.5 times as long as one, and no more."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import shapes
from bench.processes import VLM, whole_s
from bench.report import Comparison, in_turn, table

_BOUND = 2.5
_TOKENS = 256


def run(rounds: int = 3) -> str:
    """SmolLM2-135M's shape says 256 tokens; ``other`` is 2.5 times what one process takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = shapes.save_decoder(Path(name))
        command = (*VLM, "ask", "-q", "-m", str(folder), "--max-tokens", str(_TOKENS), "star")
        whole_s(command)
        times = in_turn(rounds, lambda: whole_s(command, command), lambda: _BOUND * whole_s(command))
    return table([Comparison("two processes at once / 2.5 times one", *times, unit="s", at_least=1.0)])
