"""Classes as tables, one an image."""

from __future__ import annotations

from tests.render import values
from vlmcli.render.forms.classify import classify_tables
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def lines(table: Table) -> list[str]:
    return table_lines(table, PLAIN)


def test_classes_keep_their_order_and_name_their_measure() -> None:
    (table,) = classify_tables(values.classification(), PLAIN)
    headings, best, other = lines(table)
    assert "softmax (against the others)" in headings
    assert best.split() == ["1", "tench", "0.8000", "4.000", "3"]
    assert other.split()[:2] == ["2", "LABEL_0"]
    (several,) = classify_tables(values.classification(scoring="sigmoid"), PLAIN)
    assert "sigmoid (each on its own)" in lines(several)[0]
    assert lines(several)[1].split()[2] == "0.8000"
    (neither,) = classify_tables(values.classification(scoring=None), PLAIN)
    assert lines(neither)[1].split() == ["1", "tench", "-", "4.000", "3"]


def test_classes_name_images_where_there_are_several() -> None:
    assert [lines(table)[0] for table in classify_tables(values.classification(images=2), PLAIN)] == [
        "image0.png",
        "image1.png",
    ]
