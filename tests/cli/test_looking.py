"""vlm trace, lens, knockout and compare: what they hand on, and what they refuse before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import FakeDual, FakeModel, run

pytestmark = pytest.mark.usefixtures("here")

HOW = {"system": None, "raw": False}


def test_trace_passes_everything_on(here: Path) -> None:
    model = FakeModel()
    outcome = run("trace", "a.png", "What?", "--max-tokens", "3", "--dump", "s.safetensors", "--force", model=model)
    wanted = {"max_tokens": 3, "dump": Path("s.safetensors"), "force": True, **HOW}
    assert model.calls == [("trace", (("a.png",), "What?"), wanted)]
    assert outcome.code == 0 and "sequence 1 x 24 x 32" in outcome.stdout and "s.safetensors" in outcome.stderr


def test_lens_passes_everything_on() -> None:
    model = FakeModel()
    argv = ("--at", "image", "--layers", "0,4-6", "-k", "2", "--nearest", "3", "--system", "Brief.")
    outcome = run("lens", "a.png", "What?", *argv, model=model)
    wanted = {"at": "image", "layers": (0, 4, 5, 6), "k": 2, "nearest": 3, "system": "Brief.", "raw": False}
    assert model.calls == [("lens", (("a.png",), "What?"), wanted)]
    assert outcome.code == 0 and "·crimson" in outcome.stdout and "[#" not in outcome.stderr


def test_knockout_passes_everything_on() -> None:
    model = FakeModel()
    argv = ("-a", "red", "--box", "10,20,30.5,40", "--window", "2", "--stride", "3")
    outcome = run("knockout", "a.png", "What?", *argv, model=model)
    wanted = {"box": (10.0, 20.0, 30.5, 40.0), "window": 2, "stride": 3, **HOW}
    assert model.calls == [("knockout", (("a.png",), "What?", "red"), wanted)]
    assert outcome.code == 0 and "without a look" in outcome.stdout


def test_compare_passes_everything_on() -> None:
    argv = ("--with-model", "other", "--with-dtype", "bfloat16", "--with-image", "b.png", "--with-prompt", "Why?")
    more = ("-a", "red", "--answer-only", "--max-tokens", "5", "--raw", "-m", "tiny", "--dtype", "float32")
    outcome = run("compare", "a.png", "What?", *argv, *more)
    (asked, options), *others = outcome.compared
    assert others == [] and asked == (("a.png",), "What?", "red")
    wanted: dict[str, Any] = {"other_model": "other", "other_dtype": "bfloat16", "other_images": ("b.png",)}
    wanted |= {"other_prompt": "Why?", "answer_only": True, "max_tokens": 5, "system": None, "raw": True}
    wanted |= {"model": "tiny", "dtype": "float32", "device": "auto", "cache": True, "progress": False}
    assert wanted.items() <= options.items() and callable(options["loader"])
    assert outcome.code == 0 and "the greedy answers part at token 1" in outcome.stdout


def test_the_default_model_of_compare_is_named() -> None:
    assert "using " in run("compare", "a.png", "What?", "--with-dtype", "bfloat16").stderr


@pytest.mark.parametrize("verb", ["trace", "lens", "knockout"])
def test_json_and_jsonl(verb: str) -> None:
    assert json.loads(run(verb, "a.png", "What?", "--json").stdout)["schema_version"] == 1
    lines = run(verb, "a.png", "What?", "--jsonl").stdout.splitlines()
    assert json.loads(lines[0])["type"] == "start" and json.loads(lines[-1])["type"] == "done"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("trace", "a.png"), 2, "no prompt"),
        (("trace", "missing.jpg", "What?"), 3, "no such file"),
        (("trace", "a.png", "What?", "--dump", "a.png"), 2, ".safetensors"),
        (("trace", "a.png", "What?", "--dump", "there.safetensors"), 3, "exists already"),
        (("trace", "a.png", "What?", "--max-tokens", "0"), 2, "at least 1"),
        (("lens", "a.png", "What?", "--at", "nowhere"), 2, "--at"),
        (("lens", "a.png", "What?", "--layers", "4-2"), 2, "--layers"),
        (("lens", "a.png", "What?", "--layers", "first"), 2, "--layers"),
        (("lens", "a.png", "What?", "-k", "0"), 2, "at least 1"),
        (("knockout", "a.png", "What?", "--box", "1,2,3"), 2, "--box"),
        (("knockout", "a.png", "What?", "--box", "5,5,5,9"), 2, "--box"),
        (("knockout", "a.png", "What?", "--box", "nan,0,5,9"), 2, "--box"),
        (("knockout", "a.png", "What?", "--window", "0"), 2, "at least 1"),
        (("knockout", "a.png", "What?", "-a", ""), 2, "the answer is empty"),
        (("compare", "a.png", "What?"), 2, "nothing to compare with"),
        (("compare", "a.png", "--with-dtype", "bfloat16"), 2, "no prompt"),
        (("compare", "a.png", "What?", "--with-dtype", "int3"), 2, "no such dtype"),
        (("compare", "a.png", "What?", "--with-image", "missing.jpg"), 3, "no such file"),
        (("compare", "a.png", "What?", "--with-prompt", "Why?", "-a", ""), 2, "the answer is empty"),
    ],
)
def test_what_cannot_work_is_noticed_before_a_model_is_loaded(
    here: Path, argv: tuple[str, ...], code: int, said: str
) -> None:
    (here / "there.safetensors").write_text("mine")
    outcome = run(*argv)
    assert (outcome.code, outcome.loaded, outcome.compared, outcome.stdout) == (code, [], [], "")
    assert said in outcome.stderr


@pytest.mark.parametrize("verb", ["trace", "lens", "knockout"])
def test_a_model_of_another_kind_cannot(verb: str) -> None:
    assert run(verb, "a.png", "What?", "-m", "tiny", model=FakeDual()).code == 2
