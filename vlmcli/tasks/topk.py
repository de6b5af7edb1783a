"""Next-token probabilities: what the model expects at every position of a prompt."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from vlmcli.engine.decode import top_tokens
from vlmcli.engine.sampling import logprobs
from vlmcli.errors import UsageError
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.topk import Position, TopK

At = Literal["last", "all"] | int


def topk(vlm: Vlm, request: Request, *, k: int = 5, at: At = "last", expand_images: bool = False) -> TopK:
    """The ``k`` likeliest next tokens ``at`` the last position, at all of them, or at one (negative: from the end).

    Rank, surprisal and log-probability are those of the token that really follows. The positions of an image are one
    row, whose figures are those of the last of them, unless ``expand_images``.

    Raises UsageError for a position that is not there, and what ``ask`` raises.
    """
    if k < 1:
        raise UsageError("k must be at least 1")
    watch = Stopwatch(request.load_ms)
    inputs = vlm.prepare(request.prompt)
    watch.lap("prepare")
    rows = _rows(inputs, at, expand_images)
    inputs = vlm.encode(inputs)
    positions = tuple(_positions(vlm, inputs, rows, k))
    watch.lap("forward")
    return TopK(positions, vlm.info, image_infos(request.images, inputs), usage(inputs), watch.timings_ms())


def _rows(inputs: Inputs, at: At, expand_images: bool) -> list[tuple[int, int]]:
    """The rows to compute: (index of the last position of the row, number of positions in it)."""
    length = len(inputs.ids)
    if at == "last":
        return [(length - 1, 1)]
    if at != "all":
        if not -length <= at < length:
            raise UsageError(f"there is no position {at}: the prompt has {length} tokens, 0 to {length - 1}")
        return [(at % length, 1)]
    if expand_images:
        return [(index, 1) for index in range(length)]
    return list(_collapsed(inputs.is_image))


def _collapsed(is_image: tuple[bool, ...]) -> Iterator[tuple[int, int]]:
    """Every text position, and one row for each run of image slots."""
    end = 0
    for image, run in itertools.groupby(is_image):
        count = len(list(run))
        end += count
        if image:
            yield end - 1, count
        else:
            yield from ((index, 1) for index in range(end - count, end))


def _positions(vlm: Vlm, inputs: Inputs, rows: list[tuple[int, int]], k: int) -> Iterator[Position]:
    """The rows' distributions, computed a chunk at a time."""
    remaining = iter(rows)
    for logits in vlm.logits_at(inputs, [index for index, _ in rows]):  # [C, V]
        with torch.inference_mode():
            distributions = logprobs(logits)  # [C, V]
            for distribution, (index, count) in zip(distributions, remaining, strict=False):
                yield _position(vlm, inputs, distribution, index, count, k)


def _position(vlm: Vlm, inputs: Inputs, distribution: Tensor, index: int, count: int, k: int) -> Position:
    """One row of the table from its log-probabilities [V]."""
    vocabulary, ids = vlm.vocabulary, inputs.ids
    next_id = ids[index + 1] if index + 1 < len(ids) else None
    logprob = None if next_id is None else _readable(distribution, next_id)
    return Position(
        index=index,
        kind="image" if inputs.is_image[index] else "text",
        id=ids[index],
        token=vocabulary.token(ids[index]),
        next_id=next_id,
        next_token=None if next_id is None else vocabulary.token(next_id),
        logprob=logprob,
        rank=None if logprob is None else int((distribution > logprob).sum()) + 1,
        surprisal=None if logprob is None else -logprob,
        entropy=float(torch.special.entr(distribution.exp()).sum()),
        top=top_tokens(vocabulary, distribution, k),
        count=count,
    )


def _readable(distribution: Tensor, token_id: int) -> float | None:
    """The token's log-probability; None for one that has none: an image slot beyond the vocabulary, or ruled out."""
    if token_id >= len(distribution):
        return None
    value = float(distribution[token_id])
    return value if value > float("-inf") else None
