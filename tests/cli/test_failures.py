"""Every exception has its exit code and one line."""

from __future__ import annotations

import errno
import io
import json
from typing import Any

import pytest

from tests.cli.fakes import run
from tests.render.values import ClosedPipe
from vlmcli import errors
from vlmcli.cli.failures import as_vlm_error, is_interrupt


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


def failing(error: BaseException) -> Any:
    def load(**options: Any) -> Any:
        raise error

    return load


def wrapped(inner: BaseException) -> BaseException:
    outer = ImportError("cannot import torch")
    outer.__context__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (errors.VlmError("x"), 1, "VlmError"),
        (errors.NumericalError("x"), 1, "NumericalError"),
        (errors.UsageError("x"), 2, "UsageError"),
        (errors.ImageError("x"), 3, "ImageError"),
        (errors.ContextOverflow("x"), 3, "ContextOverflow"),
        (errors.ModelNotFound("x"), 4, "ModelNotFound"),
        (errors.Offline("x"), 4, "Offline"),
        (MemoryError(), 5, "OutOfMemory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nand more"), 5, "OutOfMemory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 5, "OutOfMemory"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "VlmError"),
        (ZeroDivisionError("division by zero"), 1, "VlmError"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (wrapped(KeyboardInterrupt()), 130, "Interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_exit_code_and_json(error: BaseException, code: int, kind: str) -> None:
    outcome = run("ask", "Hello", "-q", "--json", load=failing(error))
    assert outcome.code == code
    assert json.loads(outcome.stdout)["error"]["type"] == kind
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_one_line_for_a_person() -> None:
    outcome = run("ask", "Hello", "-q", load=failing(errors.ModelNotFound("no model 'x'", "near to it: y")))
    assert outcome.stderr == "error: no model 'x' (near to it: y)\n"
    assert outcome.stdout == ""


def test_ctrl_c_while_loading_says_nothing() -> None:
    outcome = run("ask", "Hello", "-q", load=failing(KeyboardInterrupt()))
    assert (outcome.code, outcome.stdout, outcome.stderr) == (130, "", "")


def test_a_bug_names_the_way_to_its_traceback() -> None:
    outcome = run("ask", "Hello", "-q", load=failing(ZeroDivisionError("division by zero")))
    assert (
        outcome.stderr == "error: unexpected ZeroDivisionError: division by zero (--debug shows where it comes from)\n"
    )


@pytest.mark.parametrize("argv", [("ask", "Hello", "--debug"), ("--debug", "ask", "Hello")])
def test_debug_shows_the_traceback(argv: tuple[str, ...]) -> None:
    outcome = run(*argv, load=failing(errors.ImageError("no image")))
    assert outcome.code == 3
    assert "Traceback" in outcome.stderr
    assert outcome.stderr.endswith("error: no image\n")


def test_debug_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_DEBUG", "1")
    assert "Traceback" in run("ask", "Hello", load=failing(errors.ImageError("no image"))).stderr


def test_a_prompt_that_spells_an_option_is_no_option() -> None:
    outcome = run("ask", "-q", "--", "--json", load=failing(errors.ImageError("no image")))
    assert outcome.stdout == ""


@pytest.mark.parametrize(
    "argv",
    [
        ("ask", "Hello", "--no-such-option"),
        ("ask", "Hello", "--max-tokens", "0"),
        ("ask", "Hello", "--max-tokens", "many"),
        ("ask", "Hello", "--temperature", "nan"),
        ("ask", "Hello", "--top-p", "0"),
        ("ask", "Hello", "--min-p", "2"),
        ("ask", "Hello", "--seed", "-1"),
        ("ask", "Hello", "--repetition-penalty", "0"),
        ("ask", "Hello", "--stop", ""),
        ("ask", "Hello", "--device", "gpu"),
        ("ask", "Hello", "--dtype", "int8"),
        ("ask", "Hello", "--threads", "0"),
        ("ask", "Hello", "--max-pixels", "lots"),
        ("ask", "Hello", "-q", "-v"),
        ("ask", "Hello", "--raw", "--system", "Be brief."),
        ("ask",),
        ("topk",),
        ("topk", "The", "-k", "0"),
        ("topk", "The", "--at", "middle"),
        ("zeroshot",),
        ("embed",),
        ("embed", "a cat", "--batch-size", "0"),
        ("embed", "a cat", "-o", "kept.npy"),
        ("classify",),
        ("nonsense",),
        ("models", "show"),
    ],
)
@pytest.mark.parametrize("mode", [(), ("--json",), ("--jsonl",)])
def test_usage_errors(argv: tuple[str, ...], mode: tuple[str, ...]) -> None:
    outcome = run(*argv, *mode)
    assert outcome.code == 2
    assert outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1
    assert outcome.loaded == []
    if mode:
        assert json.loads(outcome.stdout)["error"]["type"] == "UsageError"
    else:
        assert outcome.stdout == ""


def test_both_machine_forms_at_once_are_refused() -> None:
    assert run("ask", "Hello", "--json", "--jsonl").code == 2


def test_top_logprobs_need_a_place_to_go() -> None:
    assert run("ask", "Hello", "--top-logprobs", "2").code == 2
    assert run("ask", "Hello", "--top-logprobs", "2", "--json").code == 0


def test_a_closed_pipe_is_quiet() -> None:
    outcome = run("ask", "Hello", "-q", stdout=ClosedPipe(3))
    assert (outcome.code, outcome.stderr) == (141, "")


def test_a_full_disk_is_one_line() -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    for mode in ((), ("--json",)):
        outcome = run("ask", "Hello", "-q", *mode, stdout=Full())
        assert outcome.code == 1
        assert outcome.stderr == "error: no space left on device (free some space, or write elsewhere)\n"


def test_our_errors_pass_through() -> None:
    error = errors.ImageError("x")
    assert as_vlm_error(error) is error


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    assert not is_interrupt(first)
