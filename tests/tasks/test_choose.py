"""Options share one probability, whatever their number of tokens; no answer counts for two of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.tasks.test_score import FAMILIES, about, request
from vlmcli.engine.decode import prefill
from vlmcli.engine.forced import distribution, likeliest_way
from vlmcli.errors import InputError, UsageError
from vlmcli.tasks.choose import choose
from vlmcli.tasks.request import Request
from vlmcli.tasks.score import score
from vlmcli.types.choose import Choices

ANIMALS = ("a cat", "the lazy dog", "a quick brown fox")


def written(vlm: Any, asked: Request, *texts: str) -> list[tuple[int, ...]]:
    inputs = vlm.prepare(asked.prompt)
    return list(likeliest_way(vlm.tokenizer, texts, inputs.ids, distribution(prefill(vlm, inputs))))


def logprob(vlm: Any, asked: Request, ids: tuple[int, ...]) -> float:
    return score(vlm, asked, answer_ids=ids).logprob


def probabilities(result: Choices) -> dict[str, float]:
    return {choice.option: choice.probability for choice in result.choices}


@pytest.mark.parametrize("family", FAMILIES)
def test_options_do_not_disturb_each_other(model: Any, family: str) -> None:
    """Each has the log-probability that it has by itself, in whatever order they come; together they are 1."""
    vlm, asked = model(family), about(family)
    result = choose(vlm, asked, ANIMALS)
    assert math.fsum(choice.probability for choice in result.choices) == pytest.approx(1)
    assert math.fsum(choice.normalized for choice in result.choices) == pytest.approx(1)
    assert result.mass == pytest.approx(math.fsum(math.exp(choice.logprob) for choice in result.choices))
    assert probabilities(choose(vlm, asked, ANIMALS[::-1])) == pytest.approx(probabilities(result), abs=1e-5)
    ids = written(vlm, asked, *ANIMALS, *(text.capitalize() for text in ANIMALS))
    for choice, one, other in zip(result.choices, ids[:3], ids[3:], strict=True):
        alone = [logprob(vlm, asked, one), logprob(vlm, asked, other)]
        assert math.exp(choice.logprob) == pytest.approx(math.fsum(map(math.exp, alone)), rel=1e-3)
        assert choice.tokens == len(one if alone[0] > alone[1] else other)
        assert choice.per_token == pytest.approx(choice.logprob / choice.tokens)


def test_the_beginning_of_another_option_must_be_the_whole_answer(model: Any) -> None:
    vlm, asked = model("llava"), request()
    short, long = written(vlm, asked, " cat", " catcat")
    assert long[: len(short)] == short, "these options no longer try what the test is about"
    (end,) = vlm.eos_ids
    alone = [logprob(vlm, asked, (*short, end)), logprob(vlm, asked, long)]
    result = choose(vlm, asked, [" cat", " catcat"])
    assert [choice.logprob for choice in result.choices] == pytest.approx(alone, abs=1e-4)
    assert choose(vlm, asked, [" cat", " dog"]).choices[0].logprob == pytest.approx(
        logprob(vlm, asked, short), abs=1e-4
    )


def test_the_mass_of_all_tokens_is_everything(model: Any) -> None:
    """Every single token as an option: there is nothing else to say."""
    vlm, asked = model("llama"), request(0)
    tokens = [vlm.vocabulary.token(i) for i in range(len(vlm.tokenizer))]
    own = [text for i, text in enumerate(tokens) if vlm.tokenizer.encode(text, add_special_tokens=False) == [i]]
    result = choose(vlm, asked, [text for text in own if text.strip()])
    assert 0.5 < result.mass <= 1 + 1e-6


def test_shown_options_are_averaged_over_their_orders(model: Any) -> None:
    """The space before each leaves one way to write it; elsewhere the first order decides for all."""
    vlm, animals = model("llava"), [f" {animal}" for animal in ANIMALS]
    shown = choose(vlm, request(text="Which is it, {options}?"), animals, show_options=True)
    a, b, c = animals
    listings = (f"{a}, {b} or {c}", f"{b}, {c} or {a}", f"{c}, {a} or {b}")
    orders = [choose(vlm, request(text=f"Which is it, {listing}?"), animals) for listing in listings]
    assert shown.mass == pytest.approx(math.fsum(order.mass for order in orders) / 3, rel=1e-4)
    for i, choice in enumerate(shown.choices):
        alone = [order.choices[i] for order in orders]
        assert math.exp(choice.logprob) == pytest.approx(math.fsum(math.exp(c.logprob) for c in alone) / 3, rel=1e-4)
        assert choice.by_order == pytest.approx([c.probability for c in alone], abs=1e-5)
    assert math.fsum(choice.probability for choice in shown.choices) == pytest.approx(1)


def test_without_a_place_the_options_stand_at_the_end(model: Any) -> None:
    vlm = model("llama")
    shown = choose(vlm, request(0, "Which?"), ["a cat", "a dog"], show_options=True)
    at_the_end = choose(vlm, request(0, "Which?\n{options}"), ["a cat", "a dog"], show_options=True)
    assert shown.choices == at_the_end.choices
    assert shown.choices != choose(vlm, request(0, "Which?"), ["a cat", "a dog"]).choices


def test_hidden_options_have_one_order(model: Any) -> None:
    result = choose(model("llava"), request(), ["cat", "dog"])
    assert [choice.by_order for choice in result.choices] == [(), ()]
    assert result.usage.image_tokens == 16 and result.mean is None
    assert list(result.timings_ms) == ["load", "prepare", "prefill", "score", "total"]


def test_a_capital_that_is_an_option_itself_counts_for_that_one(model: Any) -> None:
    vlm, asked = model("llama"), request(0)
    lower, upper = written(vlm, asked, "a", "A")
    result = choose(vlm, asked, ["a", "A"])
    alone = [logprob(vlm, asked, lower), logprob(vlm, asked, upper)]
    assert [choice.logprob for choice in result.choices] == pytest.approx(alone, abs=1e-4)


def test_a_rating_has_a_mean(model: Any) -> None:
    result = choose(model("llava"), request(), ["1", "2", "10"])
    one, two, ten = (choice.probability for choice in result.choices)
    assert result.mean == pytest.approx(one + 2 * two + 10 * ten)
    assert result.best.probability == max(one, two, ten)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ([], UsageError, "two options"),
        (["cat"], UsageError, "two options"),
        (["cat", " "], UsageError, "empty"),
        (["cat", "cat"], UsageError, "twice"),
        (["cat", "<image>"], InputError, "cannot say"),
    ],
)
def test_what_is_no_choice(model: Any, options: list[str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        choose(model("llava"), request(), options)


def test_options_that_the_tokenizer_cannot_tell_apart(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = model("llama")
    encode = type(vlm.tokenizer).encode
    monkeypatch.setattr(
        type(vlm.tokenizer), "encode", lambda self, text, **options: encode(self, text.lower(), **options)
    )
    with pytest.raises(UsageError, match="'cat' and 'CAT'"):
        choose(vlm, request(0), ["cat", "CAT"])
