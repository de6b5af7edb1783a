"""Results for a program: one JSON object, or one object a line as things happen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from vlmcli.errors import VlmError
from vlmcli.render.notes import Notes
from vlmcli.render.objects import (
    SCHEMA_VERSION,
    Object,
    anatomy_object,
    answer_object,
    choices_object,
    classification_object,
    cleared_object,
    composed_object,
    embed_totals_object,
    embedding_object,
    entry_object,
    error_object,
    feature_cache_object,
    kept_features_object,
    position_object,
    pulled_object,
    removed_object,
    scored_object,
    scored_token_object,
    skipped_object,
    start_object,
    started_object,
    streamed_token_object,
    topk_object,
    zeroshot_object,
)
from vlmcli.render.record import Interrupted, consume, consume_embeddings
from vlmcli.render.terminal import Terminal
from vlmcli.types.ask import Answer, AskEvent, TokenEvent
from vlmcli.types.cache import Cleared, FeatureCache
from vlmcli.types.choose import Choices
from vlmcli.types.classify import Classification
from vlmcli.types.compose import Composed
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals, Skipped
from vlmcli.types.inspect import Anatomy
from vlmcli.types.models import ModelEntry, Pulled, Removed
from vlmcli.types.result import ImageInfo, Start
from vlmcli.types.score import Scored
from vlmcli.types.topk import TopK
from vlmcli.types.zeroshot import Zeroshot

# json.dumps leaves these as they are, and a terminal acts on some of them.
_CONTROLS = re.compile("[\x7f-\x9f]")
# A list of numbers over several lines. JSON has no line feeds inside of strings, so none of them can match.
_NUMBERS = re.compile(r"\[\n\s*(-?\d[^\[\]{}\"]*?)\s*\]")


@dataclass(frozen=True, slots=True)
class JsonSink:
    """One object a command, written when it is complete."""

    stdout: TextIO
    notes: Notes

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Write the answer. Raises Interrupted after Ctrl-C, when the partial answer has been written."""
        answer = consume(events, lambda event: _note_start(self.notes, event))
        self._write(answer_object(answer))
        _end_ask(self.notes, answer)

    def topk(self, result: TopK) -> None:
        """Write next-token probabilities."""
        _note_result(self.notes, result)
        self._write(topk_object(result))

    def score(self, result: Scored) -> None:
        """Write a given answer."""
        _note_result(self.notes, result)
        self._write(scored_object(result))

    def choose(self, result: Choices) -> None:
        """Write a distribution over options."""
        _note_result(self.notes, result)
        self._write(choices_object(result))
        self.notes.mass(result)

    def check(self, result: Choices) -> None:
        """Write the same for yes and no."""
        self.choose(result)

    def zeroshot(self, result: Zeroshot) -> None:
        """Write scored labels."""
        _note_result(self.notes, result)
        self._write(zeroshot_object(result))

    def inspect(self, result: Anatomy) -> None:
        """Write a model's parts."""
        _note_anatomy(self.notes, result)
        self._write(anatomy_object(result))

    def classify(self, result: Classification) -> None:
        """Write the likeliest classes."""
        _note_result(self.notes, result)
        self._write(classification_object(result))

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

        totals = consume_embeddings(events, take)
        images = tuple(embedding.of for embedding in embeddings if isinstance(embedding.of, ImageInfo))
        vectors = [embedding_object(embedding) for embedding in embeddings]
        refused = [skipped_object(one) for one in skipped]
        self._write({**embed_totals_object(totals, images, file), "embeddings": vectors, "skipped": refused})
        return totals

    def models(self, entries: Sequence[ModelEntry]) -> None:
        """Write the catalogue."""
        self._write({"schema_version": SCHEMA_VERSION, "models": [entry_object(entry) for entry in entries]})

    def model(self, entry: ModelEntry) -> None:
        """Write one model of the catalogue."""
        self._write({"schema_version": SCHEMA_VERSION, **entry_object(entry)})

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Write what is there now, when the last model is complete."""
        self._write({"schema_version": SCHEMA_VERSION, "pulled": [pulled_object(pulled) for pulled in results]})

    def removed(self, removed: Removed) -> None:
        """Write what is gone."""
        self._write({"schema_version": SCHEMA_VERSION, "removed": removed_object(removed)})

    def feature_cache(self, cache: FeatureCache) -> None:
        """Write which image features are kept."""
        self._write({"schema_version": SCHEMA_VERSION, **feature_cache_object(cache)})

    def cleared(self, cleared: Cleared) -> None:
        """Write which image features are gone."""
        self._write({"schema_version": SCHEMA_VERSION, "cleared": cleared_object(cleared)})

    def composed(self, composed: Composed) -> None:
        """Write what a composition is made of."""
        self._write({"schema_version": SCHEMA_VERSION, **composed_object(composed)})

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

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Write each event as it comes. Raises Interrupted after Ctrl-C, when ``done`` has been written."""

        def show(event: AskEvent) -> None:
            _note_start(self.notes, event)
            if isinstance(event, Start):
                self._event("start", started_object(event))
            elif isinstance(event, TokenEvent):
                self._event("token", streamed_token_object(event))

        answer = consume(events, show)
        self._event("done", answer_object(answer))
        _end_ask(self.notes, answer)

    def topk(self, result: TopK) -> None:
        """Write one ``token`` event a position."""
        _note_result(self.notes, result)
        self._event("start", start_object(result.model, result.images, result.usage))
        for position in result.positions:
            self._event("token", position_object(position))
        self._event("done", topk_object(result))

    def score(self, result: Scored) -> None:
        """Write one ``token`` event a token of the answer."""
        _note_result(self.notes, result)
        self._event("start", start_object(result.model, result.images, result.usage))
        for token in result.tokens:
            self._event("token", scored_token_object(token))
        self._event("done", scored_object(result))

    def choose(self, result: Choices) -> None:
        """Write ``start`` and ``done``."""
        _note_result(self.notes, result)
        self._event("start", start_object(result.model, result.images, result.usage))
        self._event("done", choices_object(result))
        self.notes.mass(result)

    def check(self, result: Choices) -> None:
        """Write the same for yes and no."""
        self.choose(result)

    def zeroshot(self, result: Zeroshot) -> None:
        """Write ``start`` and ``done``; the scores of one image depend on all its labels, so none comes earlier."""
        _note_result(self.notes, result)
        self._event("start", start_object(result.model, result.images, result.usage))
        self._event("done", zeroshot_object(result))

    def inspect(self, result: Anatomy) -> None:
        """Write ``done``."""
        _note_anatomy(self.notes, result)
        self._event("done", anatomy_object(result))

    def classify(self, result: Classification) -> None:
        """Write ``start`` and ``done``."""
        _note_result(self.notes, result)
        self._event("start", start_object(result.model, result.images, result.usage))
        self._event("done", classification_object(result))

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

        totals = consume_embeddings(events, show)
        self._event("done", embed_totals_object(totals, (), file))
        return totals

    def models(self, entries: Sequence[ModelEntry]) -> None:
        """Write one ``model`` event a model."""
        for entry in entries:
            self.model(entry)

    def model(self, entry: ModelEntry) -> None:
        """Write one ``model`` event."""
        self._event("model", entry_object(entry))

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Write one ``pulled`` event a model, as soon as it is complete."""
        for pulled in results:
            self._event("pulled", pulled_object(pulled))

    def removed(self, removed: Removed) -> None:
        """Write one ``removed`` event."""
        self._event("removed", removed_object(removed))

    def feature_cache(self, cache: FeatureCache) -> None:
        """Write one ``features`` event an entry, then ``done``, which holds what ``--json`` writes."""
        for entry in cache.entries:
            self._event("features", kept_features_object(entry))
        self._event("done", feature_cache_object(cache))

    def cleared(self, cleared: Cleared) -> None:
        """Write one ``cleared`` event."""
        self._event("cleared", cleared_object(cleared))

    def composed(self, composed: Composed) -> None:
        """Write one ``composed`` event."""
        self._event("composed", composed_object(composed))

    def error(self, error: VlmError) -> None:
        """Write what went wrong to both streams, as JsonSink does."""
        self._event("error", error_object(error))
        self.notes.error(error)

    def note(self, text: str) -> None:
        """Print something that the user should know on stderr."""
        self.notes.note(text)

    def _event(self, kind: str, value: Object) -> None:
        _write(self.stdout, {"type": kind, "schema_version": SCHEMA_VERSION, **value}, indent=None)


def _note_start(notes: Notes, event: AskEvent) -> None:
    if isinstance(event, Start):
        notes.images(event.images)
        notes.inputs(event.model, event.images, event.usage)


def _note_result(notes: Notes, result: TopK | Zeroshot | Classification | Scored | Choices) -> None:
    notes.images(result.images)
    notes.inputs(result.model, result.images, result.usage)
    notes.timings(result.timings_ms)


def _note_anatomy(notes: Notes, result: Anatomy) -> None:
    for text in result.notes:
        notes.note(text)
    notes.images(result.images)


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
