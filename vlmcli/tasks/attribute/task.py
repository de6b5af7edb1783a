"""Which parts of an image an answer rests on.

Shapes: A tokens of the answer, B variants side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcli.engine.decode import decode_one, prefill, token_limit
from vlmcli.engine.forced import distribution, likeliest_way
from vlmcli.errors import UsageError
from vlmcli.inputs.answer import Ids
from vlmcli.inputs.picture import picture
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.attribute import faithfulness as faith
from vlmcli.tasks.attribute import occlusion, reliance, slots
from vlmcli.tasks.attribute.attention import attention
from vlmcli.tasks.attribute.tam import tam
from vlmcli.tasks.attribute.trial import Trial, Work
from vlmcli.tasks.request import Request, Tick, image_infos, usage
from vlmcli.tasks.score import check_answer, scored_token
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.attribute import METHODS, AttributedToken, Attribution, Faithfulness, Grid, Method, Reliance
from vlmcli.types.chat import Sampling
from vlmcli.types.score import ScoredToken

GRID = 16
BATCH_SIZE = 8
ALTERNATIVES = 5
"""To each token of the answer."""
MAX_TOKENS = 64
"""Of the model's own answer; one that was given may be as long as it likes."""


@dataclass(frozen=True)
class _Way:
    """A method: what it does with the log-probabilities [A], and how many forward passes it takes."""

    map: Callable[[Trial, Tensor], Tensor]  # [A, rows, columns]
    passes: Callable[[Trial], int]


_WAYS: dict[Method, _Way] = {
    "occlusion": _Way(occlusion.occlusion, lambda trial: len(trial.windows)),
    "ablation": _Way(slots.ablation, lambda trial: len(trial.windows)),
    "gradient": _Way(lambda trial, _: slots.gradient(trial), lambda _: 1),
    "integrated": _Way(lambda trial, _: slots.integrated(trial), lambda _: slots.INTEGRATED_STEPS),
    "attention": _Way(lambda trial, _: attention(trial), lambda _: 1),
    "tam": _Way(lambda trial, _: tam(trial), lambda _: 2),
}


def attribute(
    vlm: Vlm,
    request: Request,
    answer: str = "",
    *,
    method: Method = "occlusion",
    token: int | None = None,
    of: int = 0,
    grid: int = GRID,
    batch_size: int = BATCH_SIZE,
    judge: bool = True,
    tick: Tick | None = None,
) -> Attribution:
    """Which parts of image number ``of`` the tokens of ``answer`` rest on, or of the model's own greedy answer.

    Args:
        token: only this one of the answer's tokens, counted from 0.
        grid: cells along the longer side of the image; the shorter one has as many as make them about square.
        batch_size: forward passes side by side; where memory runs out, half as many.
        judge: try the map, too (``Faithfulness``).
        tick: called with the forward passes done, and how many there are.

    ``timings_ms``: ``load``, ``prepare``, ``answer``, ``map``, ``reliance``, ``judge``, ``total``.

    Raises UsageError for what there is not (a method, a token, an image) and for a method that the model's family does
    not allow, InputError, ContextOverflow, OutOfMemory, and what ``score`` raises.
    """
    _check(request, method, of, grid, batch_size)
    watch = Stopwatch(request.load_ms)
    inputs = vlm.prepare(request.prompt)
    watch.lap("prepare")
    said = _answer(vlm, inputs, answer)
    ids, logprobs = tuple(one.id for one in said), torch.tensor([one.logprob for one in said])
    if token is not None and not 0 <= token < len(ids):
        raise UsageError(f"there is no token number {token}", hint=f"the answer has {len(ids)}, counted from 0")
    watch.lap("answer")
    rows, columns = grid_shape(request.images[of].pixels.size, grid)
    work = Work(batch_size, tick)
    trial = Trial(vlm, request.prompt, inputs, ids, of, rows, columns, work)
    work.total = _WAYS[method].passes(trial) + reliance.PASSES + (faith.passes(trial) if judge else 0)
    maps = _WAYS[method].map(trial, logprobs)  # [A, rows, columns]
    chosen = slice(None) if token is None else slice(token, token + 1)
    watch.lap("map")
    relied = reliance.reliance(trial, logprobs)
    watch.lap("reliance")
    judged: Faithfulness | None = None
    if judge:
        judged = faith.faithfulness(trial, maps[chosen].sum(0), logprobs, chosen)
        watch.lap("judge")
    return Attribution(
        text=answer or vlm.vocabulary.decode(list(ids)),
        method=method,
        token=token,
        grid=_rows(maps[chosen].sum(0)),
        tokens=_tokens(said, relied, maps),
        of=of,
        faithfulness=judged,
        picture=picture(request.images[of]),
        model=vlm.info,
        images=image_infos(request.images, inputs),
        usage=usage(inputs, len(ids)),
        notes=tuple(work.notes),
        timings_ms=watch.timings_ms(),
    )


def grid_shape(size: tuple[int, int], cells: int) -> tuple[int, int]:
    """(rows, columns) of a grid over a picture of this (width, height): ``cells`` along its longer side."""
    longer = max(size)
    columns, rows = (max(1, round(cells * side / longer)) for side in size)
    return rows, columns


def _check(request: Request, method: Method, of: int, grid: int, batch_size: int) -> None:
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}", hint=f"use {', '.join(METHODS)}")
    if not request.images:
        raise UsageError("there is no image that the answer could rest on")
    if not 0 <= of < len(request.images):
        raise UsageError(f"there is no image number {of}", hint=f"there are {len(request.images)}, counted from 0")
    if not 1 <= grid <= 64:
        raise UsageError("the grid must have between 1 and 64 cells along the longer side")
    if batch_size < 1:
        raise UsageError("the batch size must be at least 1")


def _answer(vlm: Vlm, inputs: Inputs, answer: str) -> list[ScoredToken]:
    """The answer's tokens, without its end; of no answer, the model's own."""
    state = prefill(vlm, inputs)
    ids: Ids = ()
    if answer:
        first = distribution(state)  # [V]
        ids = likeliest_way(vlm.tokenizer, [answer], inputs.ids, first)[0]
        check_answer(vlm, inputs, ids, len(first))
    said: list[ScoredToken] = []
    limit = len(ids) or token_limit(vlm, len(inputs.ids), Sampling(max_tokens=MAX_TOKENS))
    for index in range(limit):
        before = distribution(state)  # [V]
        token_id = ids[index] if answer else int(before.argmax())
        if not answer and token_id in vlm.eos_ids and said:
            break
        said.append(scored_token(vlm, index, token_id, before, ALTERNATIVES))
        if index + 1 == limit or token_id in vlm.eos_ids:
            break
        decode_one(vlm, state, token_id)
    return said


def _tokens(said: Sequence[ScoredToken], relied: Sequence[Reliance], maps: Tensor) -> tuple[AttributedToken, ...]:
    return tuple(
        AttributedToken(
            index=one.index,
            id=one.id,
            token=one.token,
            bytes=one.bytes,
            logprob=one.logprob,
            rank=one.rank,
            entropy=one.entropy,
            top=one.top,
            reliance=relied[index],
            grid=_rows(maps[index]),
        )
        for index, one in enumerate(said)
    )


def _rows(grid: Tensor) -> Grid:
    return tuple(map(tuple, grid.tolist()))
