"""Draw images from words: a stream of events, of which the last sums up."""

from __future__ import annotations

import io
import math
import secrets
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace

from vlmcli.engine.draw import draw as tokens_of
from vlmcli.engine.sampling import check
from vlmcli.errors import InputError, UsageError
from vlmcli.models.drawing import Canvas, Drawer, drawer_of
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.chat import Sampling
from vlmcli.types.draw import Brush, Drawn, DrawnToken, DrawStart, DrawTotals


def draw(
    vlm: Vlm,
    prompt: str,
    brush: Brush,
    *,
    count: int = 1,
    size: str | None = None,
    negative: str = "",
    batch_size: int = 1,
    load_ms: float = 0.0,
) -> Iterator[DrawStart | DrawnToken | Drawn | DrawTotals]:
    """DrawStart, a DrawnToken for each token and a Drawn for each image, DrawTotals.

    Works in the caller's thread and only when asked for the next event; closing it stops the work. ``batch_size``
    images are drawn side by side, which takes less time than one after another, and more memory.

    ``timings_ms``: ``load``, ``prepare`` (template, tokenizer), ``draw`` (the tokens), ``develop`` (their pixels),
    ``total``.

    Raises UsageError for a model that cannot draw and for settings that mean nothing; InputError, ContextOverflow,
    NumericalError, OutOfMemory.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty")
    if count < 1 or batch_size < 1:
        raise UsageError("count and batch_size must be at least 1")
    drawer = drawer_of(vlm)
    brush = _settled(brush, drawer)
    watch = Stopwatch(load_ms)
    if negative and brush.guidance == 1:
        raise UsageError("without guidance, a negative prompt changes nothing", hint="give a guidance above 1")
    canvas = drawer.lay_out(prompt, negative, size, guided=brush.guidance != 1)
    watch.lap("prepare")
    start = DrawStart(
        model=vlm.info,
        prompt=prompt,
        count=count,
        size=canvas.size,
        grid=(canvas.grid[1], canvas.grid[0]),
        tokens=canvas.tokens,
        prompt_tokens=canvas.prompt_tokens,
        brush=brush,
    )
    yield start
    for first in range(0, count, batch_size):
        images = range(first, min(first + batch_size, count))
        drawn = yield from _tokens(drawer, canvas, brush, images, watch)
        yield from _developed(drawer, canvas, brush, drawn, watch)
    yield DrawTotals(start, watch.timings_ms())


def _settled(brush: Brush, drawer: Drawer) -> Brush:
    """With the model's own values in the place of None, and a seed. Raises UsageError."""
    brush = replace(
        brush,
        guidance=drawer.guidance if brush.guidance is None else brush.guidance,
        top_k=drawer.top_k if brush.top_k is None else brush.top_k,
        seed=secrets.randbelow(2**31) if brush.seed is None else brush.seed,
    )
    assert brush.guidance is not None
    if not 0 <= brush.guidance < math.inf:
        raise UsageError("guidance must be 0 or more")
    check(_sampling(brush, 0))
    return brush


def _sampling(brush: Brush, image: int) -> Sampling:
    """How the tokens of image number ``image`` are picked."""
    assert brush.top_k is not None and brush.seed is not None
    return Sampling(
        temperature=brush.temperature,
        top_p=brush.top_p,
        top_k=brush.top_k,
        min_p=brush.min_p,
        seed=brush.seed + image,
    )


def _tokens(
    drawer: Drawer, canvas: Canvas, brush: Brush, images: range, watch: Stopwatch
) -> Generator[DrawnToken, None, dict[int, list[DrawnToken]]]:
    """The tokens of images that are drawn side by side, as they come; and then those of each."""
    assert brush.guidance is not None
    drawn: dict[int, list[DrawnToken]] = {image: [] for image in images}
    with closing(tokens_of(drawer, canvas, [_sampling(brush, image) for image in images], brush.guidance)) as columns:
        for index, column in enumerate(columns):
            watch.lap("draw")
            for image, (token_id, logprob) in zip(images, column, strict=True):
                token = DrawnToken(image, index, token_id, logprob)
                drawn[image].append(token)
                yield token
    return drawn


def _developed(
    drawer: Drawer, canvas: Canvas, brush: Brush, drawn: dict[int, list[DrawnToken]], watch: Stopwatch
) -> Iterator[Drawn]:
    """The finished images, one by one: pixels take more memory than tokens."""
    assert brush.seed is not None
    for image, tokens in drawn.items():
        (picture,) = drawer.pictures(canvas, [[token.id for token in tokens]])
        file = io.BytesIO()
        picture.save(file, "PNG")
        watch.lap("develop")
        yield Drawn(image, brush.seed + image, picture.size, file.getvalue(), tuple(tokens))
