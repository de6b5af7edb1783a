"""vlm draw: what it hands on, what it refuses before a model is loaded, and which files it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import FakeDual, FakeModel, InterruptedPainter, run
from vlmcli.types.draw import Brush

pytestmark = pytest.mark.usefixtures("here")

TO = ("-o", "fox.png", "-m", "tiny")


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if "fox" in path.name}


def test_everything_is_passed_on() -> None:
    model = FakeModel()
    options = ["--size", "16:9", "--negative", "blurry", "--guidance", "4", "--top-k", "9", "--top-p", "0.9"]
    options += ["--min-p", "0.1", "--temperature", "0.7", "--seed", "3", "--count", "2", "--batch-size", "2"]
    outcome = run("draw", "a red fox", *options, *TO, model=model)
    brush = Brush(4.0, 0.7, 0.9, 9, 0.1, 3)
    how = {"count": 2, "size": "16:9", "negative": "blurry", "brush": brush, "batch_size": 2}
    assert model.calls == [("draw", ("a red fox",), how)]
    assert outcome.code == 0


def test_one_image_is_one_file() -> None:
    outcome = run("draw", "a red fox", *TO)
    assert outcome.stdout == "fox.png: 16x16, seed 7, 4 tokens of 50.00% each\n"
    assert outcome.stderr == "", "a progress bar off a terminal"
    assert files() == {"fox.png": b"PNG of image 0"}


def test_several_are_numbered() -> None:
    outcome = run("draw", "a red fox", "--count", "10", *TO)
    assert sorted(files()) == [f"fox-{number:02}.png" for number in range(1, 11)]
    assert files()["fox-02.png"] == b"PNG of image 1"
    assert outcome.stdout.splitlines()[9].startswith("fox-10.png: 16x16, seed 16")


def test_the_prompt_may_come_through_a_pipe() -> None:
    model = FakeModel()
    Path("words.txt").write_text("a red fox\n")
    with Path("words.txt").open("rb") as stdin:
        run("draw", *TO, model=model, stdin=stdin)
    assert model.calls[0][1] == ("a red fox",)


def test_an_existing_file_is_kept_unless_forced() -> None:
    Path("fox.png").write_bytes(b"mine")
    outcome = run("draw", "a red fox", *TO)
    assert outcome.code == 3 and "fox.png exists already (" in outcome.stderr and "--force" in outcome.stderr
    assert not outcome.loaded and files() == {"fox.png": b"mine"}
    assert run("draw", "a red fox", "--force", *TO).code == 0
    assert files() == {"fox.png": b"PNG of image 0"}


def test_ctrl_c_leaves_what_is_finished_and_no_half_file() -> None:
    outcome = run("draw", "a red fox", "--count", "3", *TO, model=InterruptedPainter())
    assert outcome.code == 130
    assert files() == {"fox-1.png": b"PNG of image 0"}
    assert outcome.stdout == "fox-1.png: 16x16, seed 7, 4 tokens of 50.00% each\n"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("a red fox",), 2, "no file for the image"),
        (("-o", "fox.png"), 2, "no prompt"),
        (("", "-o", "fox.png"), 2, "the prompt is empty"),
        (("a", "red", "fox", "-o", "fox.png"), 2, "put it in quotes: 'a red fox'"),
        (("a red fox", "-o", "fox.jpg"), 2, "does not end in .png"),
        (("a red fox", "-o", "nowhere/fox.png"), 3, "its folder does not exist"),
        (("a red fox", "-o", "fox.png", "--count", "0"), 2, "at least 1"),
        (("a red fox", "-o", "fox.png", "--guidance", "nan"), 2, "at least 0"),
    ],
)
def test_refused_before_a_model_is_loaded(argv: tuple[str, ...], code: int, words: str) -> None:
    outcome = run("draw", *argv, "-m", "tiny")
    assert (outcome.code, outcome.loaded) == (code, []) and words in outcome.stderr
    assert not files()


def test_the_default_model_and_models_that_cannot() -> None:
    outcome = run("draw", "a red star", "-o", "star.png")
    assert outcome.code == 0 and outcome.loaded[0]["kind"] == "painter"
    outcome = run("draw", "a red fox", *TO, model=FakeDual())
    assert outcome.code == 2 and "cannot do draw" in outcome.stderr


def test_json() -> None:
    outcome = run("draw", "a red fox", "--count", "2", "--json", *TO)
    written = json.loads(outcome.stdout)
    assert written["prompt"] == "a red fox" and written["guidance"] == 5 and written["tokens_per_image"] == 4
    assert written["usage"] == {"prompt_tokens": 9, "image_tokens": 0, "completion_tokens": 8}
    assert [(drawn["file"], drawn["seed"]) for drawn in written["drawings"]] == [("fox-1.png", 7), ("fox-2.png", 8)]
    assert written["drawings"][1]["ids"] == [10, 11, 12, 13]


def test_jsonl() -> None:
    events: list[dict[str, Any]] = [
        json.loads(line) for line in run("draw", "a red fox", "--jsonl", *TO).stdout.splitlines()
    ]
    assert [event["type"] for event in events] == ["start", *["token"] * 4, "drawn", "done"]
    assert events[0]["seed"] == 7 and events[2]["index"] == 1 and events[5]["file"] == "fox.png"
