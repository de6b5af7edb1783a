"""How fast a model is."""

from __future__ import annotations

from vlmcli.render.forms.form import as_lines, result_form
from vlmcli.render.objects import Object, finite, result_object
from vlmcli.render.table import Column, Table
from vlmcli.render.terminal import Terminal
from vlmcli.types.bench import Measured, Speed


def bench_tables(result: Speed, terminal: Terminal) -> list[Table]:
    """A row for each part of a question: the fastest round, the one in the middle, the slowest."""
    columns = (
        Column("part"),
        Column("min ms", "right"),
        Column("median ms", "right"),
        Column("max ms", "right"),
        Column("tokens/s", "right"),
    )
    return [Table(columns, tuple(_cells(part) for part in result.measured))]


def _cells(part: Measured) -> tuple[str, ...]:
    rate = "" if part.per_second is None else f"{part.per_second:.1f}"
    return (part.name, *(f"{ms:.1f}" for ms in (min(part.ms), part.median_ms, max(part.ms))), rate)


def bench_object(result: Speed) -> Object:
    """``measured`` beside what every result has."""
    common = result_object(result.model, result.images, result.usage, result.timings_ms)
    return {**common, "threads": result.threads, "measured": [measured_object(part) for part in result.measured]}


def measured_object(part: Measured) -> Object:
    """One part: every round's milliseconds."""
    return {
        "name": part.name,
        "ms": [finite(ms) for ms in part.ms],
        "median_ms": finite(part.median_ms),
        "positions": part.positions,
        "per_second": finite(part.per_second),
    }


FORM = result_form(as_lines(bench_tables), bench_object)
