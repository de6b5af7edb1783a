"""A sink that leaves every result in a file as well, as a page."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from vlmcli.errors import VlmError
from vlmcli.inputs.outputs import replacing
from vlmcli.render.html.page import result_html
from vlmcli.render.html.sections import Asked
from vlmcli.render.record import Interrupted, Record
from vlmcli.render.sink import Sink
from vlmcli.types.ask import AskEvent
from vlmcli.types.draw import DrawEvent
from vlmcli.types.embed import EmbedEvent, EmbedTotals
from vlmcli.types.models import Pulled


@dataclass(frozen=True, slots=True)
class PagedSink:
    """A sink that also writes each whole result into a file."""

    sink: Sink
    file: Path
    asked: Asked

    def show(self, result: Any) -> None:
        """Show a result, then write it. Raises OSError where it cannot be written."""
        self.sink.show(result)
        self._write(result)

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Show an answer while it is made, then write it: after Ctrl-C as far as it got."""
        record = Record()
        try:
            self.sink.ask(_recorded(events, record))
        except Interrupted:
            self._write(record.partial())
            raise
        self._write(record.partial())

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Show vectors: there is no page of them."""
        return self.sink.embed(events, file)

    def draw(self, events: Iterator[DrawEvent]) -> None:
        """Show images: there is no page of them."""
        self.sink.draw(events)

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Show models: there is no page of them."""
        self.sink.pulled(results)

    def error(self, error: VlmError) -> None:
        """Show what went wrong."""
        self.sink.error(error)

    def note(self, text: str) -> None:
        """Tell the user something on stderr."""
        self.sink.note(text)

    def _write(self, result: Any) -> None:
        with replacing(self.file) as stream:
            stream.write(result_html(result, self.asked).encode())
        self.sink.note(f"the page is {self.file}")


def _recorded(events: Iterator[AskEvent], record: Record) -> Generator[AskEvent, None, None]:
    """The events, written down as they pass; who stops listening stops them."""
    with closing(cast(Generator[AskEvent, None, None], events)):
        for event in events:
            record.add(event)
            yield event
