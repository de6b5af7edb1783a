"""How far a long piece of work is: one line on a terminal that is written over, and gone in the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from vlmcli.render.escape import one_line
from vlmcli.render.forms.draw import progress_label
from vlmcli.render.notes import Notes
from vlmcli.render.terminal import Terminal
from vlmcli.render.words import BAR_CELLS, bar, duration
from vlmcli.types.draw import DrawEvent, Drawn, DrawnToken, DrawStart

_LEAST_S = 0.1
"""Between two states of the line: more often is flicker, and costs time on a slow connection."""

_CLEAR = "\r\x1b[K"


class Progress:
    """A bar on ``stream``; nothing where that is no terminal, or one that cannot rewrite a line."""

    def __init__(self, stream: TextIO, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._terminal = Terminal.of(stream)
        self._shows = not quiet and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._began = self._last = clock()
        self._open = False

    def show(self, label: str, done: int, total: int) -> None:
        """``done`` of ``total``, and at this speed how long the rest takes."""
        now = self._clock()
        if not self._shows or now - self._last < _LEAST_S:
            return
        self._last, self._open = now, True
        left = duration((now - self._began) * (total - done) / done) if done else "-"
        drawn = bar(done / total, self._terminal).ljust(BAR_CELLS)
        self._stream.write(f"{_CLEAR}{one_line(label)} {drawn} {done}/{total}, {left} left")
        self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line behind, for what comes next."""
        if self._open:
            self._open = False
            self._stream.write(_CLEAR)
            self._stream.flush()


@contextmanager
def ticking(stream: TextIO, label: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """What is called with the work that is done and all of it, and shows a bar until the end."""
    line = Progress(stream, quiet=quiet)
    try:
        yield partial(line.show, label)
    finally:
        line.clear()


@contextmanager
def drawing_progress(notes: Notes) -> Iterator[Callable[[DrawEvent], None]]:
    """What takes the events of drawing and shows how far it is; any event but a token clears the line for others."""
    line = Progress(notes.stream, quiet=notes.quiet)
    total = count = tokens = finished = 0

    def take(event: DrawEvent) -> None:
        nonlocal total, count, tokens, finished
        if isinstance(event, DrawnToken):
            tokens += 1
            line.show(progress_label(finished, count), tokens, total)
            return
        line.clear()
        if isinstance(event, DrawStart):
            total, count = event.tokens * event.count, event.count
        finished += isinstance(event, Drawn)

    try:
        yield take
    finally:
        line.clear()
