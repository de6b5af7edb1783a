"""What each layer of the decoder would say: a grid of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlmcli.render.forms.form import Event, as_lines, result_form
from vlmcli.render.html.sections import Content, Tabled
from vlmcli.render.objects import Object, clean, finite, result_object, top_object
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import PAGE, Terminal
from vlmcli.render.words import probability, shown, top_text
from vlmcli.types.lens import Lens, LensPosition

_COLUMNS = 8
"""Layers side by side on a screen."""


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
    token = shown(position.token, terminal) if position.token or position.kind == "text" else "<image>"
    nearest = " ".join(f"{shown(word.token, terminal)} {word.cosine:.2f}" for word in position.nearest)
    layers = (
        " ".join(f"{top_text(top, terminal)} {probability(top.logprob)}" for top in position.layers[i]) for i in chosen
    )
    return (str(position.index), token, *([nearest] if near else []), *layers)


def _left_out(result: Lens, chosen: Sequence[int]) -> tuple[str, ...]:
    agrees = "agrees: the share of these positions at which the layer's likeliest word is that of the last"
    if len(chosen) == len(result.layers):
        return (agrees,)
    return (agrees, f"{len(chosen)} of {len(result.layers)} layers: --layers chooses others, --json has all")


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
    return Content((Tabled("What each layer would say next", (lens_table(result, PAGE),)),))


FORM = result_form(as_lines(_tables), lens_object, _events, page=_page)
