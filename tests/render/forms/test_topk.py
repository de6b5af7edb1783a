"""Next-token probabilities as tables: numbers are the result's own, and texts are only texts."""

from __future__ import annotations

import io
import math

from tests.render import values
from vlmcli.render.forms.topk import topk_tables
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_one_position_is_a_ranked_table() -> None:
    (table,) = topk_tables(values.topk(values.position(9, " dog")), PLAIN)
    written = lines(table)
    assert "position 9" in written[0]
    assert "·dog" in written[0]
    assert written[2].split()[:3] == ["1", "·red", "75.00%"]
    assert written[3].split()[:3] == ["2", "·blue", "25.00%"]


def test_one_position_with_a_successor_says_what_follows() -> None:
    (table,) = topk_tables(values.topk(values.position(9, " dog", follows=" ran")), PLAIN)
    assert "what follows: ·ran (rank 2, 25.00%, surprisal 1.386 nats)" in lines(table)


def test_several_positions_are_rows_and_images_collapse() -> None:
    image = values.position(64, "<image>", follows="What", count=64, kind="image")
    (table,) = topk_tables(values.topk(values.position(0, "<s>", "<image>"), image, values.position(65, "\n")), PLAIN)
    first, second, third = (line.split() for line in lines(table)[1:4])
    assert first[:6] == ["0", "<s>", "<image>", "2", "25.00%", "1.386"]
    assert second[:3] == ["1-64", "<image>", "x64"]
    assert third[:6] == ["65", "\\n", "-", "-", "-", "-"]
    assert third[6:] == ["1.500", "·red", "75.00%", "·blue", "25.00%"]


def test_an_impossible_token_has_probability_zero() -> None:
    position = values.position(1, "a")
    assert math.isinf(values.top("x", 0.0).logprob)
    (table,) = topk_tables(values.topk(values.replace_top(position, values.top("x", 0.0))), PLAIN)
    assert lines(table)[2].split()[:3] == ["1", "x", "0.00%"]


def test_tables_need_no_special_stream() -> None:
    assert Terminal.of(io.StringIO(), {}) == Terminal(colour=False, unicode=True)
