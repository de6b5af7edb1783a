"""Labels as tables, one an image."""

from __future__ import annotations

from tests.render import values
from vlmcli.render.forms.zeroshot import zeroshot_tables
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_zeroshot_ranks_labels_and_leaves_markup_alone() -> None:
    (table,) = zeroshot_tables(values.zeroshot(), PLAIN)
    headings, best, worst = lines(table)
    assert headings.split("  ")[0] == "label"
    assert "sigmoid (each on its own)" in headings
    assert "softmax (against the others)" in headings
    assert best.startswith("a [bold]dog")
    assert best.split()[-3:] == ["0.5000", "0.9000", "3.000"]
    assert worst.startswith("a cat")


def test_zeroshot_without_sigmoid_says_so() -> None:
    (table,) = zeroshot_tables(values.zeroshot(sigmoid=False), PLAIN)
    assert lines(table)[1].split()[-3:] == ["-", "0.9000", "3.000"]


def test_zeroshot_names_images_where_there_are_several() -> None:
    tables = zeroshot_tables(values.zeroshot(images=2), PLAIN)
    assert [lines(table)[0] for table in tables] == ["image0.png", "image1.png"]
    assert all(len(table.rows) == 2 for table in tables)
