"""The command lines in the documentation: found, run, and compared with what the pages say they print.

A ```console block holds commands after `$ ` and what they print on standard output; `...` stands for anything.
`python -m tests.console` writes today's output into the pages.
"""

from __future__ import annotations

import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlmcli.api.load import load
from vlmcli.cli.main import main
from vlmcli.cli.runtime import Runtime

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "picturebook" / "README.md")
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r" (?:\||<|>|>>|;|&&) ")
_DIGITS = re.compile(r"(-?\d+\.\d{3})\d{3,}(?:e-?\d+)?")  # processors differ in the last ones
_TIMES = re.compile(r'("(?:load|prepare|ttft|decode|forward|texts|images|total|elapsed_ms)": )[\d.]+')
# The columns ms and peak of vlm trace, and the space before them.
_STAGE_TIMES = re.compile(
    r"^((?:stage|decode|resize|patchify|encode|project|fuse|prefill|step \d+)\b.*?) +\S+ +(?:peak|-|[\d.]+ [kMG]?B)$",
    re.MULTILINE,
)
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


def matches(expected: str, printed: str) -> bool:
    """Whether a page tells what was printed; trailing white space does not count, and `...` is anything."""
    wanted, got = ("\n".join(line.rstrip() for line in text.splitlines()) + "\n" for text in (expected, printed))
    return doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS)


@cache
def _loaded(model: str | None, kind: str, device: str, dtype: str) -> Any:
    return load(model, kind=kind, device=device, dtype=dtype, cache=False)  # type: ignore[arg-type]


def _load(model: str | None, *, kind: str, device: str, dtype: str, **_: Any) -> Any:
    """Each model once for all examples."""
    return _loaded(model, kind, device, dtype)


def run(command: str) -> tuple[int, str]:
    """Exit code and standard output: in this process for a plain `vlm` command, through a shell for anything else.

    The working directory must be the repository's top level.
    """
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

    def block(match: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", match[1], flags=re.MULTILINE)
        return "```console\n" + "".join(f"$ {c}\n{_cut(run(c)[1])}" for c in commands) + "```"

    page.write_text(_BLOCK.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")


def _cut(text: str) -> str:
    text = _DIGITS.sub(r"\1...", _TIMES.sub(r"\1...", _STAGE_TIMES.sub(r"\1...", text)))
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "..."]) + "\n"


if __name__ == "__main__":
    for written in PAGES:
        rewrite(written)
