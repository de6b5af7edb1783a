"""Where every command leaves its result: one interface, and the four ways to write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TextIO

from vlmcli.errors import VlmError
from vlmcli.render.human import HumanSink
from vlmcli.render.machine import JsonlSink, JsonSink
from vlmcli.render.notes import Notes
from vlmcli.types.ask import AskEvent
from vlmcli.types.cache import Cleared, FeatureCache
from vlmcli.types.choose import Choices
from vlmcli.types.classify import Classification
from vlmcli.types.compose import Composed
from vlmcli.types.embed import EmbedEvent, EmbedTotals
from vlmcli.types.inspect import Anatomy
from vlmcli.types.models import ModelEntry, Pulled, Removed
from vlmcli.types.score import Scored
from vlmcli.types.topk import TopK
from vlmcli.types.zeroshot import Zeroshot

Mode = Literal["human", "json", "jsonl", "quiet"]
"""``quiet`` is ``human`` without notes."""


class Sink(Protocol):
    """What a command can say. Every method may raise OSError from its stream (BrokenPipeError among them)."""

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Show an answer while it is made, and close ``events``. Raises Interrupted after Ctrl-C."""

    def topk(self, result: TopK) -> None:
        """Show next-token probabilities."""

    def score(self, result: Scored) -> None:
        """Show how likely a given answer is."""

    def choose(self, result: Choices) -> None:
        """Show a distribution over options."""

    def check(self, result: Choices) -> None:
        """Show a yes or a no."""

    def zeroshot(self, result: Zeroshot) -> None:
        """Show scored labels."""

    def inspect(self, result: Anatomy) -> None:
        """Show what a model is made of."""

    def classify(self, result: Classification) -> None:
        """Show the likeliest classes."""

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Show vectors while they are made, or only that ``file`` keeps them; close ``events``; return the totals."""
        ...

    def models(self, entries: Sequence[ModelEntry]) -> None:
        """Show the catalogue."""

    def model(self, entry: ModelEntry) -> None:
        """Show one model of the catalogue."""

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Show each model that is complete on this machine, as soon as it is."""

    def removed(self, removed: Removed) -> None:
        """Show which downloads are gone."""

    def feature_cache(self, cache: FeatureCache) -> None:
        """Show which image features are kept."""

    def cleared(self, cleared: Cleared) -> None:
        """Show which image features are gone."""

    def composed(self, composed: Composed) -> None:
        """Show a composition that was put together."""

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
