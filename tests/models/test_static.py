"""Steps over a cache of fixed size are transformers' steps; what they cannot take is left to transformers."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from tests import tiny
from tests.families import FAMILIES, Family
from vlmcli.inputs.chat import Prompt
from vlmcli.models import static
from vlmcli.models.static import Fixed, StaticSteps
from vlmcli.types.chat import Message

TOLERANCE = 1e-5  # of probabilities, in float32
STEPS = 6
FIXED = {"llava", "llama", "qwen2", "mixtral", "idefics3"}
LEFT = {"gemma2", "kosmos2", "qwen3_5", "mllama"}


def begun(vlm: Any) -> Any:
    pictures = (tiny.picture(0, (40, 40)),) if vlm.sees else ()
    inputs = vlm.prepare(Prompt((Message("user", "What is in the image?", len(pictures)),), pictures))
    state = vlm.prefill(inputs)
    state.own = getattr(state, "own", None)
    return state


def taken(vlm: Any, steps: StaticSteps, state: Any, token: int) -> torch.Tensor:
    with torch.inference_mode(), vlm._offsets(state):
        return steps.step(state, [token], lambda: vlm.step_batch(state, [token]))[0].clone()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.tiny)
def test_the_same_steps(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    state, ordinary = begun(vlm), begun(vlm)
    steps = StaticSteps(vlm._decoder)
    token = int(ordinary.logits.argmax())
    for index in range(STEPS):
        logits = vlm.step(ordinary, token)
        difference = (taken(vlm, steps, state, token).softmax(-1) - logits.softmax(-1)).abs().max()
        assert difference <= TOLERANCE, f"step {index} differs"
        assert state.length == ordinary.length
        token = int(logits.argmax())
    if family.tiny in FIXED:
        assert isinstance(state.own, Fixed)
    if family.tiny in LEFT:
        assert state.own is None


def test_the_cache_grows(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "CHUNK", 4)
    vlm = model("llama")
    state, ordinary = begun(vlm), begun(vlm)
    steps = StaticSteps(vlm._decoder)
    for token in range(5, 16):
        stepped = taken(vlm, steps, state, token).softmax(-1)
        assert (stepped - vlm.step(ordinary, token).softmax(-1)).abs().max() <= TOLERANCE
    assert state.own.capacity >= state.length


def test_a_copy_goes_on_by_itself(model: Any) -> None:
    vlm = model("llama")
    steps, state = StaticSteps(vlm._decoder), begun(vlm)
    taken(vlm, steps, state, 5)
    other = deepcopy(state)
    taken(vlm, steps, other, 9)
    one = taken(vlm, steps, state, 6)
    fresh = begun(vlm)
    vlm.step(fresh, 5)
    assert torch.allclose(one, vlm.step(fresh, 6), atol=1e-5)


def test_recording_takes_the_place_of_the_forward(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the graph, which replays by running the step again: what CUDA does, without CUDA."""
    recorded: list[Fixed] = []

    def record(fixed: Fixed, forward: Any) -> None:
        recorded.append(fixed)
        fixed.logits = torch.empty(1, vlm.model.config.vocab_size)
        fixed.replay = lambda: fixed.logits.copy_(forward())  # type: ignore[union-attr, return-value]

    monkeypatch.setattr(static, "record", record)
    vlm = model("llama")
    steps = StaticSteps(vlm._decoder, record=True)
    state, ordinary = begun(vlm), begun(vlm)
    for token in (5, 6, 7):
        stepped = taken(vlm, steps, state, token)
        assert torch.allclose(stepped, vlm.step(ordinary, token), atol=1e-5)
    assert len(recorded) == 1, "one recording for all steps"
