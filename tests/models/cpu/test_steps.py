"""Our own decode step against transformers': the same tokens, the same logits, and a way out where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tiny
from tests.models.cpu.decoders import DECODERS, as_vlm, built, make, prompt
from vlmcli.engine.decode import decode
from vlmcli.inputs.chat import Prompt
from vlmcli.models.conversation import Conversation as Talk
from vlmcli.models.cpu.steps import CpuSteps
from vlmcli.models.vlm import Vlm
from vlmcli.types.chat import Message, Sampling

TOLERANCE = 2e-4  # of logits, in float32
STEPS = 200


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Two of them, on whatever machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def ours(model: Any) -> Vlm:
    return as_vlm(model, CpuSteps(model, worth_bytes=0))


def greedy(vlm: Vlm, asked: Prompt, steps: int = STEPS) -> tuple[list[int], Tensor]:
    """Greedy tokens, and the logits [N, V] that each was taken from."""
    state = vlm.prefill(vlm.prepare(asked))
    said, logits = [], [state.logits]
    for _ in range(steps):
        said.append(int(logits[-1].argmax()))
        logits.append(vlm.step(state, said[-1]))
    return said, torch.stack(logits).float()


def forced(vlm: Vlm, asked: Prompt, tokens: Sequence[int]) -> Tensor:
    """The logits [N, V] behind each of ``tokens``."""
    state = vlm.prefill(vlm.prepare(asked))
    return torch.stack([vlm.step(state, token) for token in tokens]).float()


def used(vlm: Vlm) -> None:
    assert vlm.steps.note.startswith("our own"), f"not our step: {vlm.steps.note}"


@pytest.mark.parametrize("name", DECODERS)
def test_the_same_tokens_and_logits(name: str) -> None:
    """Over 200 steps, in which the cache grows and sliding windows slide."""
    vlm = ours(built(name))
    expected, reference = greedy(as_vlm(built(name)), prompt())
    said, logits = greedy(vlm, prompt())
    used(vlm)
    assert said == expected
    assert (logits - reference).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "phi3"])
def test_bfloat16_is_nearer_to_the_truth_than_transformers(name: str) -> None:
    """Ours rounds weights, keys and values as it does, but nothing in between."""
    model = built(name, torch.bfloat16)
    exact = make(DECODERS[name][0], **DECODERS[name][1]).to(torch.bfloat16).float()
    tokens = torch.randint(3, 300, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    vlm = ours(model)
    truth, theirs, own = (forced(each, prompt(), tokens) for each in (as_vlm(exact), as_vlm(model), vlm))
    used(vlm)
    assert (own - truth).abs().mean() <= (theirs - truth).abs().mean()


@pytest.mark.parametrize("family", ["llava", "paligemma", "qwen2_vl", "qwen2_5_vl", "internvl", "gemma3"])
def test_pictures(model: Any, family: str) -> None:
    """Rotary positions are not the number of positions read where a picture takes fewer of them."""
    plain = model(family)
    vlm = Vlm(plain.model, plain.processor, plain.info, plain.template, steps=CpuSteps(plain.model, worth_bytes=0))
    picture = Prompt((Message("user", "What is in the image?", 1),), (tiny.picture(3, (70, 50)),))
    for asked in (picture, Prompt((Message("user", "Describe the lazy dog."),), raw=True)):
        expected, reference = greedy(plain, asked, 40)
        said, logits = greedy(vlm, asked, 40)
        used(vlm)
        assert said == expected and (logits - reference).abs().max() <= TOLERANCE


@pytest.mark.parametrize("count", [1, 3])
def test_threads_are_honoured(count: int) -> None:
    torch.set_num_threads(count)
    vlm = ours(built("llama"))
    assert greedy(vlm, prompt(), 40)[0] == greedy(as_vlm(built("llama")), prompt(), 40)[0]
    assert f"{count} thread" in vlm.steps.note


def test_a_fork_and_two_conversations_in_turn() -> None:
    vlm = ours(built("qwen2"))
    state, other = (vlm.prefill(vlm.prepare(prompt(text))) for text in ("a photo of a cat", "user: count"))
    for token in (5, 6):
        vlm.step(state, token)
        vlm.step(other, 9)
    fork = vlm.fork(state)
    after = [vlm.step(state, token) for token in (7, 8)]
    assert torch.equal(vlm.step(fork, 7), after[0]) and torch.equal(vlm.step(fork, 8), after[1])
    expected = forced(as_vlm(built("qwen2")), prompt("user: count"), [9, 9, 4])
    assert (vlm.step(other, 4) - expected[-1]).abs().max() <= TOLERANCE


def test_the_engine_does_not_notice() -> None:
    vlm = ours(built("llama"))
    answers = [
        [(event.id, round(event.logprob, 4)) for event in decode(each, each.prepare(prompt()), Sampling(max_tokens=30))]
        for each in (vlm, as_vlm(built("llama")))
    ]
    assert answers[0] == answers[1]


def test_a_batch_takes_transformers_steps() -> None:
    vlm = ours(built("llama"))
    asked = [prompt("a photo"), prompt("a drawing of a house on a hill")]
    together = vlm.prefill_batch(vlm.prepare_batch(asked))
    reference = as_vlm(built("llama"))
    expected = reference.prefill_batch(reference.prepare_batch(asked))
    assert torch.equal(vlm.step_batch(together, [3, 4]), reference.step_batch(expected, [3, 4]))
    assert together.own is None


def test_somebody_who_looks_at_modules_sees_every_step() -> None:
    model = make("LlamaConfig")
    vlm = ours(model)
    seen: list[int] = []
    model.model.layers[0].mlp.register_forward_hook(lambda *_: seen.append(1))
    greedy(vlm, prompt("a cat"), 3)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("MixtralConfig", {"num_local_experts": 4}, "of type 'mixtral'"),
        ("LlamaConfig", {"hidden_act": "relu"}, "activation is 'relu'"),
        ("LlamaConfig", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "'dynamic'"),
        ("Gemma3TextConfig", {"head_dim": 8, "use_bidirectional_attention": True}, "both directions"),
    ],
)
def test_what_is_not_described_takes_transformers_steps(kind: str, options: Any, reason: str) -> None:
    model = make(kind, **options)
    vlm = ours(model)
    assert greedy(vlm, prompt("a cat"), 5)[0] == greedy(as_vlm(model), prompt("a cat"), 5)[0]
    assert vlm.steps.note.startswith("transformers'") and reason in vlm.steps.note


def test_float16_and_small_models_take_transformers_steps() -> None:
    assert "float16" in CpuSteps(make("LlamaConfig", torch.float16), 0).note
    assert "too few" in CpuSteps(built("llama")).note


def test_cross_attention_takes_transformers_steps(model: Any) -> None:
    from vlmcli.models.fusion import CrossAttention

    seeing = make("LlamaConfig")
    seeing.looking = CrossAttention(32, 4, 2, 1)
    assert "cross-attention" in CpuSteps(seeing, 0).note


def test_a_step_that_differs_from_transformers_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transformers of another version may compute something else under the same configuration."""
    from vlmcli.models.cpu import steps

    describe = steps.describe
    monkeypatch.setattr(steps, "describe", lambda config: replace(describe(config), scale=0.9))
    vlm = ours(built("llama"))
    assert greedy(vlm, prompt(), 5)[0] == greedy(as_vlm(built("llama")), prompt(), 5)[0]
    assert "differs" in vlm.steps.note


