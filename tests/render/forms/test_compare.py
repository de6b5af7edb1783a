"""Two sides beside each other."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from tests.render import values
from vlmcli.render.forms.compare import compare_tables, compared_object
from vlmcli.render.sink import make_sink
from vlmcli.render.terminal import Terminal

PLAIN = Terminal()


def test_the_sides_their_sums_and_their_positions() -> None:
    sides, answer, prompt = compare_tables(values.compared(), PLAIN)
    rows = {row[0]: row[1:] for row in sides.rows}
    assert rows["dtype"] == ("float32", "bfloat16") and rows["its greedy answer"] == ("red circle", "red square")
    assert rows["a byte"] == ("-0.1260", "-0.1890")
    assert sides.notes == (
        "3 positions of text: mean KL divergence inf nats, same likeliest token at 66.67%",
        "the greedy answers part at token 1: ·circle / -",
    )
    assert [row[0] for row in answer.rows] == ["2", "3"] and [row[0] for row in prompt.rows] == ["0"]
    assert prompt.rows[0][6:] == ("·is", "·was") and answer.rows[0][6:] == ("·red", "")
    assert answer.rows[1][2:6] == ("-", "0", "-", "-")


def test_a_little_divergence_does_not_look_like_none() -> None:
    positions = tuple(replace(values.compared().positions[3], kl=kl) for kl in (0.0, 1e-9, 0.00123))
    _, answer = compare_tables(replace(values.compared(), positions=positions), PLAIN)
    assert [row[3] for row in answer.rows] == ["0", "<0.0001", "0.0012"]


def test_other_tokenizers_have_no_positions() -> None:
    (sides,) = compare_tables(values.compared(same_tokenizer=False), PLAIN)
    assert sides.notes == ("the tokenizers differ",)


def test_the_object_has_no_bare_infinity() -> None:
    made = json.loads(json.dumps(compared_object(values.compared()), allow_nan=False))
    assert made["mean_kl"] is None and made["positions"][2]["kl"] is None
    assert made["positions"][2]["logprobs"] == [-0.5, None] and made["positions"][0]["agrees"] is False
    assert made["divergence"] == {"index": 1, "tokens": [" circle", None]}
    assert [side["model"]["dtype"] for side in made["sides"]] == ["float32", "bfloat16"]
    assert compared_object(values.compared(same_tokenizer=False))["divergence"] is None


@pytest.mark.parametrize("mode", ["human", "json", "jsonl"])
def test_every_sink_shows_it(mode: str) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    make_sink(mode, verbose=True, stdout=stdout, stderr=stderr).show(values.compared())  # type: ignore[arg-type]
    assert "red circle" in stdout.getvalue() and stderr.getvalue().count("model   tiny") == 2
    if mode == "jsonl":
        assert [json.loads(line)["type"] for line in stdout.getvalue().splitlines()] == [*["position"] * 4, "done"]
