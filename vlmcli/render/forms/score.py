"""A given answer, token by token."""

from __future__ import annotations

from collections.abc import Iterator

from vlmcli.render.forms.form import Event, as_lines, result_form
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
from vlmcli.render.words import (
    nats,
    probability,
    token_text,
    top_text,
)
from vlmcli.types.score import Scored, ScoredToken


def scored_table(result: Scored, terminal: Terminal) -> Table:
    """One row a token of a given answer, and the sums below."""
    widest = max((len(token.top) for token in result.tokens), default=0)
    figures = ("rank", "probability", "surprisal", "entropy")
    columns = (
        Column("index", "right"),
        Column("token"),
        *(Column(title, "right") for title in figures),
        *(Column(f"top {rank}") for rank in range(1, widest + 1)),
    )
    rows = tuple(_scored_row(token, widest, terminal) for token in result.tokens)
    each = "" if result.per_byte is None else f", {result.per_byte:.4f} a byte ({result.size_bytes} bytes)"
    whole = f"log-probability {result.logprob:.4f} nats ({probability(result.logprob)}){each}"
    return Table(columns, rows, notes=(whole, "surprisal and entropy in nats"))


def _scored_row(token: ScoredToken, widest: int, terminal: Terminal) -> tuple[str, ...]:
    tops = [f"{top_text(top, terminal)} {probability(top.logprob)}" for top in token.top]
    return (
        str(token.index),
        token_text(token.token, token.bytes, terminal),
        str(token.rank),
        probability(token.logprob),
        nats(token.surprisal),
        nats(token.entropy),
        *tops,
        *[""] * (widest - len(tops)),
    )


def scored_object(result: Scored) -> Object:
    """A given answer: ``text``, its ``tokens`` and their sum beside what every result has."""
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "text": clean(result.text),
        "logprob": finite(result.logprob),
        "per_byte": finite(result.per_byte),
        "size_bytes": result.size_bytes,
        "tokens": [scored_token_object(token) for token in result.tokens],
    }


def scored_token_object(token: ScoredToken) -> Object:
    """One token of a given answer: the form of ``ask``'s tokens, and what else is known of it."""
    return {
        "index": token.index,
        "token": clean(token.token),
        "id": token.id,
        "logprob": finite(token.logprob),
        "rank": token.rank,
        "entropy": finite(token.entropy),
        "surprisal": finite(token.surprisal),
        "bytes": list(token.bytes),
        "top_logprobs": [top_object(top) for top in token.top],
    }


def _tables(result: Scored, terminal: Terminal) -> list[Table]:
    return [scored_table(result, terminal)]


def _events(result: Scored) -> Iterator[Event]:
    return (("token", scored_token_object(token)) for token in result.tokens)


def _page(result: Scored) -> Content:
    tokens = tuple(
        PageToken(token.token, token.bytes, token.logprob, token.rank, token.entropy, token.top)
        for token in result.tokens
    )
    table = scored_table(result, PAGE)
    return Content((Tokens("Answer", tokens, table.notes[:1]), Tabled("Token by token", (table,), folded=True)))


FORM = result_form(as_lines(_tables), scored_object, _events, page=_page)
