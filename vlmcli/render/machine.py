"""Results for a program: one JSON object, or one object a line as things happen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from vlmcli.errors import VlmError
from vlmcli.render.forms.ask import answer_object, streamed_token_object
from vlmcli.render.forms.draw import draw_start_object, draw_totals_object, drawn_object, drawn_token_object
from vlmcli.render.forms.embed import embed_totals_object, embedding_object, skipped_object
from vlmcli.render.forms.forms import form_of
from vlmcli.render.forms.models import pulled_object
from vlmcli.render.notes import Notes
from vlmcli.render.objects import SCHEMA_VERSION, Object, error_object, started_object
from vlmcli.render.progress import drawing_progress
from vlmcli.render.record import Interrupted, consume, consume_totals
from vlmcli.render.terminal import Terminal
from vlmcli.types.ask import Answer, AskEvent, TokenEvent
from vlmcli.types.draw import DrawEvent, Drawn, DrawnToken, DrawStart, DrawTotals
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals, Skipped
from vlmcli.types.models import Pulled
from vlmcli.types.result import ImageInfo, Start

# json.dumps leaves these as they are, and a terminal acts on some of them.
_CONTROLS = re.compile("[\x7f-\x9f]")
# A list of numbers over several lines. JSON has no line feeds inside of strings, so none of them can match.
_NUMBERS = re.compile(r"\[\n\s*(-?\d[^\[\]{}\"]*?)\s*\]")


@dataclass(frozen=True, slots=True)
class JsonSink:
    """One object a command, written when it is complete."""

    stdout: TextIO
    notes: Notes

    def show(self, result: Any) -> None:
        """Write a result."""
        form = form_of(result)
        form.before(self.notes, result)
        self._write(form.object(result))
        form.after(self.notes, result)

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Write the answer. Raises Interrupted after Ctrl-C, when the partial answer has been written."""
        answer = consume(events, self.notes.start)
        self._write(answer_object(answer))
        _end_ask(self.notes, answer)

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Write all vectors at the end; those that a file keeps are left to it, and their images too."""
        embeddings: list[Embedding] = []
        skipped: list[Skipped] = []

        def take(event: EmbedEvent) -> None:
            self.notes.embed(event)
            if isinstance(event, Skipped):
                skipped.append(event)
            elif isinstance(event, Embedding) and file is None:
                embeddings.append(event)

        totals = consume_totals(events, take, EmbedTotals)
        images = tuple(embedding.of for embedding in embeddings if isinstance(embedding.of, ImageInfo))
        vectors = [embedding_object(embedding) for embedding in embeddings]
        refused = [skipped_object(one) for one in skipped]
        self._write({**embed_totals_object(totals, images, file), "embeddings": vectors, "skipped": refused})
        return totals

    def draw(self, events: Iterator[DrawEvent]) -> None:
        """Write all images at the end: their files are there before."""
        drawings: list[Drawn] = []
        with drawing_progress(self.notes) as progress:

            def take(event: DrawEvent) -> None:
                progress(event)
                self.notes.draw(event)
                if isinstance(event, Drawn):
                    drawings.append(event)

            totals = consume_totals(events, take, DrawTotals)
        self._write(draw_totals_object(totals, drawings))

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Write what is there now, when the last model is complete."""
        self._write({"schema_version": SCHEMA_VERSION, "pulled": [pulled_object(pulled) for pulled in results]})

    def error(self, error: VlmError) -> None:
        """Write what went wrong to both streams: the object for the program, the line for whoever runs it."""
        self._write(error_object(error))
        self.notes.error(error)

    def note(self, text: str) -> None:
        """Print something that the user should know on stderr."""
        self.notes.note(text)

    def _write(self, value: Object) -> None:
        _write(self.stdout, value, indent=2)


@dataclass(frozen=True, slots=True)
class JsonlSink:
    """One object a line, flushed: ``start``, then ``token`` ..., then ``done``, which holds what ``--json`` writes."""

    stdout: TextIO
    notes: Notes

    def show(self, result: Any) -> None:
        """Write the events of a result."""
        form = form_of(result)
        form.before(self.notes, result)
        for kind, value in form.events(result):
            self._event(kind, value)
        form.after(self.notes, result)

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Write each event as it comes. Raises Interrupted after Ctrl-C, when ``done`` has been written."""

        def show(event: AskEvent) -> None:
            self.notes.start(event)
            if isinstance(event, Start):
                self._event("start", started_object(event))
            elif isinstance(event, TokenEvent):
                self._event("token", streamed_token_object(event))

        answer = consume(events, show)
        self._event("done", answer_object(answer))
        _end_ask(self.notes, answer)

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Write ``start``, an ``embedding`` or ``skipped`` each, ``done``; a vector that a file keeps is null."""

        def show(event: EmbedEvent) -> None:
            self.notes.embed(event)
            if isinstance(event, Start):
                self._event("start", started_object(event))
            elif isinstance(event, Skipped):
                self._event("skipped", skipped_object(event))
            elif isinstance(event, Embedding):
                kept = {"vector": None} if file is not None else {}
                self._event("embedding", embedding_object(event) | kept)

        totals = consume_totals(events, show, EmbedTotals)
        self._event("done", embed_totals_object(totals, (), file))
        return totals

    def draw(self, events: Iterator[DrawEvent]) -> None:
        """Write ``start``, each ``token`` and each ``drawn`` image as they come, ``done``."""
        drawings: list[Drawn] = []

        def show(event: DrawEvent) -> None:
            self.notes.draw(event)
            if isinstance(event, DrawStart):
                self._event("start", draw_start_object(event))
            elif isinstance(event, DrawnToken):
                self._event("token", drawn_token_object(event))
            elif isinstance(event, Drawn):
                drawings.append(event)
                self._event("drawn", drawn_object(event))

        totals = consume_totals(events, show, DrawTotals)
        self._event("done", draw_totals_object(totals, drawings))

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Write one ``pulled`` event a model, as soon as it is complete."""
        for pulled in results:
            self._event("pulled", pulled_object(pulled))

    def error(self, error: VlmError) -> None:
        """Write what went wrong to both streams, as JsonSink does."""
        self._event("error", error_object(error))
        self.notes.error(error)

    def note(self, text: str) -> None:
        """Print something that the user should know on stderr."""
        self.notes.note(text)

    def _event(self, kind: str, value: Object) -> None:
        _write(self.stdout, {"type": kind, "schema_version": SCHEMA_VERSION, **value}, indent=None)


def _end_ask(notes: Notes, answer: Answer) -> None:
    notes.outcome(answer)
    if answer.finish_reason == "interrupted":
        raise Interrupted


def _write(stream: TextIO, value: Object, indent: int | None) -> None:
    # Characters beyond ASCII stay readable where the stream can take them.
    text = json.dumps(value, allow_nan=False, ensure_ascii=not Terminal.of(stream).unicode, indent=indent)
    text = _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text)
    stream.write(_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    stream.flush()
