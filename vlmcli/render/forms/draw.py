"""Drawn images."""

from __future__ import annotations

from collections.abc import Sequence

from vlmcli.render.escape import one_line
from vlmcli.render.objects import Object, clean, finite, result_object, start_object
from vlmcli.render.words import probability
from vlmcli.types.draw import Drawn, DrawnToken, DrawStart, DrawTotals
from vlmcli.types.result import Usage


def drawn_line(drawn: Drawn) -> str:
    """A finished image: what it takes to draw it again, and how sure the model was of its tokens."""
    width, height = drawn.size
    tokens = f"{len(drawn.tokens)} tokens of {probability(drawn.logprob)} each"
    return f"{one_line(drawn.file or '')}: {width}x{height}, seed {drawn.seed}, {tokens}"


def progress_label(finished: int, count: int) -> str:
    """Which image is being drawn."""
    return "drawing" if count == 1 else f"drawing {finished + 1} of {count}"


def draw_start_object(start: DrawStart) -> Object:
    """What is known before the first token."""
    return {**start_object(start.model, (), _usage(start)), **_settings(start)}


def drawn_token_object(token: DrawnToken) -> Object:
    """One token of an image."""
    return {"image": token.image, "index": token.index, "id": token.id, "logprob": finite(token.logprob)}


def drawn_object(drawn: Drawn) -> Object:
    """A finished image; its pixels are in the file."""
    return {
        "image": drawn.image,
        "file": None if drawn.file is None else clean(drawn.file),
        "seed": drawn.seed,
        "size": list(drawn.size),
        "logprob": finite(drawn.logprob),
        "ids": [token.id for token in drawn.tokens],
        "logprobs": [finite(token.logprob) for token in drawn.tokens],
    }


def draw_totals_object(totals: DrawTotals, drawings: Sequence[Drawn]) -> Object:
    """All images, and how they were asked for."""
    said = sum(len(drawn.tokens) for drawn in drawings)
    return {
        **result_object(totals.start.model, (), _usage(totals.start, said), totals.timings_ms),
        **_settings(totals.start),
        "drawings": [drawn_object(drawn) for drawn in drawings],
    }


def _usage(start: DrawStart, completion_tokens: int = 0) -> Usage:
    return Usage(start.prompt_tokens, 0, completion_tokens)


def _settings(start: DrawStart) -> Object:
    brush = start.brush
    return {
        "prompt": clean(start.prompt),
        "count": start.count,
        "size": list(start.size),
        "grid": list(start.grid),
        "tokens_per_image": start.tokens,
        "guidance": brush.guidance,
        "temperature": brush.temperature,
        "top_p": brush.top_p,
        "top_k": brush.top_k,
        "min_p": brush.min_p,
        "seed": brush.seed,
    }
