"""The entry point: runs one command, and turns whatever goes wrong into one line and an exit code.

Nothing but the standard library and our errors is imported before ``main`` runs, so that Ctrl-C is ours from the
first moment on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

from vlmcli.errors import VlmError

if TYPE_CHECKING:
    from vlmcli.cli.runtime import Runtime
    from vlmcli.render.sink import Mode

_COMPLETION_VARIABLE = "_VLM_COMPLETE"


class Interrupted(VlmError):
    """Ctrl-C before there was anything to show."""

    exit_code = 130


def run() -> NoReturn:
    """The process's own ``vlm``: run it, and leave with its exit code.

    Once a model was there, taking the interpreter apart would take longer than an answer. What others left to be done
    at the end is done, the streams are flushed, and the rest goes with the process.
    """
    code = main(quick=True)
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if "torch" not in sys.modules or not all(thread.daemon for thread in others):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # main() has told of it, or it was closed
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None, runtime: Runtime | None = None, quick: bool = False) -> int:
    """Run ``vlm`` with ``argv`` (by default the process's own) and return its exit code. Raises nothing of ours.

    ``quick``: see ``Runtime.system``.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        if _COMPLETION_VARIABLE in os.environ:
            return _complete()
        if runtime is None:
            from vlmcli.cli.runtime import Runtime

            runtime = Runtime.system(quick)
        return _run(argv, runtime)
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, argv, runtime)


def _run(argv: Sequence[str], runtime: Runtime) -> int:
    import typer

    from vlmcli.cli.app import command

    vlm = command()
    try:
        with vlm.make_context("vlm", list(argv), obj=runtime) as context:
            vlm.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    finally:
        # A full disk or a closed pipe shows here, and not when the interpreter shuts down.
        runtime.stdout.flush()
    return 0


def _complete() -> int:
    # Typer strips Rich's markup from help texts with Rich, which takes longer than the completion itself; ours have
    # none. A None in sys.modules makes Typer see an environment without Rich.
    sys.modules["rich"] = None  # type: ignore[assignment]
    from vlmcli.cli.app import command

    command().main(prog_name="vlm")
    return 0


def _report(error: BaseException, argv: Sequence[str], runtime: Runtime | None) -> int:
    """Say what went wrong, unless it is nobody's business, and return the exit code."""
    from vlmcli.cli.failures import CLOSED_PIPE, INTERRUPTED, as_vlm_error, exit_code, is_closed_pipe, is_interrupt

    stdout, stderr = (runtime.stdout, runtime.stderr) if runtime else (sys.stdout, sys.stderr)
    if _debugging(argv):
        traceback.print_exception(error, file=stderr)
    if is_closed_pipe(error):
        _discard(stdout)
        return CLOSED_PIPE
    if is_interrupt(error):
        _say_interrupted(error, argv, stdout, stderr)
        return INTERRUPTED
    ours = as_vlm_error(error)
    _say(ours, _mode(argv), stdout, stderr)
    return exit_code(ours, next((word for word in argv if not word.startswith("-")), None))


def _say(error: VlmError, mode: Mode, stdout: TextIO, stderr: TextIO) -> None:
    from vlmcli.render.sink import make_sink

    try:
        make_sink(mode, stdout=stdout, stderr=stderr).error(error)
        stdout.flush()
    except OSError:
        # Standard output is the very thing that failed.
        _discard(stdout)
        if mode != "human":
            make_sink("human", stdout=stdout, stderr=stderr).error(error)


def _say_interrupted(error: BaseException, argv: Sequence[str], stdout: TextIO, stderr: TextIO) -> None:
    """A program that waits for JSON gets some; a person has seen their own ^C."""
    from vlmcli.render.record import Interrupted as AlreadyShown

    if not isinstance(error, AlreadyShown) and _mode(argv) != "human":
        _say(Interrupted("interrupted"), _mode(argv), stdout, stderr)


def _discard(stdout: TextIO) -> None:
    """Point the stream at nothing, so that the interpreter's last flush does not fail a second time."""
    try:
        descriptor = stdout.fileno()
    except (OSError, ValueError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _mode(argv: Sequence[str]) -> Mode:
    """The output mode, read from the bare words because errors in the options must be told in it too."""
    words = _options(argv)
    if "--jsonl" in words:
        return "jsonl"
    return "json" if "--json" in words else "human"


def _debugging(argv: Sequence[str]) -> bool:
    return "--debug" in _options(argv) or os.environ.get("VLM_DEBUG", "0").lower() not in ("", "0", "false", "no")


def _options(argv: Sequence[str]) -> Sequence[str]:
    words = list(argv)
    return words[: words.index("--")] if "--" in words else words


if __name__ == "__main__":
    run()
