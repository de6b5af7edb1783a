"""--html FILE: what the command shows stays the same, and a page lies in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.fakes import FakeClassifier, FakeDetector, FakeDual, FakeModel, FakeSegmenter, InterruptedModel, run

COMMANDS = (
    ("ask", "real.png", "What is it?"),
    ("topk", "real.png", "It is"),
    ("score", "real.png", "What is it?", "--answer", "a cat"),
    ("choose", "real.png", "What is it?", "--yes-no"),
    ("check", "real.png", "Is it red?"),
    ("attribute", "real.png", "What is it?"),
    ("trace", "real.png", "What is it?"),
    ("lens", "real.png", "What is it?"),
    ("knockout", "real.png", "What is it?"),
    ("compare", "real.png", "What is it?", "--with-dtype", "bfloat16"),
)
every_command = pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])


@pytest.fixture(autouse=True)
def _image(here: Path) -> None:
    Image.new("RGB", (40, 30), (200, 30, 30)).save("real.png")


@every_command
@pytest.mark.parametrize("mode", [(), ("--json",), ("--jsonl",)])
def test_a_page_comes_beside_what_is_shown_anyway(command: tuple[str, ...], mode: tuple[str, ...]) -> None:
    plain = run(*command, *mode, "-m", "tiny")
    paged = run(*command, *mode, "-m", "tiny", "--html", "page.html")
    assert (paged.code, paged.stdout) == (plain.code, plain.stdout)
    assert paged.stderr == f"{plain.stderr}the page is page.html\n"
    page = Path("page.html").read_text()
    assert f"vlm {command[0]}" in page and command[2] in page and 'src="data:image/png;base64,' in page


@every_command
def test_a_file_that_is_there_is_kept_unless_forced(command: tuple[str, ...]) -> None:
    Path("page.html").write_text("mine")
    outcome = run(*command, "-m", "tiny", "--html", "page.html")
    assert (outcome.code, outcome.loaded, outcome.stdout) == (3, [], "")
    assert outcome.stderr == "error: page.html exists already (give another name, or replace it with --force)\n"
    assert Path("page.html").read_text() == "mine"
    run(*command, "-m", "tiny", "--html", "page.html", "--force")
    assert Path("page.html").read_text().startswith("<!doctype html>")


@every_command
@pytest.mark.parametrize(("file", "code"), [("no/page.html", 3), ("page.png", 2), ("a.png", 2), ("/dev/null", 2)])
def test_where_no_page_can_be_written_is_known_before_a_model_is_loaded(
    command: tuple[str, ...], file: str, code: int
) -> None:
    outcome = run(*command, "-m", "tiny", "--html", file, "--force")
    assert (outcome.code, outcome.loaded) == (code, []) and outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "command"),
    [
        (FakeDual(), ("zeroshot", "real.png", "a cat", "a dog")),
        (FakeClassifier(), ("classify", "real.png")),
        (FakeDetector(), ("detect", "real.png", "a cat")),
        (FakeSegmenter(), ("segment", "real.png", "--everything")),
    ],
)
def test_other_kinds_of_model_have_pages(model: object, command: tuple[str, ...]) -> None:
    outcome = run(*command, "-m", "tiny", "--html", "page.html", model=model)
    assert outcome.code == 0 and 'src="data:image/png' in Path("page.html").read_text()
    again = run(*command, "-m", "tiny", "--html", "page.html", model=model)
    assert (again.code, again.loaded) == (3, [])


def test_kept_vectors_have_a_page_without_pictures() -> None:
    run("embed", "real.png", "-o", "kept.jsonl", "-m", "tiny", model=FakeDual())
    command = ("zeroshot", "--embeddings", "kept.jsonl", "a cat", "-m", "tiny", "--html", "page.html")
    assert run(*command, model=FakeDual()).code == 0
    assert "<img" not in Path("page.html").read_text()


def test_the_model_gets_the_image_that_the_page_shows_read_once() -> None:
    model = FakeModel()
    run("score", "real.png", "What?", "--answer", "a", "--html", "page.html", model=model)
    [(_, (images, _, _), _)] = model.calls
    assert [image.info.source for image in images] == ["real.png"]


def test_an_image_that_cannot_be_read_leaves_no_page() -> None:
    outcome = run("topk", "a.png", "What?", "-m", "tiny", "--html", "page.html")
    assert outcome.code == 3 and not Path("page.html").exists()


def test_a_page_of_an_answer_has_alternatives() -> None:
    for given, wanted in ((("--html", "page.html"), 5), (("--html", "b.html", "--top-logprobs", "0"), 0), ((), 0)):
        model = FakeModel()
        run("ask", "real.png", "What?", "-m", "tiny", *given, model=model)
        assert model.calls[0][2]["sampling"].top_logprobs == wanted


def test_an_interrupted_answer_has_its_page() -> None:
    outcome = run("ask", "real.png", "What?", "-m", "tiny", "--html", "page.html", model=InterruptedModel())
    assert (outcome.code, outcome.stdout) == (130, "A red\n")
    page = Path("page.html").read_text()
    assert "ended by interrupted" in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert [token["label"] for token in data["tokens"][0]] == ["A", "·red"]
