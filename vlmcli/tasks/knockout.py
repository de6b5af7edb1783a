"""Attention knockout: what an answer loses when its last position cannot look at the image, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from vlmcli.engine.decode import prefill
from vlmcli.engine.forced import distribution, follow, likeliest_way
from vlmcli.errors import InputError, UsageError
from vlmcli.models.knockout import check_masks, knocked_out
from vlmcli.models.places import overlap, places
from vlmcli.models.prompts import Inputs
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, Tick, image_infos, usage
from vlmcli.tasks.score import check_answer
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.knockout import Box, KnockedToken, Knockout, Window

_TOUCH = 0.01
"""The share of a patch in a box, or of a box in a patch, from where on they meet: edges are known to half a pixel."""


def knockout(
    vlm: Vlm,
    request: Request,
    answer: str = "",
    *,
    box: Box | None = None,
    window: int | None = None,
    stride: int = 1,
    tick: Tick | None = None,
) -> Knockout:
    """The log-probability of ``answer`` with attention from image positions to the last one cut in some blocks.

    What is cut is the last position's own look: of the prompt's last position for the first token, of each token of
    the answer for the next. What other positions have read of the image before reaches it all the same, as in Geva et
    al. 2023 (arXiv 2304.14767). Each window is a reading of the whole prompt.

    Args:
        answer: what is scored; empty is the likeliest first token.
        box: cut only the image positions whose part of the original image meets this box.
        window: blocks that are cut together; None is a fifth of them all.
        stride: blocks from one window to the next.
        tick: is told the windows that are done, and how many there are.

    ``timings_ms``: ``load``, ``prepare``, ``encode``, ``check``, ``prefill``, ``windows``, ``total``.

    Raises UsageError, InputError for a prompt without image positions and a box without any, ModelError where no mask
    cuts this model's attention, and what ``score`` raises.
    """
    watch = Stopwatch(request.load_ms)
    blocks = len(vlm.blocks)
    window = max(round(blocks / 5), 1) if window is None else window
    if not 1 <= window <= blocks or stride < 1:
        raise UsageError(f"a window is 1 to {blocks} blocks, for the decoder has {blocks}, and a stride at least 1")
    inputs = vlm.prepare(request.prompt)
    cut = _positions(vlm, request, inputs, box)
    watch.lap("prepare")
    inputs = vlm.encode(inputs)
    watch.lap("encode")
    check_masks(vlm, inputs)
    watch.lap("check")
    state = prefill(vlm, inputs)
    first = distribution(state)  # [V]
    ids = likeliest_way(vlm.tokenizer, [answer], inputs.ids, first)[0] if answer else (int(first.argmax()),)
    check_answer(vlm, inputs, ids, len(first))
    logprobs = [float(d[i]) for d, i in zip(follow(vlm, state, ids[:-1]), ids, strict=True)]
    tokens = (KnockedToken(i, vlm.vocabulary.token(i), value) for i, value in zip(ids, logprobs, strict=True))
    watch.lap("prefill")
    windows = []
    starts = range(0, blocks - window + 1, stride)
    for done, start in enumerate(starts, 1):
        windows.append(_knocked(vlm, inputs, ids, range(start, start + window), cut))
        if tick:
            tick(done, len(starts))
    everywhere = _knocked(vlm, inputs, ids, range(blocks), cut)
    watch.lap("windows")
    infos = image_infos(request.images, inputs)
    return Knockout(
        tuple(tokens),
        tuple(windows),
        everywhere,
        len(cut),
        box,
        blocks,
        vlm.info,
        infos,
        usage(inputs, len(ids)),
        watch.timings_ms(),
    )


def _knocked(vlm: Vlm, inputs: Inputs, ids: Sequence[int], blocks: range, cut: Sequence[int]) -> Window:
    """The answer's log-probability with ``cut`` out of sight in ``blocks``, counted from 0."""
    with knocked_out(vlm, blocks, cut):
        steps = follow(vlm, prefill(vlm, inputs), ids[:-1])
        logprob = math.fsum(float(d[i]) for d, i in zip(steps, ids, strict=True))
    return Window(blocks.start + 1, blocks.stop, logprob)


def _positions(vlm: Vlm, request: Request, inputs: Inputs, box: Box | None) -> list[int]:
    """The image positions that are cut off. Raises InputError where there are none."""
    if not request.images:
        raise InputError("there is no image whose attention could be cut")
    slots = [index for index, image in enumerate(vlm.shown(inputs)) if image]
    if not slots:
        raise InputError("this model's images take no positions of the prompt, so there are none to be cut off")
    return slots if box is None else _in_box(vlm, request, inputs, box)


def _in_box(vlm: Vlm, request: Request, inputs: Inputs, box: Box) -> list[int]:
    """The image positions that show a part of the box. Raises UsageError for a box that lies nowhere."""
    if len(request.images) != 1:
        raise UsageError(f"a box is one of one image, and {len(request.images)} were given")
    width, height = request.images[0].info.original
    if box[0] >= width or box[1] >= height or box[2] <= box[0] or box[3] <= box[1]:
        raise UsageError(f"the box {box} lies outside of the image, which has {width} x {height} pixels")
    try:
        found = places(vlm, request.prompt, inputs, of=0)
    except UsageError as error:
        raise UsageError(error.message, hint="without a box, all positions of the image are cut off") from error
    area = (torch.tensor([box]) / torch.tensor([width, height, width, height])).to(found.boxes)  # [1, 4], in fractions
    shares = torch.maximum(overlap(found.boxes, area)[:, 0], overlap(area, found.boxes)[0])  # [n]
    inside = [position for position, share in zip(found.positions, shares.tolist(), strict=True) if share > _TOUCH]
    if not inside:
        raise UsageError(f"no position of the image shows the box {box}", hint="the processor may have cut it away")
    return inside
