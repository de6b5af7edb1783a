"""Answers, and their tokens."""

from __future__ import annotations

from vlmcli.render.objects import (
    Object,
    clean,
    finite,
    result_object,
    top_object,
)
from vlmcli.types.ask import Answer, TokenEvent


def answer_object(answer: Answer) -> Object:
    """A whole answer: ``text`` and ``tokens`` beside what every result has."""
    tokens = [token_object(token) for token in answer.tokens]
    return {
        **result_object(answer.model, answer.images, answer.usage, answer.timings_ms, answer.finish_reason),
        "text": clean(answer.text),
        "tokens": tokens,
    }


def token_object(token: TokenEvent) -> Object:
    """A generated token in the form of OpenAI's ``logprobs.content``, with its ``id``."""
    return {
        "token": clean(token.token),
        "id": token.id,
        "logprob": finite(token.logprob),
        "bytes": list(token.bytes),
        "top_logprobs": [top_object(top) for top in token.top],
    }


def streamed_token_object(token: TokenEvent) -> Object:
    """A generated token as an event of its own: ``text`` is what it adds to the answer."""
    streamed = {"index": token.index, "text": clean(token.text), "elapsed_ms": finite(1000.0 * token.elapsed_s)}
    return {**streamed, **token_object(token)}
