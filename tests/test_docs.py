"""The documentation is true: every command line in it runs, and prints what the page says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import console
from tests.cli import fakes

EXAMPLES = [example for page in console.PAGES for example in console.examples(page)]
_PLAIN_BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


_STAND_INS = {
    "vlm": fakes.FakeModel,
    "dual": fakes.FakeDual,
    "classifier": fakes.FakeClassifier,
    "detector": fakes.FakeDetector,
    "segmenter": fakes.FakeSegmenter,
}


def _plain_commands(program: str) -> list[str]:
    """Commands outside of console blocks: what they print depends on the network or on a person's own files."""
    lines = [
        line.partition("  #")[0].strip()
        for page in console.PAGES
        for block in _PLAIN_BLOCK.findall(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
    ]
    known = [line for line in lines if re.match(rf"(?:\.venv/bin/)?{program} [a-z]", line)]
    return [line for line in known if not line.startswith("vlm pull")]  # it is all download: tests/weights has it


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(console.ROOT)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page.stem}: {example.command}")
def test_prints_what_the_page_says(example: console.Example) -> None:
    _, printed = console.run(example.command)
    assert console.matches(example.expected, printed), (
        f"{example.page.name} is out of date; `python -m tests.console` rewrites it. Now it prints:\n{printed}"
    )


def test_the_comparison_can_fail() -> None:
    assert console.matches("blue\n", "blue\n")
    assert console.matches("a ... c\n", "a b c\n")
    assert not console.matches("blue\n", "red\n")
    assert not console.matches("blue\n", "")


@pytest.mark.parametrize("command", _plain_commands("vlm"))
def test_other_commands_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the model that they would download, and for the photograph that is not there.

    What they write goes into an empty folder.
    """
    (tmp_path / "examples").symlink_to(console.ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    words = [re.sub(r"^(photo|a|b)\.jpg$", "examples/shapes.png", word) for word in shlex.split(command)[1:]]
    outcome = fakes.run(*words, load=lambda **options: _STAND_INS[options["kind"]]())
    assert outcome.code == 0, outcome.stderr


@pytest.mark.parametrize("command", _plain_commands("make"))
def test_make_knows_the_targets(command: str) -> None:
    done = subprocess.run(["make", "--dry-run", *command.split()[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", console.PAGES, ids=lambda page: str(page.relative_to(console.ROOT)))
def test_python_in_the_pages_runs(page: console.Path) -> None:
    for source in _PYTHON_BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(source, str(page), "exec"), {})


@pytest.mark.parametrize("page", console.PAGES, ids=lambda page: str(page.relative_to(console.ROOT)))
def test_links_lead_somewhere(page: console.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"
