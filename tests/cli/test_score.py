"""vlm score, choose and check: what they hand on, what they refuse, and what a script learns from the exit code."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import FakeDual, FakeModel, run
from tests.cli.test_failures import failing
from tests.cli.test_process import environment
from tests.render import values
from vlmcli import errors
from vlmcli.cli.failures import CHECK_FAILED
from vlmcli.types.choose import Verdict

pytestmark = pytest.mark.usefixtures("here")


class NoSayer(FakeModel):
    """Denies everything."""

    def check(self, images: Any, question: str, **options: Any) -> Verdict:
        return values.verdict("no", "yes", "maybe")


class FullDisk(io.StringIO):
    """A stream with no room left."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def tree(kind: type[errors.VlmError]) -> list[type[errors.VlmError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


def test_score_passes_everything_on() -> None:
    model = FakeModel()
    outcome = run("score", "a.png", "What?", "-a", "a cat", "-k", "2", "--no-end", "--raw", "-m", "tiny", model=model)
    how = {"k": 2, "end": False, "system": None, "raw": True}
    assert model.calls == [("score", (("a.png",), "What?", "a cat"), how)]
    assert outcome.code == 0 and "·cat" in outcome.stdout


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (("-o", "a cat", "--option", "a dog"), ("a cat", "a dog")),
        (("--yes-no",), ("yes", "no")),
        (("--rate", "1-5"), ("1", "2", "3", "4", "5")),
    ],
)
def test_choose_passes_everything_on(argv: tuple[str, ...], options: tuple[str, ...]) -> None:
    model = FakeModel()
    outcome = run("choose", "a.png", "What?", *argv, "--show-options", "--system", "Brief.", model=model)
    how = {"show_options": True, "system": "Brief.", "raw": False}
    assert model.calls == [("choose", (("a.png",), "What?", options), how)]
    assert outcome.code == 0 and "option mass 90.00%" in outcome.stdout


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("score", "a.png", "What?"), 2, "no answer"),
        (("score", "a.png", "What?", "-a", ""), 2, "the answer is empty"),
        (("score", "a.png", "-a", "a cat"), 2, "no prompt"),
        (("choose", "a.png", "What?"), 2, "two options"),
        (("choose", "a.png", "What?", "-o", "cat"), 2, "two options"),
        (("choose", "a.png", "What?", "-o", "cat", "-o", "cat"), 2, "twice"),
        (("choose", "a.png", "What?", "-o", "cat", "-o", " "), 2, "empty"),
        (("choose", "a.png", "What?", "-o", "cat", "--yes-no"), 2, "exclude each other"),
        (("choose", "a.png", "What?", "--rate", "5-1"), 2, "--rate"),
        (("choose", "a.png", "What?", "--rate", "0-100"), 2, "--rate"),
        (("choose", "--yes-no"), 2, "no prompt"),
        (("check", "a.png"), 2, "no prompt"),
        (("check", "--image", "a.png"), 2, "no question"),
        (("check", "missing.jpg", "Is it?"), 3, "no such file"),
    ],
)
def test_what_cannot_work_is_noticed_before_a_model_is_loaded(argv: tuple[str, ...], code: int, said: str) -> None:
    outcome = run(*argv)
    assert (outcome.code, outcome.loaded, outcome.stdout) == (code, [], "")
    assert said in outcome.stderr and outcome.stderr.count("\n") == 1


def test_a_question_that_does_not_fit_is_mentioned() -> None:
    model = FakeModel()
    model.choose = lambda *_, **how: values.choices("a", "b", mass=0.02)  # type: ignore[method-assign]
    for mode in ((), ("--json",), ("--jsonl",)):
        assert "only 2% of its answer" in run("choose", "What?", "--yes-no", "-m", "tiny", *mode, model=model).stderr
    assert run("choose", "What?", "--yes-no", "-m", "tiny", "-q", model=model).stderr == ""


@pytest.mark.parametrize(("model", "code", "word"), [(FakeModel(), 0, "yes"), (NoSayer(), 1, "no")])
def test_check_says_it_by_its_exit_code(model: Any, code: int, word: str) -> None:
    outcome = run("check", "a.png", "Is it?", "-q", model=model)
    assert (outcome.code, outcome.stdout, outcome.stderr) == (code, f"{word}\n", "")
    outcome = run("check", "a.png", "Is it?", "--json", model=model)
    assert (outcome.code, json.loads(outcome.stdout)["answer"]) == (code, word)


@pytest.mark.parametrize("kind", tree(errors.VlmError), ids=lambda kind: kind.__name__)
def test_no_error_of_check_looks_like_an_answer(kind: type[errors.VlmError]) -> None:
    code = run("check", "a.png", "Is it?", "-q", load=failing(kind("x"))).code
    assert code == (CHECK_FAILED if kind.exit_code == 1 else kind.exit_code) > 1
    assert run("ask", "a.png", "Is it?", "-q", load=failing(kind("x"))).code == kind.exit_code


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), OSError("x"), MemoryError(), KeyboardInterrupt()])
def test_nothing_else_that_goes_wrong_does_either(error: BaseException) -> None:
    assert run("--debug", "check", "a.png", "Is it?", load=failing(error)).code > 1


def test_an_answer_that_cannot_be_written_is_a_failure() -> None:
    assert run("check", "a.png", "Is it?", "-q", stdout=FullDisk()).code == CHECK_FAILED


@pytest.mark.parametrize("argv", [("check", "a.png", "Is it?", "-m"), ("check", "--no-such-option"), ("check",)])
def test_a_mistyped_check_is_a_usage_error(argv: tuple[str, ...]) -> None:
    assert run(*argv).code == 2


def test_a_model_of_another_kind_cannot_check() -> None:
    assert run("check", "a.png", "Is it?", "-m", "tiny", model=FakeDual()).code == 2


def test_check_leaves_standard_input_to_the_script(here: Path) -> None:
    """In ``while read f; do vlm check "$f" ...; done < list`` the rest of the list must not become a prompt."""
    (here / "list").write_text("b.png\n")
    model = FakeModel()
    with (here / "list").open("rb") as stdin:
        run("check", "a.png", "Is it?", model=model, stdin=stdin)
        assert stdin.tell() == 0
    assert model.calls[0][1] == (("a.png",), "Is it?")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_closed_streams_change_no_answer(closed: str) -> None:
    command = f"{sys.executable} -m tests.cli.fakes check a.png 'Is it?' {closed}"
    assert subprocess.run(["bash", "-c", command], env=environment(), stdin=subprocess.DEVNULL).returncode == 0
