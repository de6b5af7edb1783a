"""What an answer has said so far, so that an interrupted one is not lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vlmcli.types.ask import Answer, AskEvent, TokenEvent
from vlmcli.types.result import Start

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C after which the partial answer has already been shown."""


@dataclass(slots=True)
class Record:
    """The events seen so far."""

    start: Start | None = None
    tokens: list[TokenEvent] = field(default_factory=list)
    answer: Answer | None = None

    def add(self, event: AskEvent) -> None:
        """Keep one more event."""
        if isinstance(event, Start):
            self.start = event
        elif isinstance(event, TokenEvent):
            self.tokens.append(event)
        else:
            self.answer = event

    def partial(self) -> Answer | None:
        """The answer as far as it got, or None where not even the prompt had been read."""
        if self.answer is not None or self.start is None:
            return self.answer
        usage = self.start.usage
        return Answer(
            text="".join(token.text for token in self.tokens),
            tokens=tuple(self.tokens),
            finish_reason="interrupted",
            model=self.start.model,
            images=self.start.images,
            usage=type(usage)(usage.prompt_tokens, usage.image_tokens, len(self.tokens)),
        )


def consume(events: Iterator[AskEvent], show: Callable[[AskEvent], None]) -> Answer:
    """Hand each event to ``show`` and return the answer, which is a partial one (``interrupted``) after Ctrl-C.

    The iterator is closed in any case, which stops the engine. KeyboardInterrupt passes when there is no answer yet.
    """
    record = Record()
    try:
        for event in events:
            record.add(event)
            show(event)
    except KeyboardInterrupt:
        if record.partial() is None:
            raise
    finally:
        _close(events)
    return _answer(record)


def consume_totals(events: Iterator[Any], show: Callable[[Any], None], kind: type[T]) -> T:
    """Hand each event to ``show`` and return the last, of this ``kind``. The iterator is closed in any case."""
    last = None
    try:
        for last in events:
            show(last)
    finally:
        _close(events)
    if not isinstance(last, kind):
        raise RuntimeError(f"the events ended without {kind.__name__}")
    return last


def _answer(record: Record) -> Answer:
    answer = record.partial()
    if answer is None:
        raise RuntimeError("the engine ended without a Start or an Answer event")
    return answer


def _close(events: Iterator[Any]) -> None:
    close = getattr(events, "close", None)
    if close is not None:
        close()
