"""The commands hand the model what was typed, and the sink what it answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import FakeClassifier, FakeDual, FakeModel, run
from vlmcli.catalog import Catalog
from vlmcli.cli.kinds import fitting
from vlmcli.inputs.embeddings.kept import Kept
from vlmcli.types.chat import Sampling

pytestmark = pytest.mark.usefixtures("here")


def asked(model: FakeModel | FakeDual | FakeClassifier) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
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
        *("--quantize", "int8", "--max-pixels", "2M", "--allow-private-urls"),
    )
    assert outcome.loaded == [
        {
            "kind": "vlm",
            "progress": False,
            "model": "tiny",
            "device": "cuda:1",
            "dtype": "bfloat16",
            "quantize": "int8",
            "threads": 2,
            "max_pixels": 2_000_000,
            "allow_private_urls": True,
            "cache": True,
        }
    ]


@pytest.mark.parametrize("command", ["ask", "topk"])
def test_no_cache_is_handed_to_the_loader(command: str) -> None:
    assert [run(command, "What?", *flag).loaded[0]["cache"] for flag in ((), ("--no-cache",))] == [True, False]


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
    ("argv", "kind"),
    [
        (("ask", "a.png"), "vlm"),
        (("topk", "The"), "vlm"),
        (("zeroshot", "a.png", "cat"), "dual"),
        (("embed", "a.png"), "dual"),
        (("draw", "a red star", "-o", "star.png", "--force"), "painter"),
    ],
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
    how = {"k": 3, "at": -2, "system": None, "raw": True, "expand_images": True}
    assert asked(model) == ("topk", (("a.png",), "The photo "), how)
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
    [
        (("ask", "a.png"), FakeDual()),
        (("topk", "The"), FakeDual()),
        (("zeroshot", "a.png", "cat"), FakeModel()),
        (("embed", "a.png"), FakeClassifier()),
        (("classify", "a.png"), FakeDual()),
    ],
)
def test_a_model_of_the_other_kind_is_a_usage_error(argv: tuple[str, ...], model: Any) -> None:
    outcome = run(*argv, "-m", "tiny", model=model)
    assert outcome.code == 2
    assert f"cannot do {argv[0]}" in outcome.stderr
    able = fitting(model)
    assert " and ".join(f"vlm {verb}" for verb in able) in outcome.stderr


def test_embed_passes_everything_on(here: Path) -> None:
    (here / "texts.txt").write_text("a bird\n\n", encoding="utf-8")
    (here / "images.txt").write_text("b.png\nmissing.png\n", encoding="utf-8")
    dual = FakeDual()
    outcome = run(
        *("embed", "a cat", "a.png", "--text", "c.png", "--texts", "texts.txt", "--images", "images.txt"),
        *("--batch-size", "3"),
        model=dual,
    )
    images, texts = ("b.png", "missing.png", "a.png"), ("c.png", "a bird", "a cat")
    assert asked(dual) == ("embed", (images, texts), {"batch_size": 3})
    assert outcome.code == 0 and outcome.loaded[0]["kind"] == "dual"
    assert "cosine" in outcome.stdout


@pytest.mark.parametrize("mode", [(), ("--json",), ("--jsonl",)])
def test_embed_says_that_a_part_failed(mode: tuple[str, ...]) -> None:
    """Exit code 6, one line for the image that was skipped, and one JSON object for a program."""
    outcome = run("embed", "a.png", "--image", "bad.png", "-m", "tiny", *mode, model=FakeDual())
    assert outcome.code == 6
    assert outcome.stderr.splitlines()[-1] == "skipped: bad.png is empty (draw another)"
    if mode == ("--json",):
        assert json.loads(outcome.stdout)["counts"] == {"images": 1, "texts": 0, "skipped": 1}


@pytest.mark.parametrize("ending", [".safetensors", ".jsonl"])
def test_embed_keeps_and_zeroshot_opens(here: Path, ending: str) -> None:
    outcome = run("embed", "a.png", "b.png", "a cat", "-o", f"kept{ending}", "-m", "tiny", model=FakeDual())
    assert outcome.code == 0 and outcome.stdout.startswith(f"kept{ending}: ")
    dual = FakeDual()
    outcome = run("zeroshot", "--embeddings", f"kept{ending}", "a cat", "a.b", "-m", "tiny", model=dual)
    assert outcome.code == 0, outcome.stderr
    assert asked(dual)[1] == (Kept(Path(f"kept{ending}"), dual.info), ("a cat", "a.b"))


def test_what_jsonl_prints_is_a_file_too(here: Path) -> None:
    printed = run("embed", "a.png", "a cat", "--jsonl", "-m", "tiny", model=FakeDual()).stdout
    (here / "kept.jsonl").write_text(printed, encoding="utf-8")
    ((info, vector),) = Kept.open(here / "kept.jsonl").images()
    assert info.source == "red.png" and vector.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("embed", "a.png", "-o", "kept.npy"), 2, ".safetensors"),
        (("embed", "a.png", "-o", "no/kept.jsonl"), 3, "folder"),
        (("embed", "a.png", "-o", "there.jsonl"), 3, "there.jsonl exists already"),
        (("embed", "a.png", "--texts", "missing.txt"), 3, "cannot read the texts"),
        (("embed", "missing.png"), 3, "no such file: missing.png"),
        (("zeroshot", "--embeddings", "missing.jsonl", "a cat"), 3, "missing.jsonl"),
        (("zeroshot", "--embeddings", "a.jsonl", "a.png", "a cat"), 2, "beside --embeddings"),
        (("zeroshot", "--embeddings", "a.jsonl", "a cat", "--image", "a.png"), 2, "exclude each other"),
        (("zeroshot", "--embeddings", "a.jsonl"), 2, "no label"),
        (("classify", "missing.png"), 3, "no such file: missing.png"),
    ],
)
def test_what_cannot_work_is_noticed_before_a_model_is_loaded(argv: tuple[str, ...], code: int, said: str) -> None:
    Path("there.jsonl").touch()
    outcome = run(*argv, model=FakeDual())
    assert (outcome.code, outcome.loaded, outcome.stdout) == (code, [], "")
    assert said in outcome.stderr and outcome.stderr.count("\n") == 1


def test_classify_passes_everything_on() -> None:
    classifier = FakeClassifier()
    outcome = run("classify", "a.png", "b.png", "-k", "2", "-m", "tiny", model=classifier)
    assert asked(classifier) == ("classify", (("a.png", "b.png"),), {"k": 2})
    assert outcome.loaded[0]["kind"] == "classifier"
    assert "tench" in outcome.stdout


def test_classify_without_a_model_says_which_would_do() -> None:
    outcome = run("classify", "a.png", model=FakeClassifier())
    assert (outcome.code, outcome.loaded) == (2, [])
    for spec in Catalog.load().specs():
        assert spec.kind != "classifier" or spec.name in outcome.stderr


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
        Catalog.load().default(kind).name for kind in ("vlm", "dual", "detector", "segmenter", "painter")
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
