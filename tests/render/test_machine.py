"""The machine sinks: valid JSON with the documented fields, whatever the values are."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.render import values
from vlmcli.errors import ImageError
from vlmcli.render.record import Interrupted
from vlmcli.render.sink import make_sink
from vlmcli.types.ask import Answer, TokenEvent
from vlmcli.types.choose import Choices
from vlmcli.types.topk import Position

COMMON = {"schema_version", "model", "images", "usage", "timings_ms", "finish_reason"}


def strict(text: str) -> Any:
    """Parse as a strict reader does: bare NaN and Infinity are errors."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def one(verb: str, value: Any) -> dict[str, Any]:
    stdout = io.StringIO()
    getattr(make_sink("json", stdout=stdout, stderr=io.StringIO()), verb)(value)
    parsed = strict(stdout.getvalue())
    assert isinstance(parsed, dict)
    return parsed


def lines(verb: str, value: Any) -> list[dict[str, Any]]:
    stdout = io.StringIO()
    getattr(make_sink("jsonl", stdout=stdout, stderr=io.StringIO()), verb)(value)
    return [strict(line) for line in stdout.getvalue().splitlines()]


def test_ask_has_the_documented_fields() -> None:
    result = one("ask", values.events("A", " red"))
    assert set(result) == COMMON | {"text", "tokens"}
    assert result["text"] == "A red"
    assert result["model"] == {"id": "tiny", "revision": None, "dtype": "float32", "device": "cpu", "notes": []}
    assert result["images"][0] | {"notes": []} == {
        "source": "red.png",
        "sha256": "ab" * 32,
        "original": [640, 480],
        "resized": [96, 96],
        "tokens": 64,
        "notes": [],
    }
    assert result["usage"] == {"prompt_tokens": 70, "image_tokens": 64, "completion_tokens": 2}
    assert result["finish_reason"] == "stop"
    first = result["tokens"][0]
    assert (first["token"], first["id"], first["bytes"], first["top_logprobs"]) == ("A", 100, [65], [])
    assert first["logprob"] == pytest.approx(math.log(0.5))


def test_top_logprobs_are_in_the_openai_form() -> None:
    event = values.token(0, "日", (values.top("日", 0.5),))
    result = one("ask", iter([values.start(), event, with_tokens(event)]))
    (top,) = result["tokens"][0]["top_logprobs"]
    assert top["bytes"] == list("日".encode())
    assert top["token"] == "日"


def with_tokens(*tokens: TokenEvent) -> Answer:
    whole = values.answer()
    return Answer("日", tokens, "stop", whole.model, whole.images, whole.usage, {"decode": math.nan})


def test_numbers_that_json_lacks_become_null() -> None:
    impossible = values.token(0, "日", (values.top("x", 0.0),))
    result = one("ask", iter([values.start(), impossible, with_tokens(impossible)]))
    assert result["tokens"][0]["top_logprobs"][0]["logprob"] is None
    assert result["timings_ms"] == {"decode": None}


@pytest.mark.parametrize("nasty", ["\x9b31m", "\x1b[2J", "\udc80", "\x7f", 'quote " back \\ slash', "\u2028"])
def test_nasty_text_stays_json_and_harmless(nasty: str) -> None:
    stdout = io.StringIO()
    make_sink("jsonl", stdout=stdout, stderr=io.StringIO()).ask(values.events(nasty))
    written = stdout.getvalue()
    written.encode("utf-8")
    assert not [c for c in written if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    assert strict(written.split("\n")[1])["text"] == nasty.replace("\udc80", "\ufffd")


def test_an_ascii_stream_gets_ascii_json() -> None:
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, "ascii")
    make_sink("json", stdout=stdout, stderr=io.StringIO()).ask(values.events("日本"))
    assert strict(raw.getvalue().decode("ascii"))["text"] == "日本"


def test_numbers_stay_on_one_line_and_strings_as_they_are() -> None:
    stdout = io.StringIO()
    make_sink("json", stdout=stdout, stderr=io.StringIO()).ask(values.events("[\n  1,\n  2\n]"))
    assert strict(stdout.getvalue())["text"] == "[\n  1,\n  2\n]"
    assert '"original": [640, 480]' in stdout.getvalue()


