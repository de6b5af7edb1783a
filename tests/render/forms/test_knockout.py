"""The windows and what they take away."""

from __future__ import annotations

from tests.render import values
from vlmcli.render.forms.forms import form_of
from vlmcli.render.forms.knockout import knockout_object, knockout_table
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def test_windows_stand_between_nothing_and_everything() -> None:
    table = knockout_table(values.knockout(), PLAIN)
    assert table.caption == "answer ·red without a look at the image (16 image positions)"
    assert [row[0] for row in table.rows] == ["none", "1-2", "2-3", "all"]
    assert [row[1] for row in table.rows] == ["80.00%", "40.00%", "90.00%", "0.00%"]
    assert [row[3] for row in table.rows] == ["", "-40.00%", "+10.00%", "-80.00%"]
    assert table.rows[3][4:] == ("-inf", "-inf")
    assert [len(row[2].strip()) for row in table.rows] == [16, 8, 18, 0]


def test_a_box_is_named() -> None:
    assert "the box 10,20.5,30,40 (" in (knockout_table(values.knockout((10, 20.5, 30, 40)), PLAIN).caption or "")


def test_the_object_has_no_bare_infinity() -> None:
    made = knockout_object(values.knockout((0, 0, 8, 8)))
    assert made["box"] == [0, 0, 8, 8] and made["answer"] == " red" and made["cut"] == 16
    assert made["windows"][0]["change"] < 0 < made["windows"][1]["change"]
    assert made["everywhere"]["logprob"] is None and made["everywhere"]["probability"] == 0


def test_each_window_is_an_event() -> None:
    events = list(form_of(values.knockout()).events(values.knockout()))
    assert [kind for kind, _ in events] == ["start", "window", "window", "done"]
