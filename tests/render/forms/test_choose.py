"""Options as a table."""

from __future__ import annotations

from tests.render import values
from vlmcli.render.forms.choose import choices_table
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_the_likeliest_option_comes_first() -> None:
    _, first, *_, mass = lines(choices_table(values.choices("3", "1", "2"), PLAIN))
    assert first.split()[:2] == ["3", "50.00%"] and "option mass 90.00%" in mass
    written = lines(choices_table(values.choices("a\n[b]", "c", orders=2), PLAIN))
    assert written[0].endswith("order 1  order 2") and written[1].startswith("a [b]")
    assert "mean 2.25" in lines(choices_table(values.choices("3", "1", "2"), PLAIN))
