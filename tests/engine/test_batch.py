"""Answers side by side are the answers that each prompt gives alone; who has finished is computed no more."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests import tiny
from tests.families import FAMILIES, Family
from vlmcli.engine.batch import decode_batch
from vlmcli.engine.decode import decode
from vlmcli.inputs.chat import Prompt
from vlmcli.types.ask import TokenEvent
from vlmcli.types.chat import Message, Sampling

QUESTIONS = ("What is in the image?", "Describe the lazy dog on the hill, please!", "Count.")


def asked(vlm: Any) -> list[Prompt]:
    """Prompts of unlike length."""
    return [
        Prompt((Message("user", text, int(vlm.sees)),), (tiny.picture(i, (40, 40)),) * vlm.sees)
        for i, text in enumerate(QUESTIONS)
    ]


def alone(vlm: Any, prompt: Prompt, sampling: Sampling) -> tuple[list[tuple[int, str]], str]:
    return collected(decode(vlm, vlm.prepare(prompt), sampling))


def collected(events: Generator[TokenEvent, None, Any]) -> tuple[list[tuple[int, str]], Any]:
    said = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return said, end.value
        said.append((event.id, event.text))


def together(vlm: Any, prompts: list[Prompt], sampling: Sampling) -> tuple[list[list[tuple[int, str]]], Any]:
    said: list[list[tuple[int, str]]] = [[] for _ in prompts]
    events = decode_batch(vlm, vlm.prepare_batch(prompts), sampling)
    while True:
        try:
            row, event = next(events)
        except StopIteration as end:
            return said, end.value
        assert event.index == len(said[row])
        said[row].append((event.id, event.text))


def unlike_ends(vlm: Any, prompts: list[Prompt], tokens: int) -> Sampling:
    """A sampling under which the answers end at different places: one of them at a token of its own."""
    free = [alone(vlm, prompt, Sampling(tokens))[0] for prompt in prompts]
    own = next((text for _, text in free[1] if text.strip() and all(text not in t for _, t in free[0])), None)
    return Sampling(tokens, stop=(own,) if own else ())


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.alone], ids=lambda f: f.tiny)
def test_every_row_says_what_it_says_alone(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    prompts = asked(vlm)
    sampling = unlike_ends(vlm, prompts, 8)
    separate = [alone(vlm, prompt, sampling) for prompt in prompts]
    said, reasons = together(vlm, prompts, sampling)
    assert said == [tokens for tokens, _ in separate]
    assert reasons == tuple(reason for _, reason in separate)


def test_who_has_finished_is_computed_no_more(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = model("llava")
    prompts = asked(vlm)
    sampling = unlike_ends(vlm, prompts, 12)
    lengths = sorted(len(alone(vlm, prompt, sampling)[0]) for prompt in prompts)
    assert lengths[0] < lengths[-1], "all answers have one length: nothing leaves"
    widths, step = [], vlm.step_batch
    monkeypatch.setattr(vlm, "step_batch", lambda state, ids: widths.append(len(ids)) or step(state, ids))
    together(vlm, prompts, sampling)
    assert widths == [sum(length > done for length in lengths) for done in range(1, lengths[-1])]


def test_a_seed_counts_for_every_row(model: Any) -> None:
    vlm = model("llava")
    prompts = asked(vlm)
    sampling = Sampling(6, temperature=1.0, seed=3)
    said, _ = together(vlm, prompts, sampling)
    assert said == [alone(vlm, prompt, sampling)[0] for prompt in prompts]
