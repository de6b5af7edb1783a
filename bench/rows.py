"""Questions about several images side by side, beside one after the other: the embedded model."""

from __future__ import annotations

import time

from PIL import Image

from bench.processes import ROOT
from bench.report import Comparison, in_turn, table
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.engine.batch import decode_batch
from vlmcli.engine.decode import decode
from vlmcli.inputs.chat import Prompt
from vlmcli.types.chat import Message, Sampling

QUESTION = "What is in the picture?"
SAMPLING = Sampling(max_tokens=24)


def run(rounds: int = 3) -> str:
    """The time of one question, in batches of 2, 4, 8 and 16."""
    model = load(cache=False)
    assert isinstance(model, VlmModel)
    vlm = model.vlm
    pictures = [Image.open(file).convert("RGB") for file in sorted((ROOT / "examples").glob("*.png"))]
    prompts = [Prompt((Message("user", QUESTION, 1),), (pictures[i % len(pictures)],)) for i in range(16)]

    def alone(count: int) -> float:
        began = time.perf_counter()
        for prompt in prompts[:count]:
            list(decode(vlm, vlm.prepare(prompt), SAMPLING))
        return 1000 * (time.perf_counter() - began) / count

    def together(count: int) -> float:
        began = time.perf_counter()
        list(decode_batch(vlm, vlm.prepare_batch(prompts[:count]), SAMPLING))
        return 1000 * (time.perf_counter() - began) / count

    alone(2)
    rows = []
    for count in (2, 4, 8, 16):
        times = in_turn(rounds, lambda n=count: together(n), lambda n=count: alone(n))  # type: ignore[misc]
        rows.append(Comparison(f"a question, batch of {count} / one by one", *times, unit="ms each"))
    return table(rows)
