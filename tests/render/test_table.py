"""Tables: columns stand under each other, and colours change no width."""

from __future__ import annotations

from vlmcli.render.table import Column, Table, cell_width, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_columns_are_aligned_by_terminal_cells_and_lines_have_no_trailing_spaces() -> None:
    table = Table((Column("a"), Column("number", "right")), (("日本", "1"), ("x", "22"), ("é", "")))
    written = lines(table)
    assert [cell_width(line.split("1")[0]) for line in written if "1" in line] == [4 + 2 + 5]
    assert written[2] == "x         22"
    assert all(line == line.rstrip() for line in written)


def test_colour_changes_no_width() -> None:
    table = Table((Column("a"),), (("b",),), "caption", ("note",))
    painted = table_lines(table, Terminal(colour=True))
    assert painted[2] == "b"
    assert painted[0].startswith("\x1b[1m")
