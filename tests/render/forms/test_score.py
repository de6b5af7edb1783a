"""A given answer as a table."""

from __future__ import annotations

from tests.render import values
from vlmcli.render.forms.score import scored_table
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_an_answer_is_a_row_a_token_and_a_sum() -> None:
    written = lines(scored_table(values.scored("a", " c\n"), PLAIN))
    assert written[1].split() == ["0", "a", "2", "25.00%", "1.386", "1.500", "·red", "75.00%"]
    assert written[2].split()[1] == "·c\\n"
    assert written[3] == "log-probability -2.7726 nats (6.25%), -0.6931 a byte (4 bytes)"
