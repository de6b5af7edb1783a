"""How long a question takes here, part by part."""

from __future__ import annotations

import copy
import time
from itertools import pairwise

import torch

from vlmcli.errors import UsageError
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.bench import Measured, Speed


def bench(vlm: Vlm, request: Request, *, rounds: int = 3, tokens: int = 32) -> Speed:
    """Ask ``rounds`` times, after a round that does not count, and say ``tokens`` tokens each time.

    Images are encoded anew every time. Tokens are the likeliest, the end of the answer not heeded, so that each round
    says as many; fewer where the model's context is full.

    Raises UsageError, InputError, OutOfMemory.
    """
    if rounds < 1 or tokens < 1:
        raise UsageError("a measurement takes at least one round and one token")
    watch = Stopwatch(request.load_ms)
    vlm = copy.copy(vlm)
    vlm.features = None
    columns = [_round(vlm, request, tokens) for _ in range(rounds + 1)][1:]
    inputs = vlm.encode(vlm.prepare(request.prompt))
    watch.lap("bench")
    positions = {"prefill": len(inputs.ids), "decode": _room(vlm, len(inputs.ids), tokens)}
    names = [name for name in columns[0] if name != "encode" or request.images]
    measured = tuple(Measured(n, tuple(column[n] for column in columns), positions.get(n)) for n in names)
    said = usage(inputs, positions["decode"])
    infos = image_infos(request.images, inputs)
    return Speed(measured, torch.get_num_threads(), vlm.info, infos, said, watch.timings_ms())


def _round(vlm: Vlm, request: Request, tokens: int) -> dict[str, float]:
    """Milliseconds of each part."""
    times = [_now(vlm)]
    inputs = vlm.prepare(request.prompt)
    times.append(_now(vlm))
    inputs = vlm.encode(inputs)
    times.append(_now(vlm))
    state = vlm.prefill(inputs)
    token = int(state.logits.argmax())
    times.append(_now(vlm))
    for _ in range(_room(vlm, len(inputs.ids), tokens)):
        token = int(vlm.step(state, token).argmax())
    times.append(_now(vlm))
    prepare, encode, prefill, decode = (1000 * (end - start) for start, end in pairwise(times))
    first = prepare + encode + prefill
    return {"prepare": prepare, "encode": encode, "prefill": prefill, "first token": first, "decode": decode}


def _room(vlm: Vlm, prompt: int, tokens: int) -> int:
    """As many tokens as the context has room for."""
    return tokens if vlm.context is None else max(1, min(tokens, vlm.context - prompt - 1))


def _now(vlm: Vlm) -> float:
    """Seconds, once the device has done what it was told."""
    if vlm.device.type == "cuda":
        torch.cuda.synchronize(vlm.device)
    return time.perf_counter()
