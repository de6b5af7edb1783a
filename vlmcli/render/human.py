"""Results for a person: the answer alone on stdout as it comes, tables, everything else on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from vlmcli.errors import VlmError
from vlmcli.render.anatomy import diagram_lines, fact_lines, heading, parts_table
from vlmcli.render.escape import TerminalFilter
from vlmcli.render.notes import Notes
from vlmcli.render.record import Interrupted, consume, consume_embeddings
from vlmcli.render.table import Table, table_lines
from vlmcli.render.terminal import Terminal
from vlmcli.render.views import (
    choices_table,
    classify_tables,
    cleared_line,
    composed_table,
    embedding_tables,
    feature_cache_line,
    feature_cache_table,
    files_table,
    kept_line,
    model_lines,
    models_table,
    pulled_line,
    removed_line,
    scored_table,
    topk_tables,
    zeroshot_tables,
)
from vlmcli.types.ask import AskEvent, TokenEvent
from vlmcli.types.cache import Cleared, FeatureCache
from vlmcli.types.choose import Choices
from vlmcli.types.classify import Classification
from vlmcli.types.compose import Composed
from vlmcli.types.embed import Embedding, EmbedEvent, EmbedTotals
from vlmcli.types.inspect import Anatomy
from vlmcli.types.models import ModelEntry, Pulled, Removed
from vlmcli.types.result import Start
from vlmcli.types.score import Scored
from vlmcli.types.topk import TopK
from vlmcli.types.zeroshot import Zeroshot


@dataclass(frozen=True, slots=True)
class HumanSink:
    """The sink of a terminal session, and of a pipe into grep."""

    stdout: TextIO
    notes: Notes

    def ask(self, events: Iterator[AskEvent]) -> None:
        """Stream the answer token by token. Raises Interrupted after Ctrl-C, when the line has been ended."""
        stream = _AnswerStream(self.stdout)

        def show(event: AskEvent) -> None:
            if isinstance(event, Start):
                self.notes.images(event.images)
                self.notes.inputs(event.model, event.images, event.usage)
            elif isinstance(event, TokenEvent):
                stream.write(event.text)

        try:
            answer = consume(events, show)
            stream.write(answer.text[stream.taken :])
        finally:
            stream.end()
        self.notes.outcome(answer)
        if answer.finish_reason == "interrupted":
            raise Interrupted

    def topk(self, result: TopK) -> None:
        """Print the table of candidates."""
        self.notes.images(result.images)
        self.notes.inputs(result.model, result.images, result.usage)
        self._tables(topk_tables(result, Terminal.of(self.stdout)))
        self.notes.timings(result.timings_ms)

    def score(self, result: Scored) -> None:
        """Print the table of an answer's tokens, and their sum below it."""
        self.notes.images(result.images)
        self.notes.inputs(result.model, result.images, result.usage)
        self._tables([scored_table(result, Terminal.of(self.stdout))])
        self.notes.timings(result.timings_ms)

    def choose(self, result: Choices) -> None:
        """Print the table of options, the likeliest first, and their mass below it."""
        self.notes.images(result.images)
        self.notes.inputs(result.model, result.images, result.usage)
        self._tables([choices_table(result, Terminal.of(self.stdout))])
        self.notes.mass(result)
        self.notes.timings(result.timings_ms)

    def check(self, result: Choices) -> None:
        """Print yes or no alone; how sure that is, is a note."""
        self.notes.images(result.images)
        self.notes.inputs(result.model, result.images, result.usage)
        self._lines([result.best.option])
        self.notes.mass(result)
        self.notes.certainty(result)
        self.notes.timings(result.timings_ms)

    def zeroshot(self, result: Zeroshot) -> None:
        """Print one table of labels an image."""
        self.notes.images(result.images)
        self.notes.inputs(result.model, result.images)
        self._tables(zeroshot_tables(result))
        self.notes.timings(result.timings_ms)

    def inspect(self, result: Anatomy) -> None:
        """Print the diagram, the table of parts, and what is not a part's own."""
        for text in result.notes:
            self.notes.note(text)
        self.notes.images(result.images)
        terminal = Terminal.of(self.stdout)
        parts = table_lines(parts_table(result), terminal)
        self._lines(
            [terminal.bold(heading(result)), "", *diagram_lines(result, terminal), "", *parts, "", *fact_lines(result)]
        )

    def classify(self, result: Classification) -> None:
        """Print one table of classes an image."""
        self.notes.images(result.images)
        self.notes.inputs(result.model, result.images)
        self._tables(classify_tables(result))
        self.notes.timings(result.timings_ms)

    def embed(self, events: Iterator[EmbedEvent], file: str | None = None) -> EmbedTotals:
        """Print what the vectors are of and how alike they are; one line where a file keeps them."""
        shown: list[Embedding] = []

        def take(event: EmbedEvent) -> None:
            self.notes.embed(event)
            if isinstance(event, Embedding) and file is None:
                shown.append(event)

        totals = consume_embeddings(events, take)
        if file is None:
            self._tables(embedding_tables(shown))
        else:
            self._lines([kept_line(totals, file)])
        return totals

    def models(self, entries: Sequence[ModelEntry]) -> None:
        """Print the catalogue."""
        self._tables([models_table(entries)])

    def model(self, entry: ModelEntry) -> None:
        """Print one model of the catalogue, and its files."""
        self._lines(model_lines(entry))
        if entry.files:
            self._lines([""])
            self._tables([files_table(entry.files)])

    def pulled(self, results: Iterator[Pulled]) -> None:
        """Print a line for each model, as soon as it is complete."""
        for pulled in results:
            self._lines([pulled_line(pulled)])

    def removed(self, removed: Removed) -> None:
        """Print which downloads are gone."""
        self._lines([removed_line(removed)])

    def feature_cache(self, cache: FeatureCache) -> None:
        """Print which image features are kept, an entry a row."""
        if cache.entries:
            self._tables([feature_cache_table(cache)])
        self.notes.note(feature_cache_line(cache))

    def cleared(self, cleared: Cleared) -> None:
        """Print which image features are gone."""
        self._lines([cleared_line(cleared)])

    def composed(self, composed: Composed) -> None:
        """Print what a composition is made of."""
        self._tables([composed_table(composed)])
        self.notes.note(f"{composed.name} stands in {composed.catalog}")
        if composed.weights is not None:
            self.notes.note(f"its new weights are in {composed.weights}")
        for text in composed.notes:
            self.notes.note(f"{composed.name}: {text}")

    def error(self, error: VlmError) -> None:
        """Print what went wrong on stderr."""
        self.notes.error(error)

    def note(self, text: str) -> None:
        """Print something that the user should know on stderr."""
        self.notes.note(text)

    def _tables(self, tables: Iterable[Table]) -> None:
        terminal = Terminal.of(self.stdout)
        self._lines("\n\n".join("\n".join(table_lines(table, terminal)) for table in tables).split("\n"))

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
