"""What each layer of the decoder would say: a grid of words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vlmcli.render.forms.form import Event, as_lines, result_form
from vlmcli.render.html.sections import Content, Word, Words
from vlmcli.render.objects import Object, clean, finite, result_object, top_object
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import probability, shown, top_text
from vlmcli.types.lens import Lens, LensPosition
from vlmcli.types.result import TopToken

_COLUMNS = 8
"""Layers side by side on a screen."""
_AGREES = "agrees: the share of these positions at which the layer's likeliest word is that of the last"


def lens_table(result: Lens, terminal: Terminal) -> Table:
    """One row a position, one column a layer; several words of a layer in its cell, the likeliest first."""
    chosen = columns_of(len(result.layers))
    near = any(position.nearest for position in result.positions)
    columns = (
        Column("index", "right"),
        Column("token"),
        *([Column("nearest")] if near else []),
        *(Column(_title(result.layers[i], result.blocks)) for i in chosen),
    )
    rows = tuple(_row(position, near, chosen, terminal) for position in result.positions)
    agreement = ("", "agrees", *([""] if near else []), *(f"{100 * result.agreement[i]:.0f}%" for i in chosen))
    return Table(columns, (*rows, agreement), notes=(*_left_out(result, chosen), *result.notes))


def columns_of(layers: int, limit: int = _COLUMNS) -> tuple[int, ...]:
    """Which of so many layers are shown: all, or ``limit`` of them evenly, the first and the last among them."""
    if layers <= limit:
        return tuple(range(layers))
    return tuple(round(i * (layers - 1) / (limit - 1)) for i in range(limit))


def _title(layer: int, blocks: int) -> str:
    return "embedding" if layer == 0 else f"{layer} = last" if layer == blocks else str(layer)


def _row(position: LensPosition, near: bool, chosen: Sequence[int], terminal: Terminal) -> tuple[str, ...]:
    nearest = " ".join(f"{shown(word.token, terminal)} {word.cosine:.2f}" for word in position.nearest)
    layers = (
        " ".join(f"{top_text(top, terminal)} {probability(top.logprob)}" for top in position.layers[i]) for i in chosen
    )
    return (str(position.index), _token(position, terminal), *([nearest] if near else []), *layers)


def _token(position: LensPosition, terminal: Terminal) -> str:
    return shown(position.token, terminal) if position.token or position.kind == "text" else "<image>"


def _left_out(result: Lens, chosen: Sequence[int]) -> tuple[str, ...]:
    if len(chosen) == len(result.layers):
        return (_AGREES,)
    return (_AGREES, f"{len(chosen)} of {len(result.layers)} layers: --layers chooses others, --json has all")


def lens_object(result: Lens) -> Object:
    """``positions``, each with its ``layers``, beside what every result has."""
    return {
        **result_object(result.model, result.images, result.usage, result.timings_ms),
        "layers": list(result.layers),
        "blocks": result.blocks,
        "agreement": [finite(share) for share in result.agreement],
        "positions": [position_object(position) for position in result.positions],
        "notes": [clean(note) for note in result.notes],
    }


def position_object(position: LensPosition) -> Object:
    """One position; ``layers`` in the order of the whole result's."""
    return {
        "index": position.index,
        "kind": position.kind,
        "id": position.id,
        "token": clean(position.token),
        "layers": [[top_object(top) for top in words] for words in position.layers],
        "nearest": [
            {"id": word.id, "token": clean(word.token), "cosine": finite(word.cosine)} for word in position.nearest
        ],
    }


def _tables(result: Lens, terminal: Terminal) -> list[Table]:
    return [lens_table(result, terminal)]


def _events(result: Lens) -> Iterator[Event]:
    return (("position", position_object(position)) for position in result.positions)


def _page(result: Lens) -> Content:
    """Every layer that was asked for: a page can be scrolled."""
    near = any(position.nearest for position in result.positions)
    heads = tuple(_title(layer, result.blocks) for layer in result.layers)
    rows = tuple((_names(position, near), tuple(map(_words, position.layers))) for position in result.positions)
    agreement = tuple(Word(f"{100 * share:.0f}%", 0.0) for share in result.agreement)
    last = (("", "agrees", *([""] if near else [])), agreement)
    names = ("index", "token", *(["nearest"] if near else []))
    notes = (_AGREES, *result.notes)
    return Content((Words("Layer by layer", names, heads, (*rows, last), notes),))


def _names(position: LensPosition, near: bool) -> tuple[str, ...]:
    nearest = " ".join(f"{shown(word.token, PAGE)} {word.cosine:.2f}" for word in position.nearest)
    return (str(position.index), _token(position, PAGE), *([nearest] if near else []))


def _words(tops: tuple[TopToken, ...]) -> Word:
    every = ", ".join(f"{top_text(top, PAGE)} {probability(top.logprob)}" for top in tops)
    return Word(top_text(tops[0], PAGE), math.exp(tops[0].logprob), every)


FORM = result_form(as_lines(_tables), lens_object, _events, page=_page)
