"""Answers, and their tokens."""

from __future__ import annotations

from collections.abc import Iterator

from vlmcli.render.escape import strip_escapes
from vlmcli.render.forms.form import Event, result_form
from vlmcli.render.html.sections import Content, PageToken, Tabled, Tokens
from vlmcli.render.objects import (
    Object,
    clean,
    finite,
    result_object,
    top_object,
)
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import probability, token_text, top_text
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


def tokens_table(answer: Answer) -> Table:
    """One row a token of an answer, with the alternatives that were kept."""
    widest = max((len(token.top) for token in answer.tokens), default=0)
    tops = (Column(f"top {rank}") for rank in range(1, widest + 1))
    columns = (Column("index", "right"), Column("token"), Column("probability", "right"), *tops)
    return Table(columns, tuple(_token_row(token, widest) for token in answer.tokens))


def _token_row(token: TokenEvent, widest: int) -> tuple[str, ...]:
    tops = [f"{top_text(top, PAGE)} {probability(top.logprob)}" for top in token.top]
    padding = [""] * (widest - len(tops))
    return str(token.index), token_text(token.token, token.bytes, PAGE), probability(token.logprob), *tops, *padding


def _lines(answer: Answer, terminal: Terminal) -> list[str]:
    return strip_escapes(answer.text).split("\n")


def _events(answer: Answer) -> Iterator[Event]:
    return (("token", streamed_token_object(token)) for token in answer.tokens)


def _page(answer: Answer) -> Content:
    tokens = tuple(PageToken(token.token, token.bytes, token.logprob, top=token.top) for token in answer.tokens)
    ended = () if answer.finish_reason == "stop" else (f"ended by {answer.finish_reason}",)
    table = Tabled("Token by token", (tokens_table(answer),), folded=True)
    return Content((Tokens("Answer", tokens, ended), table))


FORM = result_form(_lines, answer_object, _events, page=_page)
"""Of an answer that is complete; while it is made, the sinks show its events."""
