"""The human sink: the answer alone on stdout, everything else on stderr."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.render import values
from vlmcli.errors import ImageError
from vlmcli.render.record import Interrupted
from vlmcli.render.sink import Sink, make_sink
from vlmcli.types.ask import AskEvent, TokenEvent
from vlmcli.types.embed import EmbedEvent


class Flushed(io.StringIO):
    """Remembers what a reader has seen after each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def _interrupt() -> AskEvent:
    raise KeyboardInterrupt


def sink(mode: str = "human", **options: bool) -> tuple[Sink, io.StringIO, io.StringIO]:
    stdout, stderr = io.StringIO(), io.StringIO()
    return make_sink(mode, stdout=stdout, stderr=stderr, **options), stdout, stderr  # type: ignore[arg-type]


def test_ask_prints_the_answer_alone_and_ends_the_line() -> None:
    human, stdout, stderr = sink()
    human.ask(values.events("A", " red", " circle."))
    assert stdout.getvalue() == "A red circle.\n"
    assert stderr.getvalue() == "red.png: first frame of 12\n"


def test_an_answer_that_ends_its_line_gets_no_second_end() -> None:
    human, stdout, _ = sink()
    human.ask(values.events("A.\n"))
    assert stdout.getvalue() == "A.\n"


def test_each_token_is_flushed_before_the_next_is_made() -> None:
    stdout = Flushed()

    def watched() -> Iterator[AskEvent]:
        for event in values.events("A", " red"):
            yield event
            if isinstance(event, TokenEvent):
                assert stdout.seen[-1].endswith(event.text)

    make_sink("human", stdout=stdout, stderr=io.StringIO()).ask(watched())


def test_escapes_are_stripped_across_tokens() -> None:
    human, stdout, _ = sink()
    human.ask(values.events("a\x1b", "]0;tit", "le\ab", "\x1b[", "31mc"))
    assert stdout.getvalue() == "abc\n"


def test_text_that_only_the_answer_holds_is_printed() -> None:
    human, stdout, _ = sink()
    human.ask(iter([values.start(), values.token(0, "half"), values.answer("half", " more")]))
    assert stdout.getvalue() == "half more\n"


def test_ctrl_c_keeps_what_was_said_and_ends_the_line() -> None:
    human, stdout, _ = sink()
    with pytest.raises(Interrupted):
        human.ask(values.interrupted_events("A", " red"))
    assert stdout.getvalue() == "A red\n"


def test_an_engine_that_reports_the_interrupt_itself_is_believed() -> None:
    human, stdout, _ = sink()
    with pytest.raises(Interrupted):
        human.ask(iter([values.start(), values.token(0, "A"), values.answer("A", reason="interrupted")]))
    assert stdout.getvalue() == "A\n"


def test_ctrl_c_before_the_first_event_passes_on() -> None:
    def nothing() -> Iterator[AskEvent]:
        yield from (_interrupt() for _ in range(1))

    human, stdout, _ = sink()
    with pytest.raises(KeyboardInterrupt) as caught:
        human.ask(nothing())
    assert not isinstance(caught.value, Interrupted)
    assert stdout.getvalue() == ""


def test_an_error_in_the_middle_ends_the_line_first() -> None:
    def failing() -> Iterator[AskEvent]:
        yield values.start()
        yield values.token(0, "A")
        raise ImageError("broken")

    human, stdout, _ = sink()
    with pytest.raises(ImageError):
        human.ask(failing())
    assert stdout.getvalue() == "A\n"


def test_a_closed_pipe_stops_the_engine() -> None:
    closed = []

    def endless() -> Iterator[AskEvent]:
        try:
            yield values.start()
            while True:
                yield values.token(0, "word ")
        finally:
            closed.append(True)

    with pytest.raises(BrokenPipeError):
        make_sink("human", stdout=values.ClosedPipe(12), stderr=io.StringIO()).ask(endless())
    assert closed == [True]


def test_verbose_tells_what_happened_on_stderr() -> None:
    human, stdout, stderr = sink(verbose=True)
    human.ask(values.events("A", " red"))
    told = stderr.getvalue()
    assert stdout.getvalue() == "A red\n"
    for part in ("tiny (float32 on cpu)", "640x480 -> 96x96, 64 tokens", "70 tokens, 64", "2 tokens, 10.0 tokens/s"):
        assert part in told
    assert "total 12 ms" in told and "steps   as ever" in told


def test_quiet_leaves_only_errors() -> None:
    human, _, stderr = sink("quiet")
    human.note("hello")
    human.ask(values.events("A"))
    assert stderr.getvalue() == ""
    human.error(ImageError("cannot read it.", "try another"))
    assert stderr.getvalue() == "error: cannot read it (try another)\n"


def test_an_error_is_one_safe_line() -> None:
    human, stdout, stderr = sink()
    human.error(ImageError("bad\nname \x1b[2J.png"))
    assert stderr.getvalue() == "error: bad name .png\n"
    assert stdout.getvalue() == ""


@pytest.mark.parametrize("verb", ["topk", "zeroshot", "classify"])
def test_tables_go_to_stdout_and_notes_to_stderr(verb: str) -> None:
    human, stdout, stderr = sink(verbose=True)
    results: dict[str, Any] = {
        "topk": values.topk(values.position(1, "a")),
        "zeroshot": values.zeroshot(images=2),
        "classify": values.classification(),
    }
    human.show(results[verb])
    assert "softmax" in stdout.getvalue() or "probability" in stdout.getvalue()
    assert "\x1b" not in stdout.getvalue()
    assert "tiny (float32 on cpu)" in stderr.getvalue()
    assert "ms" in stderr.getvalue()


def test_embed_shows_vectors_and_names_what_was_skipped_even_when_quiet() -> None:
    quiet, stdout, stderr = sink("quiet")
    totals = quiet.embed(values.embed_events(values.embedding((1.0, 0.0)), values.SKIPPED))
    assert totals.skipped == 1
    assert "red.png" in stdout.getvalue() and "cosine" not in stdout.getvalue()
    assert stderr.getvalue() == "skipped: bad.png is empty (draw another)\n"


def test_embed_into_a_file_prints_one_line() -> None:
    human, stdout, stderr = sink(verbose=True)
    human.embed(values.embed_events(values.embedding((1.0, 0.0)), values.embedding((0.0, 1.0), "a cat")), "kept.jsonl")
    assert stdout.getvalue().count("\n") == 1 and "kept.jsonl" in stdout.getvalue()
    for part in ("red.png: first frame of 12", "tiny (float32 on cpu)", "640x480 -> 96x96, 64 tokens", "total 2 ms"):
        assert part in stderr.getvalue()


@pytest.mark.parametrize("mode", ["human", "json", "jsonl"])
def test_a_closed_pipe_stops_embedding(mode: str) -> None:
    closed = []

    def watched() -> Iterator[EmbedEvent]:
        try:
            yield from values.embed_events(*[values.embedding((1.0, 0.0))] * 9)
        finally:
            closed.append(True)

    with pytest.raises(BrokenPipeError):
        make_sink(mode, stdout=values.ClosedPipe(12), stderr=io.StringIO()).embed(watched())  # type: ignore[arg-type]
    assert closed == [True]


def test_check_prints_one_word_and_details_on_demand() -> None:
    human, stdout, stderr = sink(verbose=True)
    human.show(values.verdict("yes", "no", "maybe"))
    assert stdout.getvalue() == "yes\n"
    assert "answer  50.00% yes; the options have 90.00% of the model's answer\n" in stderr.getvalue()
