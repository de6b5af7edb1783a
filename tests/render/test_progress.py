"""The line that says how far it is: on a terminal only, not too often, and gone in the end."""

from __future__ import annotations

import io

import pytest

from tests.render import values
from vlmcli.render.notes import Notes
from vlmcli.render.progress import Progress, drawing_progress, ticking


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_says_how_far_it_is_and_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock = Clock()
    stream = Tty()
    progress = Progress(stream, clock=clock)
    clock.now = 30.0
    progress.show("drawing", 10, 40)
    assert stream.getvalue() == f"\r\x1b[Kdrawing {'█████'.ljust(20)} 10/40, 1 min left"
    clock.now = 30.05
    progress.show("drawing", 11, 40)
    assert stream.getvalue().count("drawing") == 1, "a line is rewritten at most ten times a second"
    progress.clear()
    progress.clear()
    assert stream.getvalue().endswith("left\r\x1b[K")


@pytest.mark.parametrize(
    ("stream", "quiet", "term"), [(io.StringIO(), False, "xterm"), (Tty(), True, "xterm"), (Tty(), False, "dumb")]
)
def test_where_nobody_looks_nothing_is_written(
    stream: io.StringIO, quiet: bool, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    clock = Clock()
    progress = Progress(stream, quiet=quiet, clock=clock)
    clock.now = 5.0
    progress.show("drawing", 1, 2)
    progress.clear()
    assert stream.getvalue() == ""


def test_drawing_counts_tokens_of_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(Progress, "show", lambda self, label, done, total: shown.append((label, done, total)))
    with drawing_progress(Notes(Tty())) as take:
        for event in values.draw_events(2):
            take(event)
    assert shown[0] == ("drawing 1 of 2", 1, 8) and shown[-1] == ("drawing 2 of 2", 8, 8)


def test_the_line_is_gone_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("vlmcli.render.progress._LEAST_S", 0.0)
    stream = Tty()
    with pytest.raises(ValueError), ticking(stream, "lens") as tick:
        tick(1, 2)
        raise ValueError
    assert "lens" in stream.getvalue() and stream.getvalue().endswith("\r\x1b[K")
