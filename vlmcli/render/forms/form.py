"""How a kind of result is shown: what every room beside this one says of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from vlmcli.render.html.sections import Content, Run
from vlmcli.render.notes import Notes
from vlmcli.render.objects import SCHEMA_VERSION, Object, start_object
from vlmcli.render.table import Table, tables_lines
from vlmcli.render.terminal import Terminal
from vlmcli.types.result import ImageInfo, ModelInfo, Usage

R = TypeVar("R")

Event = tuple[str, Object]
"""The type of a line of JSON, and its fields."""


def _nothing(notes: Notes, result: Any) -> None:
    """There is nothing to say on stderr."""


@dataclass(frozen=True, slots=True)
class Form(Generic[R]):
    """One kind of result, in every shape that somebody may ask for.

    ``lines`` are what a person reads on stdout; ``object`` is what --json writes; ``events`` are the lines of --jsonl.
    ``before`` and ``after`` tell on stderr what belongs to the result: notes for everybody, details where wanted.
    ``page`` is what --html shows; None for what nobody looks into.
    """

    lines: Callable[[R, Terminal], Iterable[str]]
    object: Callable[[R], Object]
    events: Callable[[R], Iterable[Event]]
    before: Callable[[Notes, R], None] = _nothing
    after: Callable[[Notes, R], None] = _nothing
    page: Callable[[R], tuple[Run, Content]] | None = None


class Result(Protocol):
    """What the results of models have in common."""

    @property
    def model(self) -> ModelInfo: ...
    @property
    def images(self) -> tuple[ImageInfo, ...]: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def timings_ms(self) -> dict[str, float]: ...


M = TypeVar("M", bound=Result)


def result_form(
    lines: Callable[[M, Terminal], Iterable[str]],
    to_object: Callable[[M], Object],
    between: Callable[[M], Iterable[Event]] = lambda result: (),
    after: Callable[[Notes, M], None] = _nothing,
    page: Callable[[M], Content] | None = None,
) -> Form[M]:
    """The form of a model's result; as events it is ``start``, what stands ``between``, and ``done``."""

    def events(result: M) -> Iterable[Event]:
        yield "start", start_object(result.model, result.images, result.usage)
        yield from between(result)
        yield "done", to_object(result)

    def begin(notes: Notes, result: M) -> None:
        notes.images(result.images)
        notes.inputs(result.model, result.images, result.usage)

    def end(notes: Notes, result: M) -> None:
        after(notes, result)
        notes.timings(result.timings_ms)

    def paged(result: M) -> tuple[Run, Content]:
        assert page is not None
        return Run((result.model,), result.images, result.usage, result.timings_ms), page(result)

    return Form(lines, to_object, events, begin, end, paged if page is not None else None)


def as_lines(tables: Callable[[R, Terminal], Iterable[Table]]) -> Callable[[R, Terminal], list[str]]:
    """Lines for a person out of a function that makes tables."""
    return lambda result, terminal: tables_lines(tables(result, terminal), terminal)


def simple_form(
    kind: str,
    lines: Callable[[R, Terminal], Iterable[str]],
    to_object: Callable[[R], Object],
    *,
    nested: bool = False,
    before: Callable[[Notes, R], None] = _nothing,
    after: Callable[[Notes, R], None] = _nothing,
) -> Form[R]:
    """The form of what is one event, of this ``kind``; ``nested``: under that name in the object of --json."""

    def whole(result: R) -> Object:
        own = to_object(result)
        return {"schema_version": SCHEMA_VERSION, **({kind: own} if nested else own)}

    return Form(lines, whole, lambda result: [(kind, to_object(result))], before, after)


def per_image(scores: Sequence[R], images: int) -> Iterator[Sequence[R]]:
    """Scores image by image. They are counted out, not grouped by name: the same file may be given twice."""
    each = max(len(scores) // max(images, 1), 1)
    return (scores[i : i + each] for i in range(0, len(scores), each))
