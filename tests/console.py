"""The command lines in the documentation: found, run, and compared with what the pages say they print.

A ```console block holds commands after `$ ` and what they print on standard output; `...` stands for anything. The
commands of a page are run from its top to its bottom, as a reader would, in a configuration of their own: one may need
what another above it has made, never what another page has. `python -m tests.console [PAGE...]` writes today's
output into the pages, and today's pictures beside them: those that a page shows, and that one of its commands writes
into /tmp under the same name.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from vlmcli.api.load import load
from vlmcli.catalog import Catalog
from vlmcli.cli.main import main
from vlmcli.cli.runtime import Runtime

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "recipes").glob("*/README.md")))
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r" (?:\||<|>|>>|;|&&) ")
_ANYTHING = "..."
_NUMBER = r"[-+]?\d++\.\d++"
_DIGITS = re.compile(r"(-?\d+\.\d{3})\d{3,}(?:e-?\d+)?")  # processors differ in the last ones
_TIMES = re.compile(r'("(?:load|prepare|ttft|decode|forward|texts|images|total|elapsed_ms)": )[\d.]+')
# The columns ms and peak of vlm trace, and the space before them.
_STAGE_TIMES = re.compile(
    r"^((?:stage|decode|resize|patchify|encode|project|fuse|prefill|step \d+)\b.*?) +\S+ +(?:peak|-|[\d.]+ [kMG]?B)$",
    re.MULTILINE,
)
_PICTURE = re.compile(r"!\[[^]]*\]\((pictures/[^)]+\.png)\)")
_LINES = 24  # a longer output is cut when it is written into a page


@dataclass(frozen=True)
class Example:
    """A command line of a page and the output that stands below it."""

    page: Path
    command: str
    expected: str


def examples(page: Path) -> Iterator[Example]:
    """The commands of one page, in order."""
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield Example(page, command, expected)


@dataclass(frozen=True)
class Shown:
    """A picture that a page shows, and the command above it that writes one of that name into /tmp."""

    file: Path
    command: str
    written: Path


def pictures(page: Path) -> Iterator[Shown]:
    """The pictures of one page that its own commands make, in order."""
    commands = [example.command for example in examples(page)]
    for target in _PICTURE.findall(page.read_text(encoding="utf-8")):
        written = f"/tmp/{Path(target).name}"
        yield from (Shown(page.parent / target, c, Path(written)) for c in commands if written in shlex.split(c))


def matches(expected: str, printed: str) -> bool:
    """Whether a page tells what was printed: `...` is anything, and trailing white space does not count.

    A decimal fraction may differ by one in its last digit: processors, and numbers of threads, add up in other orders.
    """
    wanted, got = ("\n".join(line.rstrip() for line in text.splitlines()) + "\n" for text in (expected, printed))
    pieces = re.split(rf"({re.escape(_ANYTHING)}|{_NUMBER})", wanted)
    looks = {piece: ".*?" if piece == _ANYTHING else f"({_NUMBER})" for piece in pieces[1::2]}
    found = re.fullmatch("".join(looks.get(piece) or re.escape(piece) for piece in pieces), got, re.DOTALL)
    numbers = [piece for piece in pieces[1::2] if piece != _ANYTHING]
    return found is not None and all(map(_is_near, numbers, found.groups()))


def _is_near(expected: str, printed: str) -> bool:
    last_digit = Decimal(1).scaleb(-len(expected.partition(".")[2]))
    return abs(Decimal(expected) - Decimal(printed)) <= last_digit


@cache
def _loaded(model: str | None, kind: str, device: str, dtype: str) -> Any:
    return load(model, kind=kind, device=device, dtype=dtype, cache=False)  # type: ignore[arg-type]


def _load(model: str | None, *, kind: str, device: str, dtype: str, **_: Any) -> Any:
    """Each shipped model once for all pages; what a page's own commands have composed is that page's."""
    spec = None if model is None else Catalog.load().get(model)
    read = _loaded.__wrapped__ if spec is not None and spec.defined_in == "user" else _loaded
    return read(model, kind, device, dtype)


def follow(page: Path) -> Iterator[tuple[Example, str]]:
    """Run the commands of a page in order: each, and what it printed.

    The working directory must be the repository's top level.
    """
    with _no_settings():
        for example in examples(page):
            yield example, run(example.command)[1]


@contextmanager
def _no_settings() -> Iterator[None]:
    before = os.environ["VLM_CONFIG_DIR"]  # tests/__init__.py has set it
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VLM_CONFIG_DIR"] = folder
        try:
            yield
        finally:
            os.environ["VLM_CONFIG_DIR"] = before


def run(command: str) -> tuple[int, str]:
    """Exit code and standard output: in this process for a plain `vlm` command, through a shell for anything else."""
    words = shlex.split(command)
    if words[0] != "vlm" or _SHELL.search(command):
        return _run_in_shell(command)
    out = io.StringIO()
    code = main(words[1:], Runtime(_load, None, out, io.StringIO()))
    return code, out.getvalue()


def _run_in_shell(command: str) -> tuple[int, str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout


def rewrite(page: Path) -> None:
    """Put today's output below every command of the page."""
    outputs = follow(page)

    def block(match: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", match[1], flags=re.MULTILINE)
        return "```console\n" + "".join(f"$ {c}\n{_cut(next(outputs)[1])}" for c in commands) + "```"

    page.write_text(_BLOCK.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")
    for shown in pictures(page):
        shutil.copyfile(shown.written, shown.file)


def _cut(text: str) -> str:
    text = _DIGITS.sub(r"\1...", _TIMES.sub(r"\1...", _STAGE_TIMES.sub(r"\1...", text)))
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "..."]) + "\n"


if __name__ == "__main__":
    for written in map(Path, sys.argv[1:] or PAGES):
        rewrite(written.resolve())
