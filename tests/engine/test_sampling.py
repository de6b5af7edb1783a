"""Filters are transformers', seeds are kept, and bad numbers have a name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.engine.decode import decode
from vlmcli.engine.sampling import Sampler, check, logprobs
from vlmcli.errors import NumericalError, UsageError
from vlmcli.inputs.chat import Prompt
from vlmcli.types.chat import Message, Sampling

CPU = torch.device("cpu")
CASES = [
    Sampling(temperature=0.7),
    Sampling(temperature=1.0, top_k=5),
    Sampling(temperature=1.3, top_p=0.8),
    Sampling(temperature=1.0, min_p=0.1),
    Sampling(temperature=0.9, top_k=50, top_p=0.9, min_p=0.02, repetition_penalty=1.3),
    Sampling(repetition_penalty=1.5),
]


def answer(vlm: Any, sampling: Sampling) -> list[int]:
    inputs = vlm.prepare(Prompt((Message("user", "a photo of a", 1),), (tiny.picture(),)))
    return [event.id for event in decode(vlm, inputs, sampling)]


@pytest.mark.parametrize("sampling", CASES, ids=str)
def test_samples_are_those_of_generate(model: Any, sampling: Sampling) -> None:
    """Same filters in the same order, same draws: the tokens agree with transformers' own for the same seed."""
    vlm = model("llava")
    ours = answer(vlm, replace(sampling, max_tokens=14, seed=7))
    inputs = vlm.prepare(Prompt((Message("user", "a photo of a", 1),), (tiny.picture(),)))
    filters = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    options = {**filters, "min_p": sampling.min_p or None, "do_sample": True} if sampling.temperature else {}
    torch.manual_seed(7)
    with torch.no_grad():
        output = vlm.model.generate(
            **inputs.tensors, max_new_tokens=14, repetition_penalty=sampling.repetition_penalty, **options
        )
    assert ours == output[0, len(inputs.ids) :].tolist()


def test_the_seed_decides(model: Any) -> None:
    vlm = model("llava")
    sampling = Sampling(max_tokens=12, temperature=1.5, seed=3)
    torch.manual_seed(0)
    first = answer(vlm, sampling)
    torch.manual_seed(1)
    assert answer(vlm, sampling) == first, "the draw depends on torch's global generator"
    assert answer(vlm, replace(sampling, seed=4)) != first


def test_sampling_leaves_the_global_generator_alone(model: Any) -> None:
    before = torch.get_rng_state()
    answer(model("llava"), Sampling(max_tokens=3, temperature=1.0))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.1, 0.2, 0.7]).log()
    sampler = Sampler(Sampling(temperature=1.0, seed=0), CPU)
    counts = torch.bincount(torch.tensor([sampler([0], logits) for _ in range(3000)]), minlength=3)
    assert torch.allclose(counts / 3000, torch.tensor([0.1, 0.2, 0.7]), atol=0.03)


def test_logprobs_are_of_the_raw_distribution(model: Any) -> None:
    """Whatever the filters do, the log-probabilities reported are the model's own."""
    vlm = model("llava")
    inputs = vlm.prepare(Prompt((Message("user", "a photo of a", 1),), (tiny.picture(),)))
    raw = vlm.prefill(inputs).logits.log_softmax(-1)
    event = next(decode(vlm, inputs, Sampling(temperature=0.2, top_k=3, repetition_penalty=2.0, top_logprobs=4)))
    assert event.logprob == pytest.approx(float(raw[event.id]), abs=1e-5)
    assert [top.logprob for top in event.top] == pytest.approx(raw.topk(4).values.tolist(), abs=1e-5)
    assert [top.id for top in event.top] == raw.topk(4).indices.tolist()


def test_logprobs_in_float32() -> None:
    result = logprobs(torch.zeros(2, 8, dtype=torch.bfloat16))
    assert result.dtype == torch.float32
    assert torch.allclose(result, torch.full((2, 8), -math.log(8)))


@pytest.mark.parametrize(
    "bad", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]], ids=["nan", "inf", "all-out"]
)
def test_bad_logits_have_a_name(bad: list[float]) -> None:
    with pytest.raises(NumericalError):
        logprobs(torch.tensor(bad))


def test_a_token_that_is_ruled_out_is_no_error() -> None:
    assert logprobs(torch.tensor([-math.inf, 0.0])).tolist() == [-math.inf, 0.0]


@pytest.mark.parametrize(
    "values",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"min_p": 1.5},
        {"repetition_penalty": 0.0},
        {"seed": -1},
        {"top_logprobs": -1},
    ],
    ids=str,
)
def test_values_that_mean_nothing(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        check(Sampling(**values))
