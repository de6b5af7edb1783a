"""Tables as aligned plain text: the same lines on a terminal and in a pipe, so that grep and cut work on them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from vlmcli.render.terminal import Terminal

T = TypeVar("T")

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and the side to which its cells are aligned."""

    title: str
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of finished texts under columns, with an optional line above and lines below."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str | None = None
    notes: tuple[str, ...] = ()


def without_column(table: Table, number: int) -> Table:
    """The same without one column, counted from 0: such as bars, which a page draws itself."""

    def rest(row: tuple[T, ...]) -> tuple[T, ...]:
        return row[:number] + row[number + 1 :]

    return replace(table, columns=rest(table.columns), rows=tuple(map(rest, table.rows)))


def table_lines(table: Table, terminal: Terminal) -> list[str]:
    """The table's lines: caption, headings, rows, notes; no trailing spaces."""
    widths = [
        max(cell_width(text) for text in (column.title, *(row[i] for row in table.rows)))
        for i, column in enumerate(table.columns)
    ]
    headings = _line(tuple(column.title for column in table.columns), table.columns, widths)
    rows = [_line(row, table.columns, widths) for row in table.rows]
    caption = [table.caption] if table.caption else []
    return [*map(terminal.bold, caption), terminal.bold(headings), *rows, *map(terminal.dim, table.notes)]


def tables_lines(tables: Iterable[Table], terminal: Terminal) -> list[str]:
    """Several tables, an empty line between them."""
    blocks = [table_lines(table, terminal) for table in tables]
    return [line for number, block in enumerate(blocks) for line in ([""] * (number > 0) + block)]


def cell_width(text: str) -> int:
    """Terminal cells that ``text`` takes: East Asian wide characters take two, combining marks none (UAX #11)."""
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _line(cells: tuple[str, ...], columns: tuple[Column, ...], widths: list[int]) -> str:
    padded = [_pad(text, column, width) for text, column, width in zip(cells, columns, widths, strict=True)]
    return _GAP.join(padded).rstrip(" ")


def _pad(text: str, column: Column, width: int) -> str:
    spaces = " " * (width - cell_width(text))
    return spaces + text if column.align == "right" else text + spaces
