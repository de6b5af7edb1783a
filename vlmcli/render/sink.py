"""Where every command leaves its result: one interface, and the four ways to write it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol, TextIO

from vlmcli.errors import VlmError
from vlmcli.render.human import HumanSink
from vlmcli.render.machine import JsonlSink, JsonSink
from vlmcli.render.notes import Notes
from vlmcli.types.ask import AskEvent
from vlmcli.types.draw import DrawEvent
from vlmcli.types.embed import EmbedEvent, EmbedTotals
from vlmcli.types.models import Pulled

Mode = Literal["human", "json", "jsonl", "quiet"]
"""``quiet`` is ``human`` without notes."""


class Sink(Protocol):
    """What a command can say. Every method may raise OSError from its stream (BrokenPipeError among them)."""

    def show(self, result: Any) -> None:
        """Show a whole result, of a kind that ``vlmcli.render.forms`` knows."""

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Show an answer while it is made, and close ``events``. Raises Interrupted after Ctrl-C."""

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Show vectors while they are made, or only that ``file`` keeps them; close ``events``; return the totals."""
        ...

    def draw(self, events: Iterator[DrawEvent]) -> None:
        """Show images while they are drawn, and close ``events``."""

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Show each model that is complete on this machine, as soon as it is."""

    def error(self, error: VlmError) -> None:
        """Show what went wrong."""

    def note(self, text: str) -> None:
        """Tell the user something on stderr."""


def make_sink(mode: Mode, *, verbose: bool = False, quiet: bool = False, stdout: TextIO, stderr: TextIO) -> Sink:
    """The sink of one mode; ``quiet`` silences the notes of the machine modes as well."""
    notes = Notes(stderr, quiet=quiet or mode == "quiet", verbose=verbose)
    if mode == "json":
        return JsonSink(stdout, notes)
    if mode == "jsonl":
        return JsonlSink(stdout, notes)
    return HumanSink(stdout, notes)
