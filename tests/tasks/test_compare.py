"""A model compared with itself differs in nothing; with another one, by what the two distributions say."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.api.compare import compare
from vlmcli.api.load import load
from vlmcli.engine.forced import distribution, likeliest_way
from vlmcli.engine.rows import Rows
from vlmcli.errors import InputError, UsageError, VlmError
from vlmcli.tasks.compare import divergence_of

QUESTION = "What is in the image?"
FAMILIES = ["llava", "llava_next", "idefics3", "internvl", "qwen2_vl", "mllama"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_itself_is_zero(checkpoint: Any, family: str) -> None:
    folder = checkpoint(family).folder
    result = compare(tiny.picture(), QUESTION, "two red circles", model=folder, other_model=folder, cache=False)
    assert result.same_tokenizer and {position.kl for position in result.positions} == {0.0}
    assert result.mean_kl == 0.0 and result.agreement == 1.0 and result.divergence is None
    one, other = result.sides
    assert one == other and result.per_byte == (one.logprob / 15, one.logprob / 15)
    assert len(result.positions) == one.usage.prompt_tokens + one.tokens
    assert all(
        position.logprobs is None or position.logprobs[0] == position.logprobs[1] for position in result.positions
    )


def test_the_figures_are_those_of_two_plain_forwards(checkpoint: Any) -> None:
    """float32 and bfloat16, written out with transformers itself."""
    folder = checkpoint("llava").folder
    result = compare(tiny.picture(), QUESTION, "two dogs", model=folder, other_dtype="bfloat16", cache=False)
    theirs = []
    for dtype in ("float32", "bfloat16"):
        vlm = load(folder, dtype=dtype, cache=False).vlm  # type: ignore[union-attr]
        inputs = vlm.prepare(vlm_prompt(QUESTION))
        answer_ids = likeliest_way(vlm.tokenizer, ["two dogs"], inputs.ids, distribution(vlm.prefill(inputs)))[0]
        added = {"input_ids": torch.tensor([answer_ids]), "attention_mask": torch.ones(1, len(answer_ids), dtype=int)}
        whole = {k: torch.cat([v, added[k]], 1) if k in added else v for k, v in inputs.tensors.items()}
        with torch.no_grad():
            theirs.append(vlm.model(**whole).logits[0].float().log_softmax(-1))  # [T, V]
    one, other = theirs
    kl = torch.nn.functional.kl_div(other, one, log_target=True, reduction="none").sum(-1)  # [T]
    # bfloat16 itself rounds differently in steps and at once: hence the tolerance.
    assert [position.kl for position in result.positions] == pytest.approx(kl.tolist(), rel=0.5, abs=0.02)
    assert max(position.kl for position in result.positions) > 0
    prompt = [position for position in result.positions if position.part == "prompt"]
    assert [position.likeliest[0] for position in prompt] == one[: len(prompt)].argmax(-1).tolist()
    assert result.sides[1].model.dtype == "bfloat16"


def vlm_prompt(text: str) -> Any:
    from vlmcli.inputs.chat import Prompt
    from vlmcli.types.chat import Message

    return Prompt((Message("user", text, 1),), (tiny.picture(),))


def test_two_images_are_compared_by_the_answer(checkpoint: Any) -> None:
    folder = checkpoint("llava").folder
    result = compare(tiny.picture(1), QUESTION, "a cat", model=folder, other_images=tiny.picture(2), cache=False)
    assert {position.part for position in result.positions} == {"answer"}
    assert len(result.positions) == result.sides[0].tokens + 1 and min(p.kl for p in result.positions) > 0
    assert result.positions[-1].next_token is None and result.positions[-1].logprobs is None
    assert result.sides[0].images[0].sha256 != result.sides[1].images[0].sha256


def test_the_logprobs_of_both_sides_are_those_of_score(checkpoint: Any) -> None:
    folder = checkpoint("llava").folder
    result = compare(tiny.picture(), QUESTION, "a cat", model=folder, other_prompt="Count the dogs.", cache=False)
    model = load(folder, cache=False)
    for side, prompt in zip(result.sides, (QUESTION, "Count the dogs."), strict=True):
        scored = model.score(tiny.picture(), prompt, "a cat", end=False)  # type: ignore[union-attr]
        assert side.logprob == pytest.approx(scored.logprob, abs=1e-5) and side.prompt == prompt


def test_other_prompts_of_the_same_length_are_not_taken_for_the_same(checkpoint: Any) -> None:
    folder = checkpoint("llama").folder
    result = compare(None, "a cat", "a dog", model=folder, other_prompt="a dog", cache=False)
    assert {position.part for position in result.positions} == {"answer"}


def test_greedy_answers_part_where_they_part(checkpoint: Any) -> None:
    folder = checkpoint("llava").folder
    result = compare(tiny.picture(1), QUESTION, model=folder, other_images=tiny.picture(2), max_tokens=8, cache=False)
    model = load(folder, cache=False)
    from vlmcli.types.chat import Sampling

    answers = []
    for seed in (1, 2):
        *_, last = model.ask(tiny.picture(seed), QUESTION, sampling=Sampling(max_tokens=8))  # type: ignore[union-attr]
        answers.append([token.id for token in last.tokens])  # type: ignore[union-attr]
    parted = next(i for i in range(9) if answers[0][i : i + 1] != answers[1][i : i + 1])
    assert result.divergence is not None and result.divergence.index == parted
    assert result.text == result.sides[0].greedy


def test_other_tokenizers_are_compared_by_bytes(checkpoint: Any) -> None:
    result = compare(
        tiny.picture(),
        QUESTION,
        "a cat",
        model=checkpoint("llava").folder,
        other_model=checkpoint("paligemma").folder,
        cache=False,
    )
    assert not result.same_tokenizer and result.positions == () and result.divergence is None
    assert result.mean_kl is None and result.agreement is None and "tokenizers differ" in result.notes[0]
    assert result.per_byte is not None and result.per_byte[0] != result.per_byte[1]
    for side, family in zip(result.sides, ("llava", "paligemma"), strict=True):
        model = load(checkpoint(family).folder, cache=False)
        scored = model.score(tiny.picture(), QUESTION, "a cat", end=False)  # type: ignore[union-attr]
        assert side.logprob == pytest.approx(scored.logprob, abs=1e-5)


def test_only_one_model_is_there_at_a_time(checkpoint: Any) -> None:
    alive: list[Any] = []

    def loader(**options: Any) -> Any:
        gc.collect()
        assert not [one for one in alive if one() is not None], "the first model is still held"
        model = load(options.pop("model"), **options)
        alive.append(weakref.ref(model.vlm.model))  # type: ignore[union-attr]
        return model

    folder = checkpoint("llava").folder
    compare(tiny.picture(), QUESTION, "a cat", model=folder, other_dtype="bfloat16", loader=loader, cache=False)
    assert len(alive) == 2


def test_one_model_is_loaded_once_for_two_images(checkpoint: Any) -> None:
    loads: list[Any] = []

    def loader(**options: Any) -> Any:
        loads.append(options)
        return load(options.pop("model"), **options)

    compare(
        tiny.picture(), QUESTION, "a", model=checkpoint("llava").folder, other_images=tiny.picture(1), loader=loader
    )
    assert len(loads) == 1


def test_divergence_of_known_distributions() -> None:
    half = torch.tensor([0.5, 0.5, 0.0]).log()
    skewed = torch.tensor([0.25, 0.25, 0.5]).log()
    assert divergence_of(half, skewed) == pytest.approx(math.log(2))
    assert divergence_of(skewed, half) == math.inf
    assert divergence_of(half, half) == 0.0


def test_rows_come_back_as_they_were_written() -> None:
    with Rows.temporary() as rows:
        rows.add(torch.arange(6.0).view(2, 3))
        rows.add(torch.tensor([[-torch.inf, 0.1, 3.0]]))
        assert torch.equal(torch.stack(list(rows.read())), torch.tensor([[0, 1, 2], [3, 4, 5], [-torch.inf, 0.1, 3.0]]))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NEEDS A DEVICE THAT IS ALWAYS FULL: /dev/full of Linux")
def test_a_full_disk_is_said_in_one_line() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(VlmError, match="no space left"):
        Rows(full).add(torch.ones(2, 3))


def test_what_cannot_be_compared(checkpoint: Any) -> None:
    folder = checkpoint("llava").folder
    with pytest.raises(UsageError, match="continues no text"):
        compare(tiny.picture(), QUESTION, "a", model=checkpoint("clip").folder)
    with pytest.raises(InputError):
        compare(tiny.picture(), QUESTION, "a <image> cat", model=folder)
    with pytest.raises(UsageError, match="max_tokens"):
        compare(tiny.picture(), QUESTION, "a", model=folder, max_tokens=0)
