"""Reading a given answer: a step for each distribution that is asked for, and the tokens that greedy decoding takes."""

from __future__ import annotations

import math

import pytest
import torch

from tests import tiny
from tests.engine.test_decode import Asked, Scripted, ids_of
from vlmcli.engine import forced
from vlmcli.errors import InputError, NumericalError


def test_a_step_is_taken_when_it_is_asked_for() -> None:
    ids = ids_of("a photo of a cat")
    model = Scripted([*ids, *ids])
    steps = forced.follow(model, model.prefill(Asked()), ids)
    for count, token_id in enumerate(ids):
        assert int(next(steps).argmax()) == token_id
        assert model.heard == ids[:count], "it computed what nobody asked for"
    next(steps)
    assert model.heard == ids


def test_the_way_is_the_one_that_begins_like_the_greedy_answer() -> None:
    tokenizer = tiny.tokenizer()
    for said in ("cat", " cat"):
        ids = tuple(tokenizer.encode(said, add_special_tokens=False))
        first = torch.full((len(tokenizer),), -9.0)
        first[ids[0]] = -0.1
        assert forced.likeliest_way(tokenizer, ["cat"], [5, 6], first) == (ids,)


def test_an_answer_without_tokens() -> None:
    with pytest.raises(InputError, match="no tokens"):
        forced.likeliest_way(tiny.tokenizer(), [""], [5], torch.zeros(400))


def test_figures_of_a_distribution() -> None:
    distribution = torch.tensor([0.5, 0.25, 0.125, 0.125, 0.0]).log()
    assert [forced.rank(distribution, i) for i in range(5)] == [1, 2, 3, 3, 5]
    assert forced.entropy(distribution) == pytest.approx(1.75 * math.log(2))
    assert forced.end_logprob(distribution, frozenset({1, 2})) == pytest.approx(math.log(0.375))


def test_nan_is_refused() -> None:
    model = Scripted(ids_of("a"))
    state = model.prefill(Asked())
    state.logits[0] = math.nan
    with pytest.raises(NumericalError):
        forced.distribution(state)
