"""Ask about images: a stream of events, of which the last is the whole answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

from vlmcli.engine.decode import decode
from vlmcli.engine.sampling import check
from vlmcli.models.conversation import Conversation
from vlmcli.models.vlm import Vlm
from vlmcli.tasks.request import Request, image_infos, usage
from vlmcli.tasks.timing import Stopwatch
from vlmcli.types.ask import Answer, AskEvent, FinishReason, TokenEvent
from vlmcli.types.chat import Sampling
from vlmcli.types.result import Start


def ask(vlm: Vlm, request: Request, sampling: Sampling, conversation: Conversation | None = None) -> Iterator[AskEvent]:
    """Start, a TokenEvent for each token, Answer.

    ``conversation`` reads only what is new since the last prompt.

    Works in the caller's thread and only when asked for the next event; closing it stops the work. On Ctrl-C it
    yields an Answer with ``finish_reason="interrupted"`` and what was said so far, then raises KeyboardInterrupt.

    ``timings_ms``: ``load``, ``prepare`` (template, tokenizer, image processor), ``ttft`` (encoder, prefill and first
    token), ``decode`` (the other tokens), ``total``.

    Raises InputError, ContextOverflow, UsageError, NumericalError, OutOfMemory.
    """
    check(sampling)
    watch = Stopwatch(request.load_ms)
    inputs = vlm.prepare(request.prompt)
    watch.lap("prepare")
    inputs = vlm.encode(inputs)
    infos = image_infos(request.images, inputs)
    yield Start(vlm.info, infos, usage(inputs))

    said: list[TokenEvent] = []

    def answer(reason: FinishReason) -> Answer:
        text = "".join(event.text for event in said)
        counts, times = usage(inputs, len(said)), watch.timings_ms()
        return Answer(text, tuple(said), reason, vlm.info, infos, counts, times, vlm.steps.note)

    try:
        reason = yield from _tokens(decode(conversation or vlm, inputs, sampling), said, watch)
    except KeyboardInterrupt:
        yield answer("interrupted")
        raise
    yield answer(reason)


def _tokens(
    events: Generator[TokenEvent, None, FinishReason], said: list[TokenEvent], watch: Stopwatch
) -> Generator[TokenEvent, None, FinishReason]:
    """The decoder's events, written down in ``said`` and timed."""
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                reason: FinishReason = end.value
                return reason
            watch.lap("decode" if said else "ttft")
            said.append(event)
            yield event
