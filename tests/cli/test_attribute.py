"""vlm attribute: what it hands on, what it refuses, and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.fakes import FakeDual, FakeModel, run

pytestmark = pytest.mark.usefixtures("here")


def test_everything_is_passed_on() -> None:
    model = FakeModel()
    given = ("-a", "cat", "--token", "1", "--method", "tam", "--of", "1", "--grid", "24")
    given += ("--batch-size", "2", "--no-auc", "--system", "Short.")
    outcome = run("attribute", "a.png", "b.png", "What?", *given, model=model)
    how = {"method": "tam", "token": 1, "of": 1, "grid": 24, "batch_size": 2, "judge": False}
    assert model.calls == [
        ("attribute", (("a.png", "b.png"), "What?", "cat"), {**how, "system": "Short.", "raw": False})
    ]
    assert outcome.code == 0 and "·cat" in outcome.stdout


def test_what_is_not_given() -> None:
    model = FakeModel()
    assert run("attribute", "a.png", "What?", model=model).code == 0
    ((_, asked, how),) = model.calls
    assert asked == (("a.png",), "What?", "") and how["method"] == "occlusion" and how["judge"] and how["grid"] == 16


def test_json() -> None:
    outcome = run("attribute", "a.png", "What?", "--json")
    assert json.loads(outcome.stdout)["grid"] == [[0.0, -0.5], [2.0, 0.1]]


def test_the_map_becomes_a_png(here: Path) -> None:
    outcome = run("attribute", "a.png", "What?", "-o", "map.png")
    assert outcome.code == 0 and "map.png" in outcome.stderr
    assert (here / "map.png").read_bytes().startswith(b"\x89PNG")
    before = (here / "map.png").read_bytes()
    refused = run("attribute", "a.png", "What?", "-o", "map.png")
    assert refused.code == 3 and "exists already" in refused.stderr and not refused.loaded
    assert run("attribute", "a.png", "What?", "-o", "map.png", "--force").code == 0
    assert (here / "map.png").read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (("a.png",), 2, "no prompt"),
        (("a.png", "What?", "-a", ""), 2, "answer is empty"),
        (("a.png", "What?", "--method", "magic"), 2, "none of occlusion"),
        (("a.png", "What?", "--grid", "0"), 2, "0 is not at least 1"),
        (("a.png", "What?", "--batch-size", "0"), 2, "not at least 1"),
        (("a.png", "What?", "--token", "-1"), 2, "not at least 0"),
        (("a.png", "What?", "-o", "map.jpg"), 2, "does not end in .png"),
        (("a.png", "What?", "-o", "nowhere/map.png"), 3, "does not exist"),
    ],
)
def test_mistakes_cost_no_loading_time(argv: tuple[str, ...], code: int, says: str) -> None:
    outcome = run("attribute", *argv)
    assert outcome.code == code and says in outcome.stderr and not outcome.loaded


def test_a_model_of_another_kind() -> None:
    outcome = run("attribute", "a.png", "What?", "-m", "dual", model=FakeDual())
    assert outcome.code == 2 and "cannot do attribute" in outcome.stderr
