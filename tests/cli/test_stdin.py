"""Piped text is read; a silent pipe never holds a command up."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from vlmcli.cli.stdin import can_hold_text, is_open_pipe, piped_text
from vlmcli.errors import InputError


@contextmanager
def pipe(content: bytes, *, close: bool) -> Iterator[BinaryIO]:
    reading, writing = os.pipe()
    os.write(writing, content)
    if close:
        os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        yield stream
    if not close:
        os.close(writing)


def test_a_pipe_is_read_to_its_end() -> None:
    with pipe("größer\n".encode(), close=True) as stream:
        assert piped_text(stream, 0.0) == "größer\n"


def test_a_silent_open_pipe_is_left_alone() -> None:
    with pipe(b"", close=False) as stream:
        assert is_open_pipe(stream)
        assert piped_text(stream, 0.0) is None


def test_a_closed_empty_pipe_holds_no_text() -> None:
    with pipe(b"", close=True) as stream:
        assert piped_text(stream, None) == ""


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"\xef\xbb\xbfwith a mark")
    with file.open("rb") as stream:
        assert piped_text(stream, 0.0) == "with a mark"


def test_a_socket_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(b"text")
        theirs.shutdown(socket.SHUT_WR)
        assert piped_text(stream, 0.0) == "text"


def test_dev_null_is_no_pipe() -> None:
    with open(os.devnull, "rb") as stream:
        assert not can_hold_text(stream)
        assert piped_text(stream, None) is None


def test_a_terminal_is_not_read() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "rb") as stream:
        assert piped_text(stream, None) is None
    os.close(ours)


@pytest.mark.parametrize("stream", [None, io.BytesIO(b"text")])
def test_what_has_no_descriptor_is_not_read(stream: BinaryIO | None) -> None:
    assert piped_text(stream, None) is None


def test_a_closed_stream_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.touch()
    stream = file.open("rb")
    stream.close()
    assert piped_text(stream, None) is None


def test_bytes_that_are_no_text_are_an_error_with_a_remedy() -> None:
    with pipe(b"\x89PNG\r\n\x1a\n\xff", close=True) as stream, pytest.raises(InputError) as caught:
        piped_text(stream, 0.0)
    assert "-" in (caught.value.hint or "")
