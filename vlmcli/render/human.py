"""Results for a person: the answer alone on stdout as it comes, tables, everything else on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from vlmcli.errors import VlmError
from vlmcli.render.escape import TerminalFilter
from vlmcli.render.forms.draw import drawn_line
from vlmcli.render.forms.embed import embedding_tables, kept_line
from vlmcli.render.forms.forms import form_of
from vlmcli.render.forms.models import pulled_line
from vlmcli.render.notes import Notes
from vlmcli.render.progress import drawing_progress
from vlmcli.render.record import Interrupted, consume, consume_totals
from vlmcli.render.table import tables_lines
from vlmcli.render.terminal import Terminal
from vlmcli.types.ask import AskEvent, TokenEvent
from vlmcli.types.draw import DrawEvent, Drawn, DrawTotals
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals
from vlmcli.types.models import Pulled


@dataclass(frozen=True, slots=True)
class HumanSink:
    """The sink of a terminal session, and of a pipe into grep."""

    stdout: TextIO
    notes: Notes

    def show(self, result: Any) -> None:
        """Print a result, with notes before and after it."""
        form = form_of(result)
        form.before(self.notes, result)
        self._lines(form.lines(result, Terminal.of(self.stdout)))
        form.after(self.notes, result)

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Stream the answer token by token. Raises Interrupted after Ctrl-C, when the line has been ended."""
        stream = _AnswerStream(self.stdout)

        def show(event: AskEvent) -> None:
            self.notes.start(event)
            if isinstance(event, TokenEvent):
                stream.write(event.text)

        try:
            answer = consume(events, show)
            stream.write(answer.text[stream.taken :])
        finally:
            stream.end()
        self.notes.outcome(answer)
        if answer.finish_reason == "interrupted":
            raise Interrupted

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Print what the vectors are of and how alike they are; one line where a file keeps them."""
        shown: list[Embedding] = []

        def take(event: EmbedEvent) -> None:
            self.notes.embed(event)
            if isinstance(event, Embedding) and file is None:
                shown.append(event)

        totals = consume_totals(events, take, EmbedTotals)
        if file is None:
            self._lines(tables_lines(embedding_tables(shown), Terminal.of(self.stdout)))
        else:
            self._lines([kept_line(totals, file)])
        return totals

    def draw(self, events: Iterator[DrawEvent]) -> None:
        """A line for each image when it is finished; before that, a bar on a terminal."""
        with drawing_progress(self.notes) as progress:

            def show(event: DrawEvent) -> None:
                progress(event)
                self.notes.draw(event)
                if isinstance(event, Drawn):
                    self._lines([drawn_line(event)])

            consume_totals(events, show, DrawTotals)

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Print a line for each model, as soon as it is complete."""
        for pulled in results:
            self._lines([pulled_line(pulled)])

    def error(self, error: VlmError) -> None:
        """Print what went wrong on stderr."""
        self.notes.error(error)

    def note(self, text: str) -> None:
        """Print something that the user should know on stderr."""
        self.notes.note(text)

    def _lines(self, lines: Iterable[str]) -> None:
        self.stdout.write("".join(line + "\n" for line in lines))
        self.stdout.flush()


class _AnswerStream:
    """The answer on its way to stdout: filtered, flushed at once, and ended by exactly one line feed of ours."""

    def __init__(self, stdout: TextIO) -> None:
        self.taken = 0
        self._stdout = stdout
        self._filter = TerminalFilter()
        self._line_open = False

    def write(self, text: str) -> None:
        self.taken += len(text)
        shown = self._filter.feed(text)
        if shown:
            self._line_open = not shown.endswith("\n")
            self._stdout.write(shown)
            self._stdout.flush()

    def end(self) -> None:
        if self._line_open:
            self._line_open = False
            self._stdout.write("\n")
            self._stdout.flush()
