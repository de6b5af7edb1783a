"""A composition that was put together."""

from __future__ import annotations

from vlmcli.render.escape import one_line
from vlmcli.render.forms.form import simple_form
from vlmcli.render.notes import Notes
from vlmcli.render.objects import (
    Object,
    clean,
)
from vlmcli.render.table import Column, Table, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.types.compose import Composed


def composed_table(composed: Composed) -> Table:
    """The parts of a composition, in the order of the diagram."""
    columns = (Column("part"), Column("from"), Column("parameters", "right"))
    rows = tuple((part.role, one_line(part.source), f"{part.parameters:,}") for part in composed.parts)
    return Table(columns, rows, notes=(f"fusion: {composed.fusion}",))


def composed_object(composed: Composed) -> Object:
    """A composition that was put together."""
    return {
        "name": clean(composed.name),
        "fusion": composed.fusion,
        "parts": [
            {"role": part.role, "source": clean(part.source), "parameters": part.parameters} for part in composed.parts
        ],
        "catalog": clean(str(composed.catalog)),
        "weights": None if composed.weights is None else clean(str(composed.weights)),
        "notes": [clean(note) for note in composed.notes],
    }


def _lines(composed: Composed, terminal: Terminal) -> list[str]:
    return table_lines(composed_table(composed), terminal)


def _where(notes: Notes, composed: Composed) -> None:
    notes.note(f"{composed.name} stands in {composed.catalog}")
    if composed.weights is not None:
        notes.note(f"its new weights are in {composed.weights}")
    for text in composed.notes:
        notes.note(f"{composed.name}: {text}")


FORM = simple_form("composed", _lines, composed_object, after=_where)
