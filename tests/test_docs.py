"""The documentation is true: every command line in it runs, and prints what the page says."""

from __future__ import annotations

import difflib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from tests import console
from tests.cli import fakes

PAGES = pytest.mark.parametrize("page", console.PAGES, ids=lambda page: str(page.relative_to(console.ROOT)))
PICTURES = [shown for page in console.PAGES for shown in console.pictures(page)]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, *languages: str) -> list[str]:
    """The page's blocks of code in these languages; all are matched, lest the end of one be taken for a beginning."""
    return [block for language, block in _BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


_STAND_INS = {
    "vlm": fakes.FakeModel,
    "dual": fakes.FakeDual,
    "classifier": fakes.FakeClassifier,
    "detector": fakes.FakeDetector,
    "segmenter": fakes.FakeSegmenter,
    "painter": fakes.FakeModel,
}


def _plain_commands(program: str) -> list[str]:
    """Commands outside of console blocks: what they print depends on the network or on a person's own files."""
    lines = [
        line.partition("  #")[0].strip()
        for page in console.PAGES
        for block in _blocks(page, "", "sh")
        for line in block.splitlines()
    ]
    known = [line for line in lines if re.match(rf"(?:\.venv/bin/)?{program} [a-z]", line)]
    return [line for line in known if not line.startswith("vlm pull")]  # it is all download: tests/weights has it


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(console.ROOT)


@PAGES
def test_commands_print_what_the_page_says(page: Path) -> None:
    wrong = [
        f"$ {example.command}\n" + "\n".join(difflib.ndiff(example.expected.splitlines(), printed.splitlines()))
        for example, printed in console.follow(page)
        if not console.matches(example.expected, printed)
    ]
    assert not wrong, "\n".join(["out of date; `python -m tests.console` rewrites it:", *wrong])


@pytest.mark.parametrize("shown", PICTURES, ids=lambda shown: shown.file.name)
def test_pictures_are_those_that_the_commands_make(shown: console.Shown, tmp_path: Path) -> None:
    """But for the last digits of a score and a pixel at an edge, in which processors differ."""
    written = tmp_path / shown.written.name
    code, _ = console.run(shown.command.replace(str(shown.written), str(written)))
    made, kept = (Image.open(file).convert("RGBA") for file in (written, shown.file))
    assert code == 0 and made.size == kept.size
    off = ImageStat.Stat(ImageChops.difference(made, kept)).mean
    assert max(off) < 1, f"{shown.file.name} is out of date; `python -m tests.console` makes it anew"
    assert shown.file.stat().st_size < 60_000


def test_a_page_knows_nothing_of_another(tmp_path: Path) -> None:
    """Both make a model of the same name; the second page would be told that there is one, or see the first's."""
    made = "vlm compose mine --vision picturebook --projector {} --decoder picturebook"
    asked = 'vlm score examples/shapes.png "What colour is the star?" --answer blue -m mine --quiet'
    printed = []
    for projector in ("picturebook", "average-pool"):
        page = tmp_path / f"{projector}.md"
        page.write_text(f"```console\n$ {made.format(projector)}\n$ {asked}\n```\n", encoding="utf-8")
        printed.append([output for _, output in console.follow(page)])
    assert all(output for outputs in printed for output in outputs), "a command has failed"
    assert printed[0][1] != printed[1][1]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("blue\n", "blue \n", True),
        ("a ... c\n", "a b\nb c\n", True),
        ("26.11%  0.004...\n", "26.12%  0.0049\n", True),
        ("blue\n", "red\n", False),
        ("blue\n", "", False),
        ("a ... c\n", "a b\n", False),
        ("26.11%\n", "26.13%\n", False),
        ("-0.00  +1.50\n", "+0.00  -1.50\n", False),
        ("-0.00\n", "+0.00\n", True),
        ("rank 1\n", "rank 2\n", False),
    ],
)
def test_the_comparison_can_fail(expected: str, printed: str, same: bool) -> None:
    assert console.matches(expected, printed) is same


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


@PAGES
def test_python_in_the_pages_runs(page: Path) -> None:
    for source in _blocks(page, "python"):
        exec(compile(source, str(page), "exec"), {})


@PAGES
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"
