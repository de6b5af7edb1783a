"""What the benchmarks say of their numbers; the numbers themselves belong to no test."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.__main__ import PARTS, main
from bench.report import Comparison


def test_a_ratio_is_taken_round_by_round() -> None:
    row = Comparison("it", ours=(1.0, 2.0, 4.0), theirs=(3.0, 4.0, 4.0), at_least=2.0)
    assert row.cells() == ["it", "2 ms", "4 ms", "1.00", "2.00", "3.00", "2 ok"]


def test_what_is_missed_is_said() -> None:
    assert Comparison("it", (1.0,), (1.9,), at_least=2.0).cells()[-1] == "2 missed"
    assert Comparison("it", (1.0,), (1.9,)).cells()[-1] == "-"


def test_ways_are_measured_in_turn() -> None:
    order: list[str] = []
    columns = report.in_turn(2, lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0)
    assert order == ["a", "b", "a", "b"] and columns == [(1.0, 1.0), (2.0, 2.0)]


def test_a_part_replaces_its_own_section_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "machine", lambda: "a machine")
    file = tmp_path / "RESULTS.md"
    for name, body in (("cold", "before"), ("rows", "kept"), ("cold", "after")):
        report.write_section(name, f"python -m bench {name}", body, file)
    text = file.read_text()
    assert text.count("## cold") == 1 and "before" not in text
    assert text.index("after") < text.index("kept")
    assert "`python -m bench rows` on a machine" in text


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm"]) == 2
    assert "no such part: warm" in capsys.readouterr().err


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_there(name: str) -> None:
    file = Path(report.__file__).parent / f"{name}.py"
    assert "def run(" in file.read_text()