def test_jsonl_streams_start_tokens_done() -> None:
    written = lines("ask", values.events("A", " red"))
    assert [line["type"] for line in written] == ["start", "token", "token", "done"]
    assert {line["schema_version"] for line in written} == {1}
    assert [line["text"] for line in written[1:3]] == ["A", " red"]
    assert written[1].keys() >= {"index", "token", "id", "logprob", "bytes", "top_logprobs"}


def test_the_last_line_is_what_json_writes() -> None:
    done = lines("ask", values.events("A"))[-1]
    assert done.pop("type") == "done"
    assert done == one("ask", values.events("A"))


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_ctrl_c_writes_the_partial_answer(mode: Any) -> None:
    stdout = io.StringIO()
    with pytest.raises(Interrupted):
        make_sink(mode, stdout=stdout, stderr=io.StringIO()).ask(values.interrupted_events("A", " red"))
    result = strict(stdout.getvalue() if mode == "json" else stdout.getvalue().splitlines()[-1])
    assert result["finish_reason"] == "interrupted"
    assert result["text"] == "A red"
    assert len(result["tokens"]) == result["usage"]["completion_tokens"] == 2


def test_topk_has_the_documented_fields() -> None:
    result = one("show", values.topk(values.position(0, "The", " dog"), values.position(1, " dog")))
    assert set(result) == COMMON | {"positions"}
    first, last = result["positions"]
    assert first.keys() >= {"index", "id", "token", "logprob", "rank", "entropy", "surprisal", "top"}
    assert (first["next_token"], first["rank"]) == (" dog", 2)
    assert (last["logprob"], last["rank"], last["surprisal"]) == (None, None, None)
    assert [top["token"] for top in last["top"]] == [" red", " blue"]


def test_topk_lines_are_positions() -> None:
    positions: list[Position] = [values.position(0, "a", "b"), values.position(1, "b")]
    written = lines("show", values.topk(*positions))
    assert [line["type"] for line in written] == ["start", "token", "token", "done"]
    assert [line["index"] for line in written[1:3]] == [0, 1]


def test_score_has_the_documented_fields() -> None:
    result = one("show", values.scored("a", " cat"))
    assert set(result) == COMMON | {"text", "tokens", "logprob", "per_byte", "size_bytes"}
    assert (result["text"], result["size_bytes"]) == ("a cat", 5)
    assert result["logprob"] == pytest.approx(2 * math.log(0.25)) == 5 * result["per_byte"]
    assert result["tokens"][1] == {
        "index": 1,
        "token": " cat",
        "id": 101,
        "logprob": pytest.approx(math.log(0.25)),
        "rank": 2,
        "entropy": 1.5,
        "surprisal": pytest.approx(math.log(4)),
        "bytes": list(b" cat"),
        "top_logprobs": [{"token": " red", "id": 7, "logprob": pytest.approx(math.log(0.75)), "bytes": list(b" red")}],
    }
    assert [line["type"] for line in lines("show", values.scored("a", " cat"))] == ["start", "token", "token", "done"]


@pytest.mark.parametrize("choices", [values.choices, values.verdict])
def test_choices_have_the_documented_fields(choices: Callable[..., Choices]) -> None:
    result = one("show", choices("no", "yes", "maybe", orders=2))
    assert set(result) == COMMON | {"answer", "mass", "mean", "choices"}
    assert (result["answer"], result["mass"], result["mean"]) == ("no", 0.9, None)
    assert result["choices"][0] == {
        "option": "no",
        "logprob": pytest.approx(math.log(0.45)),
        "per_token": pytest.approx(math.log(0.45)),
        "probability": 0.5,
        "normalized": 0.5,
        "tokens": 1,
        "by_order": [0.5, 0.5],
    }
    assert one("show", choices("1", "2"))["mean"] == 1.5
    assert [line["type"] for line in lines("show", choices("no", "yes"))] == ["start", "done"]


