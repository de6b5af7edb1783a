"""The stages as a person and as a program reads them."""

from __future__ import annotations

from dataclasses import replace

from tests.render import values
from vlmcli.render.forms.forms import form_of
from vlmcli.render.forms.trace import stages_table, strip_lines, trace_object
from vlmcli.render.terminal import Terminal
from vlmcli.types.trace import Run

PLAIN = Terminal()


def test_a_row_for_each_stage() -> None:
    rows = {row[0]: row for row in stages_table(values.trace(), PLAIN).rows}
    assert list(rows) == ["decode", "resize", "encode", "fuse", "prefill", "step 1"]
    assert rows["decode"] == ("decode", "2 of 48 x 64 x 3", "uint8", "0", "100.5", "255", "0", "", "3.2", "-")
    assert rows["resize"][-2:] == ("4.0", "2.0 MB")
    assert rows["encode"][1:7] == ("-",) * 6 and rows["encode"][7] == "cannot be seen in this family"
    assert rows["fuse"][3:8] == ("-", "-", "-", "768", "some note")
    assert rows["prefill"][7] == "·red"
    assert "\x1b" not in "".join(rows["step 1"]), "a token must not reach the terminal as it stands"


def test_the_strip_is_to_scale() -> None:
    _, head, cells = strip_lines(values.trace(), PLAIN)
    assert head == "sequence 1 x 24 x 32 (B x T x D): ░ text 4, █ image 16, ░ text 4"
    assert cells == "░" * 10 + "█" * 40 + "░" * 10
    assert strip_lines(values.trace(), Terminal(unicode=False))[2] == "." * 10 + "#" * 40 + "." * 10


def test_many_runs_are_summed_up() -> None:
    runs = tuple(Run("image" if i % 2 else "text", 2 * i, 2) for i in range(20))
    _, head, cells = strip_lines(replace(values.trace(), sequence=runs), PLAIN)
    assert head.endswith("░ text 20 in 10 runs, █ image 20 in 10 runs") and len(cells) == 60


def test_nothing_is_drawn_of_nothing() -> None:
    assert strip_lines(replace(values.trace(), sequence=()), PLAIN) == []


def test_the_object_has_the_figures_and_no_bare_nan() -> None:
    made = trace_object(values.trace())
    stages = {stage["name"]: stage for stage in made["stages"]}
    assert stages["decode"]["shapes"] == [[48, 64, 3]] * 2 and stages["decode"]["peak_bytes"] is None
    assert stages["encode"]["min"] is None and stages["encode"]["note"]
    assert stages["prefill"]["mean"] is None and stages["prefill"]["max"] is None and stages["prefill"]["min"] == -4
    assert made["sequence"][1] == {"kind": "image", "start": 4, "count": 16} and made["width"] == 32


def test_each_stage_is_an_event() -> None:
    events = list(form_of(values.trace()).events(values.trace()))
    assert [kind for kind, _ in events] == ["start", *["stage"] * 6, "done"]
