"""Text that is piped into a command."""

from __future__ import annotations

import os
import select
import stat
from typing import BinaryIO

from vlmcli.errors import InputError


def piped_text(stream: BinaryIO | None, patience_s: float | None) -> str | None:
    """The text on ``stream`` up to its end, or None where nobody pipes any.

    Only pipes, sockets and regular files are read, so a terminal or /dev/null never holds a command up. A pipe in
    which nothing happens for ``patience_s`` is left alone: schedulers and build servers hand programs an open pipe
    into which nobody ever writes, and waiting for its end would hang for good. Once something came, the rest is
    waited for as any filter does. ``patience_s`` None waits without limit. Raises InputError for bytes that are no
    text.
    """
    if stream is None or not can_hold_text(stream) or not _speaks(stream, patience_s):
        return None
    try:
        return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("standard input is not UTF-8 text", "to pass an image, write - as its name") from error


def is_open_pipe(stream: BinaryIO | None) -> bool:
    """Whether somebody could be writing to ``stream``: a pipe or a socket."""
    mode = _mode(stream)
    return mode is not None and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def can_hold_text(stream: BinaryIO | None) -> bool:
    """Whether ``stream`` is of a kind that is read: a pipe, a socket or a regular file."""
    mode = _mode(stream)
    return is_open_pipe(stream) or (mode is not None and stat.S_ISREG(mode))


def _speaks(stream: BinaryIO, patience_s: float | None) -> bool:
    try:
        readable, _, _ = select.select([stream], [], [], patience_s)
    except OSError:
        return True  # Windows selects on sockets only: read the pipe to its end.
    return bool(readable)


def _mode(stream: BinaryIO | None) -> int | None:
    try:
        return None if stream is None else os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return None  # closed, or a stand-in without a file descriptor
