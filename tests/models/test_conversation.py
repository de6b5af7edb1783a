"""A kept conversation says what a fresh one says; where it cannot, it is not kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests import tiny
from tests.families import FAMILIES, Family
from vlmcli.engine.decode import decode
from vlmcli.inputs.chat import Prompt
from vlmcli.models.conversation import Conversation
from vlmcli.models.prompts import Inputs
from vlmcli.types.chat import Message, Sampling

TOLERANCE = 1e-5  # of probabilities, in float32
FIRST = "Describe the lazy dog on the hill, please, and the red circle beside it!"

# Masks, positions or states that belong to the whole prompt.
READ_AGAIN = {"qwen2_vl", "gemma3", "mllama", "qwen3_5", "gemma2", "fuyu", "kosmos2", "blip2", "git", "pixtral"}
KEPT = {"llava", "llama", "qwen2", "idefics3", "mixtral"}


def prompts(vlm: Any, seed: int = 0) -> tuple[Inputs, Inputs]:
    """A question, and the same conversation one turn later."""
    pictures = (tiny.picture(seed, (40, 40)),) if vlm.sees else ()
    question = Message("user", FIRST, len(pictures))
    later = (question, Message("assistant", "two circles"), Message("user", "Count the dogs."))
    first, second = (vlm.prepare(Prompt(messages, pictures)) for messages in ((question,), later))
    return first, second


def said(reader: Any, inputs: Inputs) -> list[int]:
    return [event.id for event in decode(reader, inputs, Sampling(max_tokens=6))]


@pytest.mark.parametrize("family", [f for f in FAMILIES if "second turn" not in f.refused], ids=lambda f: f.tiny)
def test_the_second_turn(model: Any, family: Family) -> None:
    vlm = model(family.tiny)
    conversation = Conversation(vlm)
    first, second = prompts(vlm)
    assert said(conversation, first) == said(vlm, first)
    assert conversation.shared == 0
    kept, fresh = conversation.prefill(second), vlm.prefill(second)
    if family.tiny in READ_AGAIN:
        assert conversation.shared == 0, "the beginning of a prompt depends on what follows it here"
    if family.tiny in KEPT:
        assert conversation.shared >= len(first.ids) // 2, "nothing is kept"
    difference = (kept.logits.softmax(-1) - fresh.logits.softmax(-1)).abs().max()
    assert difference <= TOLERANCE, f"another distribution after {conversation.shared} kept positions"
    assert said(conversation, second) == said(vlm, second)


def test_another_image_is_another_conversation(model: Any) -> None:
    vlm = model("llava")
    conversation = Conversation(vlm)
    (one, _), (_, other) = prompts(vlm, seed=2), prompts(vlm, seed=4)
    conversation.prefill(one)
    state = conversation.prefill(other)
    assert conversation.shared == 0
    assert torch.equal(state.logits, vlm.prefill(other).logits)


def test_an_answer_in_progress_goes_on_beside_the_next_question(model: Any) -> None:
    vlm = model("llava")
    conversation = Conversation(vlm)
    first, second = prompts(vlm)
    alone = said(vlm, first)
    stream = decode(conversation, first, Sampling(max_tokens=6))
    begun = [next(stream).id, next(stream).id]
    later = said(conversation, second)
    assert conversation.shared
    assert begun + [event.id for event in stream] == alone
    assert later == said(vlm, second)


def test_an_equal_prompt_reads_its_last_position(model: Any) -> None:
    vlm = model("llama")
    conversation = Conversation(vlm)
    first, _ = prompts(vlm)
    assert said(conversation, first) == said(conversation, first) == said(vlm, first)
    assert conversation.shared == len(first.ids) - 1


def test_a_prompt_with_more_images_is_read_again(model: Any) -> None:
    vlm = model("llava")
    conversation = Conversation(vlm)
    picture = tiny.picture(1, (40, 40))
    turns = (Message("user", FIRST, 1), Message("assistant", "a dog"), Message("user", "And here?", 1))
    conversation.prefill(vlm.prepare(Prompt(turns[:1], (picture,))))
    inputs = vlm.prepare(Prompt(turns, (picture, tiny.picture(2, (40, 40)))))
    assert said(conversation, inputs) == said(vlm, inputs)


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_rope_that_knows_the_length_is_read_again(model: Any, rope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = model("llama")
    monkeypatch.setitem(vlm.model.config.rope_parameters, "rope_type", rope)
    conversation = Conversation(vlm)
    for inputs in prompts(vlm):
        conversation.prefill(inputs)
    assert conversation.shared == 0
