"""The grid of words."""

from __future__ import annotations

import pytest

from tests.render import values
from vlmcli.render.forms.forms import form_of
from vlmcli.render.forms.lens import columns_of, lens_object, lens_table
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def test_a_row_for_each_position_and_a_column_for_each_layer() -> None:
    table = lens_table(values.lens(), PLAIN)
    assert [column.title for column in table.columns] == ["index", "token", "nearest", "embedding", "1", "2 = last"]
    assert table.rows[0] == ("0", "What", "", *["·red 50.00% ·blue 25.00%"] * 3)
    assert table.rows[1][:3] == ("1", "<image>", "·crimson 0.50")
    assert table.rows[2] == ("", "agrees", "", "0%", "50%", "100%")
    assert table.notes[-1] == "a lens word is a reading"


def test_many_layers_are_thinned_out_evenly() -> None:
    table = lens_table(values.lens(33), PLAIN)
    titles = [column.title for column in table.columns[3:]]
    assert titles == ["embedding", "5", "9", "14", "18", "23", "27", "32 = last"]
    assert "8 of 33 layers" in table.notes[1]
    assert len(table.rows[-1]) == len(table.columns)


@pytest.mark.parametrize("layers", range(1, 60))
def test_the_first_and_the_last_are_always_shown(layers: int) -> None:
    chosen = columns_of(layers)
    assert chosen[0] == 0 and chosen[-1] == layers - 1
    assert len(chosen) == len(set(chosen)) == min(layers, 8) and list(chosen) == sorted(chosen)


def test_the_object_has_all_layers() -> None:
    made = lens_object(values.lens(33))
    assert made["layers"] == list(range(33)) and made["blocks"] == 32 and len(made["agreement"]) == 33
    word, patch = made["positions"]
    assert len(word["layers"]) == 33 and [top["id"] for top in word["layers"][0]] == [3, 4] and word["nearest"] == []
    assert patch["kind"] == "image" and patch["nearest"] == [{"id": 11, "token": " crimson", "cosine": 0.5}]


def test_each_position_is_an_event() -> None:
    events = list(form_of(values.lens()).events(values.lens()))
    assert [kind for kind, _ in events] == ["start", "position", "position", "done"]
