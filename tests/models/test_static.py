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
        return steps.step(state, [token], lambda: vlm._ordinary_step(state, [token]))[0].clone()


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
        assert isinstance(state.own, Fixed), steps.note
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


def test_transformers_can_go_on(model: Any) -> None:
    vlm = model("llava")
    steps, state, ordinary = StaticSteps(vlm._decoder), begun(vlm), begun(vlm)
    for token in (5, 6, 7):
        taken(vlm, steps, state, token)
        vlm.step(ordinary, token)
    steps.give_back(state)
    assert state.own is None
    assert torch.allclose(vlm.step(state, 8), vlm.step(ordinary, 8), atol=1e-5)


def test_hooks_are_run(model: Any) -> None:
    vlm = model("llama")
    steps, state, seen = StaticSteps(vlm._decoder), begun(vlm), []
    taken(vlm, steps, state, 5)
    taken(vlm, steps, state, 6)
    with vlm._decoder.model.layers[0].register_forward_hook(lambda *_: seen.append(1)):
        taken(vlm, steps, state, 7)
    assert seen and state.own is None


def test_steps_that_differ_are_not_taken(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = model("llama")
    steps, state, ordinary = StaticSteps(vlm._decoder), begun(vlm), begun(vlm)
    advance = steps._advance
    monkeypatch.setattr(steps, "_advance", lambda fixed, token: 2 * advance(fixed, token))
    for token in (5, 6):
        assert torch.allclose(taken(vlm, steps, state, token), vlm.step(ordinary, token), atol=1e-5)
    assert "ours differs from it" in steps.note and state.own is None


class Recorder:
    """A stand-in for the graph, which replays by running the step again: what CUDA does, without CUDA."""

    def __init__(self, wrong: bool = False) -> None:
        self.count, self._wrong = 0, wrong

    def __call__(self, fixed: Fixed, forward: Any) -> None:
        self.count += 1
        fixed.logits = torch.zeros(())

        def replay() -> None:
            fixed.logits = forward() * (2 if self._wrong else 1)

        fixed.replay = replay


def test_recording_takes_the_place_of_the_forward(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(static, "record", recorder)
    vlm = model("llama")
    steps = StaticSteps(vlm._decoder, record=True)
    state, ordinary = begun(vlm), begun(vlm)
    for token in (5, 6, 7, 8):
        stepped = taken(vlm, steps, state, token)
        assert torch.allclose(stepped, vlm.step(ordinary, token), atol=1e-5)
        assert state.length == ordinary.length
    assert recorder.count == 1, "one recording for all steps"
    assert state.carried["past_key_values"] is None, "two caches are held"


def test_a_recording_that_computes_something_else_is_not_used(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "record", Recorder(wrong=True))
    vlm = model("llama")
    steps = StaticSteps(vlm._decoder, record=True)
    state, ordinary = begun(vlm), begun(vlm)
    for token in (5, 6, 7):
        assert torch.allclose(taken(vlm, steps, state, token), vlm.step(ordinary, token), atol=1e-5)
    assert "ours differs from it" in steps.note


def test_a_recording_that_fails_is_done_without(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(fixed: Fixed, forward: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(static, "record", record)
    vlm = model("llama")
    steps = StaticSteps(vlm._decoder, record=True)
    state, ordinary = begun(vlm), begun(vlm)
    for token in (5, 6):
        assert torch.allclose(taken(vlm, steps, state, token), vlm.step(ordinary, token), atol=1e-5)
    assert steps.note == "transformers' decode step: operation not permitted when stream is capturing"
