"""What an answer rests on, for people and for programs."""

from __future__ import annotations

import io
import json

from tests.render import values
from vlmcli.render.forms.attribute import attribution_lines
from vlmcli.render.sink import Mode, make_sink
from vlmcli.render.terminal import Terminal
from vlmcli.types.attribute import METHODS, Attribution


def shown(result: Attribution, mode: Mode = "human") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    make_sink(mode, stdout=out, stderr=err).show(result)
    return out.getvalue(), err.getvalue()


def test_the_map_the_peak_the_areas_and_the_tokens() -> None:
    out, err = shown(values.attribution("a", " cat\n"))
    picture, said, table = out.split("\n\n")
    assert picture == "\n██"
    assert said.splitlines()[0] == "occlusion of the answer: strongest at row 1, column 0 of 2 x 2 (2)"
    assert said.splitlines()[1].startswith("deletion  0.100 (random order 0.400")
    assert table.splitlines()[2].split() == ["1", "·cat\\n", "50.00%", "+3.000", "+0.250", "-0.125"]
    assert "language model" not in err


def test_colour_is_for_terminals() -> None:
    lines = list(attribution_lines(values.attribution("a"), Terminal(colour=True)))
    assert "▀" in lines[0] and "\x1b[38;2;" in lines[0]
    assert "\x1b[" not in "".join(attribution_lines(values.attribution("a"), Terminal(colour=False)))


def test_an_answer_that_needed_no_image_is_told() -> None:
    assert "came from the language model" in shown(values.attribution("a", blank=0.01))[1]
    assert "lowered to 2" in shown(values.attribution("a", notes=("the batch size was lowered to 2",)))[1]


def test_json_has_the_documented_fields() -> None:
    out, _ = shown(values.attribution("a", " cat", grid=((float("nan"), 1 / 3),)), "json")
    written = json.loads(out)
    assert written["grid"] == [[None, 0.333333]]
    assert {"text", "method", "meaning", "of", "token", "peak", "reliance", "faithfulness", "tokens"} <= written.keys()
    assert {"schema_version", "model", "images", "usage", "timings_ms", "notes"} <= written.keys()
    assert written["token"] is None and written["method"] in METHODS
    scored = {"index", "token", "id", "logprob", "rank", "entropy", "bytes", "top_logprobs"}
    assert set(written["tokens"][1]) == {*scored, "reliance", "grid"}
    assert set(written["faithfulness"]) >= {"deletion", "insertion", "random_deletion", "random_insertion"}
    assert json.loads(shown(values.attribution("a", judged=False), "json")[0])["faithfulness"] is None


def test_jsonl_has_an_event_a_token() -> None:
    events = [json.loads(line) for line in shown(values.attribution("a", " cat"), "jsonl")[0].splitlines()]
    assert [event["type"] for event in events] == ["start", "token", "token", "done"]
