"""Next-token probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from vlmcli.render.forms.form import Event, as_lines, result_form
from vlmcli.render.html.sections import Bar, Bars, Content, PageToken, Segment, Stages, Tabled, Tokens
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
    UNKNOWN,
    fixed_bar,
    nats,
    probability,
    shown,
    top_text,
)
from vlmcli.types.result import TopToken
from vlmcli.types.topk import Position, TopK


def topk_tables(result: TopK, terminal: Terminal) -> list[Table]:
    """One position: its candidates, ranked. Several: one row a position."""
    if len(result.positions) == 1:
        return [_ranked_table(result.positions[0], terminal)]
    return [_positions_table(result.positions, terminal)]


def _ranked_table(position: Position, terminal: Terminal) -> Table:
    columns = (
        Column("rank", "right"),
        Column("token"),
        Column("probability", "right"),
        Column(""),
        Column("id", "right"),
    )
    rows = tuple(
        (str(rank), top_text(top, terminal), probability(top.logprob), fixed_bar(top, terminal), str(top.id))
        for rank, top in enumerate(position.top, start=1)
    )
    where = f"after position {position.index}, {_position_text(position, terminal)}"
    return Table(columns, rows, f"{where} (entropy {position.entropy:.3f} nats)", _what_follows(position, terminal))


def _what_follows(position: Position, terminal: Terminal) -> tuple[str, ...]:
    if position.next_token is None or position.logprob is None:
        return ()
    token = shown(position.next_token, terminal)
    likeliness = f"rank {position.rank}, {probability(position.logprob)}, surprisal {nats(position.surprisal)} nats"
    return (f"what follows: {token} ({likeliness})",)


def _positions_table(positions: Sequence[Position], terminal: Terminal) -> Table:
    widest = max((len(position.top) for position in positions), default=0)
    figures = ("rank", "probability", "surprisal", "entropy")
    columns = (
        Column("index", "right"),
        Column("token"),
        Column("next token"),
        *(Column(title, "right") for title in figures),
        *(Column(f"top {rank}") for rank in range(1, widest + 1)),
    )
    rows = tuple(_position_row(position, widest, terminal) for position in positions)
    return Table(columns, rows, notes=("surprisal and entropy in nats",))


def _position_row(position: Position, widest: int, terminal: Terminal) -> tuple[str, ...]:
    tops = [f"{top_text(top, terminal)} {probability(top.logprob)}" for top in position.top]
    first = position.index - position.count + 1
    return (
        f"{first}-{position.index}" if position.count > 1 else str(position.index),
        _position_text(position, terminal),
        UNKNOWN if position.next_token is None else shown(position.next_token, terminal),
        UNKNOWN if position.rank is None else str(position.rank),
        UNKNOWN if position.logprob is None else probability(position.logprob),
        nats(position.surprisal),
        nats(position.entropy),
        *tops,
        *[""] * (widest - len(tops)),
    )


def _position_text(position: Position, terminal: Terminal) -> str:
    text = shown(position.token, terminal)
    if position.kind == "image" and not position.token:
        text = "<image>"
    return f"{text} x{position.count}" if position.count > 1 else text


def topk_object(result: TopK) -> Object:
    """Next-token probabilities: ``positions`` beside what every result has."""
    positions = [position_object(position) for position in result.positions]
    return {**result_object(result.model, result.images, result.usage, result.timings_ms), "positions": positions}


def position_object(position: Position) -> Object:
    """One position; ``logprob``, ``rank`` and ``surprisal`` are those of the token that follows."""
    return {
        "index": position.index,
        "kind": position.kind,
        "count": position.count,
        "id": position.id,
        "token": clean(position.token),
        "next_id": position.next_id,
        "next_token": None if position.next_token is None else clean(position.next_token),
        "logprob": finite(position.logprob),
        "rank": position.rank,
        "entropy": finite(position.entropy),
        "surprisal": finite(position.surprisal),
        "top": [top_object(top) for top in position.top],
    }


def _events(result: TopK) -> Iterator[Event]:
    return (("token", position_object(position)) for position in result.positions)


def _page(result: TopK) -> Content:
    """The prompt, each token with what was expected in its place; the place behind the last is still open."""
    tables = tuple(topk_tables(result, PAGE))
    positions = result.positions
    if len(positions) == 1:
        about = tuple(line for line in (tables[0].caption, *tables[0].notes) if line)
        return Content((Bars("Next token", tuple(map(_bar, positions[0].top)), about),))
    read = (_read(position, before) for position, before in zip(positions, (None, *positions), strict=False))
    last = PageToken("", entropy=positions[-1].entropy, top=positions[-1].top, kind="open")
    runs = groupby(positions, key=lambda position: position.kind)
    segments = tuple(Segment(kind, sum(position.count for position in run)) for kind, run in runs)
    shown = Tokens("Prompt", (*read, last), ("each token with what the model expected in its place",))
    return Content((shown, Stages("Stages", segments), Tabled("Position by position", tables, folded=True)))


def _read(position: Position, before: Position | None) -> PageToken:
    """A token of the prompt in the distribution that the model had before it; none for the first."""
    token = PageToken(position.token, kind=position.kind, count=position.count)
    if before is None:
        return token
    token = replace(token, entropy=before.entropy, top=before.top)
    # An image position holds no word: what its placeholder's probability is means nothing.
    return token if position.kind == "image" else replace(token, logprob=before.logprob, rank=before.rank)


def _bar(top: TopToken) -> Bar:
    return Bar(top_text(top, PAGE), math.exp(top.logprob), probability(top.logprob))


FORM = result_form(as_lines(topk_tables), topk_object, _events, page=_page)