def test_weights_that_moved_are_found_again() -> None:
    model = make("LlamaConfig")
    vlm = ours(model)
    greedy(vlm, prompt(), 2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight = torch.nn.Parameter(module.weight * 1.5)
    said, logits = greedy(vlm, prompt(), 10)
    expected, reference = greedy(as_vlm(model), prompt(), 10)
    used(vlm)
    assert said == expected and (logits - reference).abs().max() <= 10 * TOLERANCE


@pytest.mark.parametrize("name", ["llama", "mistral, sliding window", "gemma3"])
def test_a_conversation_can_be_given_back(name: str) -> None:
    """Somebody may begin to look in the middle of it; transformers' windows may have slid by then."""
    model = make(DECODERS[name][0], **DECODERS[name][1])
    tokens = list(range(10, 60))
    expected = forced(as_vlm(model), prompt("a photo"), tokens)
    vlm = ours(model)
    state = vlm.prefill(vlm.prepare(prompt("a photo")))
    logits = [vlm.step(state, token) for token in tokens[:40]]
    used(vlm)
    handle = model.model.norm.register_forward_hook(lambda *_: None)
    logits += [vlm.step(state, token) for token in tokens[40:]]
    handle.remove()
    assert state.own is None
    assert (torch.stack(logits) - expected).abs().max() <= TOLERANCE


def test_the_next_turn_reads_only_what_is_new() -> None:
    vlm = ours(built("llama"))
    conversation = Talk(vlm)
    first = conversation.prefill(vlm.prepare(prompt("a photo of a cat on a hill, please describe it")))
    said = []
    for _ in range(20):
        said.append(int(first.logits.argmax()))
        conversation.step(first, said[-1])
    used(vlm)
    inputs = vlm.prepare(prompt("a photo of a cat on a hill, please describe it"))
    ids = (*inputs.ids, *said, 7, 8)
    longer = replace(inputs, ids=ids, is_image=(False,) * len(ids), tensors={"input_ids": torch.tensor([ids])})
    state = conversation.prefill(longer)
    assert conversation.shared == len(ids) - 2, "the answer is read again"
    plain = as_vlm(built("llama"))
    reference = plain.prefill(longer)
    for token in (9, 10, 11):
        assert (conversation.step(state, token) - plain.step(reference, token)).abs().max() <= TOLERANCE
    assert state.own is not None, "the next answer takes transformers' steps"
