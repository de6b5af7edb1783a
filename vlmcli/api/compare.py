"""Two models, two dtypes, two images or two prompts, held against each other."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vlmcli.api.images import Images
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.errors import UsageError
from vlmcli.types.compare import Compared


def compare(
    images: Images,
    prompt: str,
    answer: str = "",
    *,
    model: str | os.PathLike[str] | None = None,
    dtype: str = "auto",
    other_model: str | os.PathLike[str] | None = None,
    other_dtype: str | None = None,
    other_images: Images = None,
    other_prompt: str | None = None,
    answer_only: bool = False,
    max_tokens: int = 64,
    system: str | None = None,
    raw: bool = False,
    loader: Callable[..., Any] = load,
    **options: Any,
) -> Compared:
    """What two sides make of the same answer; whatever is not given of the other side is as in the first.

    One model is in memory at a time: the first side's distributions wait on disk for the second one's (4 bytes for each
    position and word).

    Args:
        answer: the text that both are given; empty is the first side's greedy answer.
        answer_only: leave out the positions of the prompt, which are compared where both sides read the same prompt.
        max_tokens: of the greedy answers.
        loader: ``vlmcli.load``, or what stands in for it; ``options`` are more of its arguments.

    ``timings_ms``: ``load``, ``first``, ``second``, ``total``.

    Raises UsageError for a model of another kind, VlmError for a full disk, and what ``load`` and ``score`` raise.
    """
    from vlmcli.engine.rows import Rows
    from vlmcli.tasks.compare import compare as compare_with
    from vlmcli.tasks.compare import record
    from vlmcli.tasks.timing import Stopwatch

    if max_tokens < 1:
        raise UsageError("max_tokens must be at least 1")
    watch = Stopwatch()
    one = _loaded(loader, model, dtype, options)
    watch.lap("load")
    same_prompt = other_images is None and other_prompt is None
    with Rows.temporary() as rows:
        request = one._request(images, prompt, None, system, raw)
        with_prompt = same_prompt and not answer_only
        first = record(one.vlm, request, rows, answer, with_prompt=with_prompt, max_tokens=max_tokens)
        watch.lap("first")
        if other_model is not None or other_dtype is not None:
            del one
            gc.collect()  # a model is full of circles, and would stay beside the next one
            one = _loaded(loader, model if other_model is None else other_model, other_dtype or dtype, options)
            watch.lap("load")
        text = prompt if other_prompt is None else other_prompt
        if other_images is None:  # read once: standard input gives an image no second time
            *earlier, asked = request.messages
            request = replace(request, messages=(*earlier, replace(asked, text=text)))
        else:
            request = one._request(other_images, text, None, system, raw)
        compared = compare_with(first, one.vlm, request, max_tokens=max_tokens)
        watch.lap("second")
    return replace(compared, timings_ms=watch.timings_ms())


def _loaded(loader: Callable[..., Any], model: str | os.PathLike[str] | None, dtype: str, options: Any) -> VlmModel:
    loaded = loader(model=model, kind="vlm", dtype=dtype, **options)
    if not isinstance(loaded, VlmModel):
        raise UsageError(f"{loaded.info.id} continues no text, so its answers cannot be compared")
    return loaded
