"""The loop stops when it should, works only when asked, and says why it ended. Its model here is a scripted fake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.engine.decode import decode
from vlmcli.errors import NumericalError
from vlmcli.inputs.detokenize import Vocabulary
from vlmcli.types.ask import FinishReason, TokenEvent
from vlmcli.types.chat import Sampling

TOKENIZER = tiny.tokenizer()
CPU = torch.device("cpu")
EOS = TOKENIZER.eos_token_id


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False))


@dataclass
class Asked:
    ids: tuple[int, ...] = (5, 6, 7)


@dataclass
class State:
    logits: torch.Tensor


@dataclass
class Scripted:
    """A decoder that wants to say ``script``, and remembers what it was told."""

    script: Sequence[int]
    context: int | None = None
    eos_ids: frozenset[int] = frozenset({EOS})
    device: torch.device = CPU
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary(TOKENIZER))
    heard: list[int] = field(default_factory=list)

    def prefill(self, inputs: Any) -> State:
        return State(self._wish())

    def step(self, state: State, token_id: int) -> torch.Tensor:
        self.heard.append(token_id)
        state.logits = self._wish()
        return state.logits

    def _wish(self) -> torch.Tensor:
        logits = torch.zeros(len(TOKENIZER))
        logits[self.script[len(self.heard)]] = 9.0
        return logits


def run(model: Scripted, sampling: Sampling) -> tuple[list[TokenEvent], FinishReason]:
    """All events, and the generator's return value."""
    events: list[TokenEvent] = []
    stream = decode(model, Asked(), sampling)
    while True:
        try:
            events.append(next(stream))
        except StopIteration as end:
            return events, end.value


def text(events: list[TokenEvent]) -> str:
    return "".join(event.text for event in events)


def test_it_stops_at_the_end_of_sequence() -> None:
    model = Scripted([*ids_of("a cat"), EOS, *ids_of("never")])
    events, reason = run(model, Sampling())
    assert (text(events), reason) == ("a cat", "stop")
    assert events[-1].id == EOS and events[-1].token == "</s>" and events[-1].text == ""
    assert model.heard == ids_of("a cat"), "it computed on after the end of sequence"


def test_every_end_of_sequence_counts() -> None:
    other = ids_of("dog")[0]
    _, reason = run(Scripted([*ids_of("a"), other], eos_ids=frozenset({EOS, other})), Sampling())
    assert reason == "stop"


def test_it_stops_at_the_limit() -> None:
    script = ids_of("a photo of a cat on a hill")
    model = Scripted(script)
    events, reason = run(model, Sampling(max_tokens=3))
    assert ([event.id for event in events], reason) == (script[:3], "length")
    assert model.heard == script[:2], "the last token's successor was computed for nothing"


def test_the_context_is_a_limit_too() -> None:
    events, reason = run(Scripted(ids_of("a photo of a cat on a hill"), context=5), Sampling(max_tokens=100))
    assert (len(events), reason) == (2, "length")


@pytest.mark.parametrize("stop", ["dog", " jum", "x jumped o"])
def test_it_stops_at_a_stop_string(stop: str) -> None:
    sentence = "The quick brown fox jumped over the lazy dog."
    model = Scripted([*ids_of(sentence), EOS])
    events, reason = run(model, Sampling(stop=(stop,)))
    assert (text(events), reason) == (sentence[: sentence.index(stop)], "stop")
    assert len(model.heard) < len(ids_of(sentence)), "it went on after the stop string"


@pytest.mark.parametrize("ending", [[EOS], []], ids=["eos", "limit"])
def test_what_was_held_back_comes_with_the_last_event(ending: list[int]) -> None:
    script = [*ids_of("a cat"), ids_of("é")[0], *ending]
    events, _ = run(Scripted([*script, 0]), Sampling(max_tokens=len(script), stop=("cats",)))
    assert text(events) == TOKENIZER.decode(script, skip_special_tokens=True)


def test_characters_of_several_tokens_come_whole() -> None:
    script = ids_of("é🐈")
    events, _ = run(Scripted([*script, EOS]), Sampling())
    assert text(events) == "é🐈" and len(events) == len(script) + 1
    assert b"".join(event.bytes for event in events[:-1]) == "é🐈".encode()
    assert all("\N{REPLACEMENT CHARACTER}" not in event.text for event in events)


def test_events_are_numbered_and_timed() -> None:
    events, _ = run(Scripted(ids_of("a photo of a cat")), Sampling(max_tokens=4))
    assert [event.index for event in events] == [0, 1, 2, 3]
    times = [event.elapsed_s for event in events]
    assert times == sorted(times) and times[0] >= 0


def test_it_works_only_when_asked() -> None:
    model = Scripted(ids_of("a photo of a cat"))
    stream = decode(model, Asked(), Sampling())
    next(stream)
    assert model.heard == []
    next(stream)
    assert len(model.heard) == 1
    stream.close()
    assert list(stream) == [] and len(model.heard) == 1


def test_inference_mode_ends_with_the_work() -> None:
    stream = decode(Scripted(ids_of("a photo")), Asked(), Sampling())
    next(stream)
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_is_an_error(temperature: float) -> None:
    class Broken(Scripted):
        def _wish(self) -> torch.Tensor:
            return super()._wish() * float("nan")

    with pytest.raises(NumericalError, match="NaN"):
        run(Broken([1]), Sampling(temperature=temperature))


def test_top_logprobs_are_as_many_as_wanted() -> None:
    events, _ = run(Scripted(ids_of("a cat")), Sampling(max_tokens=1, top_logprobs=3))
    assert len(events[0].top) == 3
    assert events[0].top[0].id == events[0].id and events[0].top[0].logprob == events[0].logprob
