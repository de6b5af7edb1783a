"""The decoding loop: prefill, then sample and decode one token at a time."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vlmcli.engine.sampling import Sampler, logprobs
from vlmcli.inputs.detokenize import Detokenizer, Vocabulary
from vlmcli.types.ask import FinishReason, TokenEvent
from vlmcli.types.chat import Sampling
from vlmcli.types.result import TopToken


class Decoder(Protocol):
    """What the loop needs of a model: ``models.vlm.Vlm``, or a fake."""

    vocabulary: Vocabulary
    eos_ids: frozenset[int]

    @property
    def device(self) -> torch.device: ...

    @property
    def context(self) -> int | None: ...

    def prefill(self, inputs: Any) -> Any: ...

    def step(self, state: Any, token_id: int) -> Tensor: ...


def decode(model: Decoder, inputs: Any, sampling: Sampling) -> Generator[TokenEvent, None, FinishReason]:
    """Generate an answer, one TokenEvent at a time; the generator's return value says why it ended.

    ``stop``: an end-of-sequence token (which is the last event: its ``text`` is what had been held back) or a stop
    string; ``length``: ``max_tokens``, or the model's context is full. ``elapsed_s`` counts from the call. Nothing is
    computed beyond the token that was asked for last, so closing the generator stops the work.

    Raises NumericalError for NaN or infinite logits, OutOfMemory, InputError.
    """
    answer = Answering(model, inputs.ids, sampling)
    state = prefill(model, inputs)
    while answer.reason is None:
        event = answer.say(state.logits)
        yield event
        if answer.reason is None:
            decode_one(model, state, event.id)
    return answer.reason


class Answering:
    """One answer as it grows: what was said so far, and whether that was all (``reason``)."""

    def __init__(self, model: Decoder, prompt: Sequence[int], sampling: Sampling) -> None:
        self.reason: FinishReason | None = None
        self._began = time.perf_counter()
        self._model, self._sampling = model, sampling
        self._sampler = Sampler(sampling, model.device)
        self._text = Detokenizer(model.vocabulary, sampling.stop)
        self._history = list(prompt)
        self._index, self._limit = 0, token_limit(model, len(prompt), sampling)
        if self._limit < 1:
            self.reason = "length"

    def say(self, logits: Tensor) -> TokenEvent:
        """Pick the next token from the logits [V]. Raises NumericalError."""
        token_id, distribution = sample(self._sampler, self._history, logits)
        self._history.append(token_id)
        ended, last = token_id in self._model.eos_ids, self._index + 1 == self._limit
        piece = "" if ended else self._text.add(token_id)
        if ended or last:
            piece += self._text.flush()
        if ended or self._text.stopped:
            self.reason = "stop"
        elif last:
            self.reason = "length"
        index, self._index = self._index, self._index + 1
        elapsed_s = time.perf_counter() - self._began
        top = self._sampling.top_logprobs
        return _event(self._model.vocabulary, index, token_id, piece, distribution, top, elapsed_s)


def prefill(model: Decoder, inputs: Any) -> Any:
    """Read the prompt; the state knows the logits of the first token."""
    return model.prefill(inputs)


def decode_one(model: Decoder, state: Any, token_id: int) -> Tensor:
    """Append a token; the logits [V] of the next."""
    return model.step(state, token_id)


def sample(sampler: Sampler, history: list[int], logits: Tensor) -> tuple[int, Tensor]:
    """The next id, and the log-probabilities [V] of the raw model distribution, before any filter."""
    with torch.inference_mode():
        distribution = logprobs(logits)  # first: it refuses NaN, of which nothing can be drawn
        return sampler(history, logits), distribution


def token_limit(model: Decoder, prompt_tokens: int, sampling: Sampling) -> int:
    """``max_tokens``, or what the prompt leaves of the context."""
    return sampling.max_tokens if model.context is None else min(sampling.max_tokens, model.context - prompt_tokens)


def top_tokens(vocabulary: Vocabulary, distribution: Tensor, k: int) -> tuple[TopToken, ...]:
    """The ``k`` likeliest tokens of log-probabilities [V], the likeliest first."""
    values, ids = distribution.topk(min(k, len(distribution)))
    return tuple(
        TopToken(i, vocabulary.token(i), vocabulary.bytes(i), value)
        for i, value in zip(ids.tolist(), values.tolist(), strict=True)
    )


def _event(
    vocabulary: Vocabulary, index: int, token_id: int, text: str, distribution: Tensor, top: int, elapsed_s: float
) -> TokenEvent:
    return TokenEvent(
        index=index,
        id=token_id,
        token=vocabulary.token(token_id),
        text=text,
        bytes=vocabulary.bytes(token_id),
        logprob=float(distribution[token_id]),
        top=top_tokens(vocabulary, distribution, top) if top else (),
        elapsed_s=elapsed_s,
    )
