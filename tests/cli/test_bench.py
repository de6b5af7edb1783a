"""vlm bench: what it hands on, and what a person and a program read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.fakes import FakeDual, FakeModel, run
from tests.render import values
from vlmcli.types.bench import Measured, Speed

pytestmark = pytest.mark.usefixtures("here")


class Runner(FakeModel):
    """Takes the same time for everything."""

    def bench(self, images: Any, **options: Any) -> Speed:
        self.calls.append(("bench", (images,), options))
        parts = (Measured("prefill", (10.0, 30.0, 20.0), 100), Measured("decode", (500.0, 500.0, 500.0), 10))
        return Speed(parts, 2, values.MODEL, (), values.topk().usage)


def test_everything_is_handed_on() -> None:
    model = Runner()
    outcome = run("bench", "a.png", "--rounds", "5", "--tokens", "8", "-m", "tiny", model=model)
    assert outcome.code == 0, outcome.stderr
    assert model.calls[-1] == ("bench", (("a.png",),), {"rounds": 5, "tokens": 8})


def test_a_person_reads_a_row_for_each_part() -> None:
    lines = run("bench", "-m", "tiny", model=Runner()).stdout.splitlines()
    assert lines[0].split() == ["part", "min", "ms", "median", "ms", "max", "ms", "tokens/s"]
    assert lines[1].split() == ["prefill", "10.0", "20.0", "30.0", "5000.0"]
    assert lines[2].split() == ["decode", "500.0", "500.0", "500.0", "20.0"]


def test_a_program_reads_every_round() -> None:
    result = json.loads(run("bench", "--json", "-m", "tiny", model=Runner()).stdout)
    assert result["threads"] == 2
    assert result["measured"][0] == {
        "name": "prefill",
        "ms": [10.0, 30.0, 20.0],
        "median_ms": 20.0,
        "positions": 100,
        "per_second": 5000.0,
    }


def test_what_makes_no_sense_is_refused() -> None:
    assert run("bench", "missing.png", model=Runner()).code == 3
    assert run("bench", "--rounds", "0", model=Runner()).code == 2
    assert run("bench", "-m", "tiny", model=FakeDual()).code == 2


def test_a_device_map_is_handed_to_the_loader() -> None:
    assert run("bench", "--device-map", "auto", model=Runner()).loaded[0]["device_map"] == "auto"
    assert "device_map" not in run("bench", model=Runner()).loaded[0]
    for wrong in (("--device-map", "balanced"), ("--device-map", "auto", "--device", "cpu")):
        assert run("bench", *wrong, model=Runner()).code == 2
