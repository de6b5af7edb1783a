"""The one table from exception to exit code.

    VlmError                           its own exit_code, 1 to 6
    a usage error of Typer's           2
    KeyboardInterrupt                  130   also where a library wrapped it in an error of its own
    BrokenPipeError                    141   what shells report for a program that SIGPIPE ended
    MemoryError, torch's out of memory 5
    OSError                            1     a full disk among them
    anything else                      1     a bug: the traceback is one --debug away

Ctrl-C and a closed pipe say nothing to a person; all others print one line. After ``vlm check``, where 1 means no, what
would end in 1 ends in 7.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import typer

from vlmcli.errors import OutOfMemory, UsageError, VlmError, first_line

INTERRUPTED = 130
CLOSED_PIPE = 141
CHECK_FAILED = 7

_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "cannot allocate memory")


def as_vlm_error(error: BaseException) -> VlmError:
    """``error`` as one of ours, with a message for whoever typed the command."""
    if isinstance(error, VlmError):
        return error
    if isinstance(error, typer.TyperException):
        return _usage_error(error)
    if _is_out_of_memory(error):
        return OutOfMemory(
            f"out of memory: {first_line(error)}", "try a smaller model, a smaller image or --dtype bfloat16"
        )
    if isinstance(error, OSError):
        return _system_error(error)
    return VlmError(f"unexpected {type(error).__name__}: {first_line(error)}", "--debug shows where it comes from")


def exit_code(error: VlmError, command: str | None) -> int:
    """The process's exit code when ``command`` fails."""
    return CHECK_FAILED if command == "check" and error.exit_code in (0, 1) else error.exit_code


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is behind ``error``: libraries that are being imported turn it into errors of their own."""
    return any(isinstance(link, KeyboardInterrupt) for link in _chain(error))


def is_closed_pipe(error: BaseException) -> bool:
    """Whether the reader of our output has gone."""
    return isinstance(error, BrokenPipeError)


def _usage_error(error: typer.TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"see: {context.command_path} --help" if context is not None else None
    return UsageError(error.format_message(), hint)


def _system_error(error: OSError) -> VlmError:
    where = f": {error.filename}" if error.filename else ""
    hint = "free some space, or write elsewhere" if error.errno == errno.ENOSPC else None
    return VlmError(f"{(error.strerror or first_line(error)).lower()}{where}", hint)


def _is_out_of_memory(error: BaseException) -> bool:
    # torch's class is known by its name, since importing torch to ask it would cost seconds (and memory).
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY_TEXTS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