def test_zeroshot_has_the_documented_fields() -> None:
    result = one("show", values.zeroshot(sigmoid=False))
    assert set(result) == COMMON | {"scores"}
    assert result["scores"][0] == {
        "image": "image0.png",
        "label": "a cat",
        "logit": -2.0,
        "sigmoid": None,
        "softmax": 0.1,
    }
    assert [line["type"] for line in lines("show", values.zeroshot())] == ["start", "done"]


def test_classify_has_the_documented_fields() -> None:
    result = one("show", values.classification(scoring="sigmoid"))
    assert set(result) == COMMON | {"classes", "scores"}
    assert result["classes"] == 5
    assert result["scores"][0] == {
        "image": "image0.png",
        "id": 3,
        "label": "tench",
        "logit": 4.0,
        "sigmoid": 0.8,
        "softmax": None,
    }
    assert [line["type"] for line in lines("show", values.classification())] == ["start", "done"]


MADE = (values.embedding((0.1, 0.7)), values.SKIPPED, values.embedding((1.0, 0.0), "a cat"))
TOTALS = COMMON | {"file", "dimensions", "counts"}


def test_embed_has_the_documented_fields() -> None:
    result = one("embed", values.embed_events(*MADE))
    assert set(result) == TOTALS | {"embeddings", "skipped"}
    assert result["embeddings"][0] == {
        "kind": "image",
        "source": "red.png",
        "sha256": "ab" * 32,
        "size": [640, 480],
        "tokens": 64,
        "vector": [0.1, 0.7],
    }
    assert (result["embeddings"][1]["source"], result["embeddings"][1]["size"]) == ("a cat", None)
    error = {"type": "ImageError", "message": "bad.png is empty", "hint": "draw another"}
    assert result["skipped"] == [{"source": "bad.png", "error": error}]
    assert result["counts"] == {"images": 1, "texts": 1, "skipped": 1}
    assert (result["file"], result["dimensions"], len(result["images"])) == (None, 2, 1)


def test_embed_lines_come_as_the_vectors_do() -> None:
    written = lines("embed", values.embed_events(*MADE))
    assert [line["type"] for line in written] == ["start", "embedding", "skipped", "embedding", "done"]
    assert written[1]["vector"] == [0.1, 0.7]
    assert set(written[-1]) == TOTALS | {"type"}


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_what_a_file_keeps_is_not_written_twice(mode: Any) -> None:
    stdout = io.StringIO()
    make_sink(mode, stdout=stdout, stderr=io.StringIO()).embed(values.embed_events(*MADE), "kept.jsonl")
    assert "0.7" not in stdout.getvalue()
    last = strict(stdout.getvalue() if mode == "json" else stdout.getvalue().splitlines()[-1])
    assert (last["file"], last["counts"]["images"]) == ("kept.jsonl", 1)


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1.17549435e-38, 0.99999994, -0.010000001])
def test_nine_digits_bring_a_float32_back(number: float) -> None:
    (exact,) = struct.unpack("f", struct.pack("f", number))
    (written,) = lines("embed", values.embed_events(values.embedding((exact,))))[1]["vector"]
    assert struct.unpack("f", struct.pack("f", written)) == (exact,)


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_an_error_is_json_on_stdout_and_a_line_on_stderr(mode: Any) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    make_sink(mode, stdout=stdout, stderr=stderr).error(ImageError("no image", "give one"))
    result = strict(stdout.getvalue())
    assert result["error"] == {"type": "ImageError", "message": "no image", "hint": "give one"}
    assert result["schema_version"] == 1
    assert result.get("type") == ("error" if mode == "jsonl" else None)
    assert stderr.getvalue() == "error: no image (give one)\n"


def test_notes_stay_on_stderr() -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    make_sink("json", stdout=stdout, stderr=stderr).note("hello")
    assert (stdout.getvalue(), stderr.getvalue()) == ("", "hello\n")


def test_quiet_silences_the_notes_of_json() -> None:
    stderr = io.StringIO()
    quiet = make_sink("json", quiet=True, stdout=io.StringIO(), stderr=stderr)
    quiet.note("hello")
    quiet.ask(values.events("A"))
    assert stderr.getvalue() == ""
