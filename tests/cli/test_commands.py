"""The commands hand the model what was typed, and the sink what it answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import FakeDual, FakeModel, run
from vlmcli.catalog import Catalog
from vlmcli.types import Sampling

pytestmark = pytest.mark.usefixtures("here")


def asked(model: FakeModel | FakeDual) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    (call,) = model.calls
    return call


def test_ask_streams_the_answer_alone() -> None:
    outcome = run("ask", "a.png", "What is it?", "-m", "tiny")
    assert (outcome.code, outcome.stdout) == (0, "A red circle.\n")
    assert outcome.stderr == "red.png: first frame of 12\n"


def test_ask_passes_everything_on() -> None:
    model = FakeModel()
    run(
        *("ask", "a.png", "b.png", "What?", "--system", "Brief.", "-m", "tiny", "--json"),
        *("--max-tokens", "9", "--temperature", "0.5", "--top-p", "0.9", "--top-k", "40", "--min-p", "0.05"),
        *("--repetition-penalty", "1.1", "--seed", "3", "--stop", "a", "--stop", "b", "--top-logprobs", "2"),
        model=model,
    )
    sampling = Sampling(9, 0.5, 0.9, 40, 0.05, 1.1, 3, ("a", "b"), 2)
    assert asked(model) == (
        "ask",
        (("a.png", "b.png"), "What?"),
        {"system": "Brief.", "sampling": sampling, "raw": False},
    )


def test_ask_is_greedy_by_default() -> None:
    model = FakeModel()
    run("ask", "What?", "-q", model=model)
    assert asked(model)[2]["sampling"] == Sampling()


def test_ask_describes_a_lone_image() -> None:
    model = FakeModel()
    run("ask", "a.png", "-q", model=model)
    assert asked(model)[1] == (("a.png",), "Describe the image.")


def test_a_missing_image_is_noticed_before_the_model_is_loaded() -> None:
    outcome = run("ask", "missing.jpg", "What?")
    assert (outcome.code, outcome.loaded) == (3, [])


def test_options_without_effect_are_named() -> None:
    outcome = run("ask", "What?", "-m", "tiny", "--top-p", "0.5", "--seed", "1")
    assert "--top-p, --seed without effect" in outcome.stderr


def test_model_options_are_handed_to_the_loader() -> None:
    outcome = run(
        *("ask", "What?", "-m", "tiny", "--device", "cuda:1", "--dtype", "bfloat16", "--threads", "2"),
        *("--max-pixels", "2M", "--allow-private-urls"),
    )
    assert outcome.loaded == [
        {
            "kind": "vlm",
            "progress": False,
            "model": "tiny",
            "device": "cuda:1",
            "dtype": "bfloat16",
            "threads": 2,
            "max_pixels": 2_000_000,
            "allow_private_urls": True,
        }
    ]


def test_settings_come_from_the_environment_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config" / "config.toml").write_text('model = "from-file"\ndevice = "mps"\ndtype = "float16"\n')
    monkeypatch.setenv("VLM_DEVICE", "cpu")
    (settled,) = run("ask", "What?", "--dtype", "float32").loaded
    assert (settled["model"], settled["device"], settled["dtype"]) == ("from-file", "cpu", "float32")


def test_a_bad_setting_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_THREADS", "many")
    outcome = run("ask", "What?")
    assert outcome.code == 2
    assert "VLM_THREADS" in outcome.stderr


@pytest.mark.parametrize(
    ("argv", "kind"), [(("ask", "a.png"), "vlm"), (("topk", "The"), "vlm"), (("zeroshot", "a.png", "cat"), "dual")]
)
def test_the_default_model_introduces_itself_once(argv: tuple[str, ...], kind: str) -> None:
    model: Any = FakeDual() if kind == "dual" else FakeModel()
    default = Catalog.load().default(kind)
    for mode in ((), ("--json",)):
        introduced = [line for line in run(*argv, *mode, model=model).stderr.splitlines() if default.name in line]
        assert len(introduced) == 1
        assert default.description.rstrip(".") in introduced[0]
        assert "-m " in introduced[0]
    assert default.name not in run(*argv, "-q", model=model).stderr
    assert default.name not in run(*argv, "-m", "tiny", model=model).stderr


def test_topk_passes_everything_on() -> None:
    model = FakeModel()
    outcome = run("topk", "a.png", "The photo ", "-k", "3", "--at", "-2", "--expand-images", "--raw", model=model)
    options = {"k": 3, "at": -2, "system": None, "raw": True, "expand_images": True}
    assert asked(model) == ("topk", (("a.png",), "The photo "), options)
    assert "·red" in outcome.stdout


def test_zeroshot_passes_everything_on(here: Path) -> None:
    (here / "labels.txt").write_text("a bird\n\n a fish \n", encoding="utf-8")
    dual = FakeDual()
    outcome = run(
        *("zeroshot", "a.png", "b.png", "a cat", "--label", "a dog", "--labels", "labels.txt"),
        *("--template", "a photo of {}"),
        model=dual,
    )
    labels = ("a cat", "a dog", "a bird", "a fish")
    assert asked(dual) == ("zeroshot", (("a.png", "b.png"), labels), {"template": "a photo of {}"})
    assert outcome.loaded[0]["kind"] == "dual"
    assert "softmax" in outcome.stdout


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_a_bad_file_of_labels_is_bad_input(here: Path, content: bytes | None) -> None:
    if content is not None:
        (here / "labels.txt").write_bytes(content)
    outcome = run("zeroshot", "a.png", "--labels", "labels.txt", model=FakeDual())
    assert outcome.code == 3
    assert "labels.txt" in outcome.stderr


@pytest.mark.parametrize(
    ("argv", "model"),
    [(("ask", "a.png"), FakeDual()), (("topk", "The"), FakeDual()), (("zeroshot", "a.png", "cat"), FakeModel())],
)
def test_a_model_of_the_other_kind_is_a_usage_error(argv: tuple[str, ...], model: Any) -> None:
    outcome = run(*argv, "-m", "tiny", model=model)
    assert outcome.code == 2
    assert f"cannot do {argv[0]}" in outcome.stderr


def test_piped_text_goes_before_the_prompt(here: Path) -> None:
    (here / "text").write_text("some text\n")
    model = FakeModel()
    with (here / "text").open("rb") as stdin:
        run("ask", "Summarise.", model=model, stdin=stdin)
    assert asked(model)[1] == ((), "some text\nSummarise.")


def test_piped_text_alone_is_the_prompt(here: Path) -> None:
    (here / "text").write_text("What is it?\n")
    model = FakeModel()
    with (here / "text").open("rb") as stdin:
        run("ask", "a.png", model=model, stdin=stdin)
    assert asked(model)[1] == (("a.png",), "What is it?")


def test_an_image_on_stdin_is_not_read_as_text(here: Path) -> None:
    model = FakeModel()
    with (here / "a.png").open("rb") as stdin:
        run("ask", "-", "What?", model=model, stdin=stdin)
        assert stdin.tell() == 0
    assert asked(model)[1] == (("-",), "What?")


def test_a_silent_pipe_is_mentioned_where_it_might_have_mattered() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin:
        assert "standard input" in run("ask", "Summarise.", "-m", "tiny", stdin=stdin).stderr
        assert "standard input" not in run("ask", "a.png", "What?", "-m", "tiny", stdin=stdin).stderr
    os.close(writing)


def test_models_lists_the_catalogue() -> None:
    specs = Catalog.load().specs()
    listed = run("models").stdout
    assert listed == run("models", "list").stdout
    assert [spec.name for spec in specs if spec.name not in listed] == []
    objects = json.loads(run("models", "--json").stdout)["models"]
    assert [model["name"] for model in objects] == [spec.name for spec in specs]
    assert json.loads(run("models", "--json", "list").stdout)["models"] == objects
    assert {model["name"] for model in objects if model["default"]} == {
        Catalog.load().default(kind).name for kind in ("vlm", "dual")
    }


def test_models_knows_the_users_own(tmp_path: Path) -> None:
    own = '[models.mine]\nkind = "vlm"\nsource = "path:weights"\n'
    (tmp_path / "config" / "models.toml").write_text(own)
    shown = json.loads(run("models", "show", "mine", "--json").stdout)
    assert (shown["name"], shown["defined_in"], shown["kind"]) == ("mine", "user", "vlm")


def test_models_show_says_what_the_catalogue_says() -> None:
    default = Catalog.load().default("vlm")
    shown = run("models", "show", default.name)
    assert shown.code == 0
    assert default.source in shown.stdout


def test_an_unknown_name_gets_its_nearest() -> None:
    name = Catalog.load().default("vlm").name
    outcome = run("models", "show", name[:-1] + "x")
    assert outcome.code == 4
    assert name in outcome.stderr
