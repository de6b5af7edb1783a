"""A given answer is as likely as it was when the model said it, and as transformers' own forward makes it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.api.load import load
from vlmcli.api.vlm import VlmModel
from vlmcli.errors import ContextOverflow, InputError, UsageError
from vlmcli.inputs.image import load_image
from vlmcli.tasks.ask import ask
from vlmcli.tasks.request import Request
from vlmcli.tasks.score import score
from vlmcli.types.ask import Answer
from vlmcli.types.chat import Message, Sampling

EXAMPLES = Path(__file__).parents[2] / "examples"
FAMILIES = ["llama", "llava", "llava_next", "qwen2_vl", "paligemma", "mllama"]


def request(images: int = 1, text: str = "What is in the image?") -> Request:
    loaded = tuple(load_image(tiny.picture(seed)) for seed in range(images))
    return Request((Message("user", text, images),), loaded)


def about(family: str) -> Request:
    return request(0 if family == "llama" else 1)


def greedy(vlm: Any, asked: Request, max_tokens: int = 6) -> Answer:
    *_, answer = ask(vlm, asked, Sampling(max_tokens=max_tokens, top_logprobs=3))
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_as_likely_as_it_was_when_it_was_said(model: Any, family: str) -> None:
    vlm, asked = model(family), about(family)
    answer = greedy(vlm, asked)
    scored = score(vlm, asked, answer_ids=[token.id for token in answer.tokens], k=3)
    assert scored.logprob == pytest.approx(math.fsum(token.logprob for token in answer.tokens), abs=1e-4)
    for token, said in zip(scored.tokens, answer.tokens, strict=True):
        assert (token.index, token.id, token.token, token.bytes) == (said.index, said.id, said.token, said.bytes)
        assert token.rank == 1 and token.top[0].id == token.id
        assert [top.id for top in token.top] == [top.id for top in said.top]


@pytest.mark.parametrize("family", ["llama", "llava", "llava_next", "qwen2_vl"])
def test_any_answer_is_as_likely_as_in_one_forward(model: Any, family: str) -> None:
    """All tokens at once and no cache, by transformers itself; the answer is one that the model would not give."""
    vlm, asked = model(family), about(family)
    answer_ids = vlm.tokenizer.encode("two red dogs on a hill", add_special_tokens=False)
    inputs = vlm.prepare(asked.prompt)
    added = {"input_ids": torch.tensor([answer_ids]), "attention_mask": torch.ones(1, len(answer_ids), dtype=int)}
    added["mm_token_type_ids"] = torch.zeros(1, len(answer_ids), dtype=int)
    whole = {k: torch.cat([v, added[k]], 1) if k in added else v for k, v in inputs.tensors.items()}
    vlm.model.base_model.rope_deltas = None
    with torch.no_grad():
        theirs = vlm.model(**whole).logits[0, -len(answer_ids) - 1 : -1].log_softmax(-1)  # [answer, V]
    tokens = score(vlm, asked, answer_ids=answer_ids, k=2).tokens
    for token, distribution in zip(tokens, theirs, strict=True):
        assert token.logprob == pytest.approx(float(distribution[token.id]), abs=1e-4) == -token.surprisal
        assert token.rank == distribution.argsort(descending=True).tolist().index(token.id) + 1
        assert token.entropy == pytest.approx(
            float(torch.distributions.Categorical(logits=distribution).entropy()), abs=1e-4
        )


@pytest.fixture(scope="module")
def embedded() -> VlmModel:
    loaded = load()
    assert isinstance(loaded, VlmModel)
    return loaded


@pytest.mark.parametrize(
    ("image", "question"),
    [
        ("shapes.png", "What colour is the star?"),
        ("sign.png", "What does it say?"),
        ("shapes.png", "Describe the image."),
    ],
)
def test_the_text_of_a_greedy_answer_scores_what_ask_gave(embedded: VlmModel, image: str, question: str) -> None:
    *_, answer = embedded.ask(EXAMPLES / image, question)
    assert isinstance(answer, Answer) and answer.finish_reason == "stop"
    scored = embedded.score(EXAMPLES / image, question, answer.text)
    assert [token.id for token in scored.tokens] == [token.id for token in answer.tokens]
    assert scored.logprob == pytest.approx(math.fsum(token.logprob for token in answer.tokens), abs=1e-4)
    assert scored.per_byte == scored.logprob / len(answer.text)


def test_the_end_counts_unless_it_is_not_wanted(model: Any) -> None:
    vlm, asked = model("llava"), request()
    open_ended, closed = (score(vlm, asked, "a cat", end=end) for end in (False, True))
    assert closed.tokens[:-1] == open_ended.tokens and closed.tokens[-1].id in vlm.eos_ids
    assert closed.logprob == pytest.approx(open_ended.logprob + closed.tokens[-1].logprob)
    assert open_ended.size_bytes == closed.size_bytes == len("a cat")
    assert "".join(token.token for token in open_ended.tokens).strip() == "a cat"


def test_ids_are_scored_as_they_stand(model: Any) -> None:
    """The same letters in other tokens are another answer."""
    vlm, asked = model("llama"), request(0)
    spelled = [vlm.tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "cat"]
    scored = score(vlm, asked, answer_ids=spelled)
    assert [token.id for token in scored.tokens] == spelled and scored.text == "cat"


def test_usage_images_and_timings(model: Any) -> None:
    scored = score(model("llava"), request(), "a cat", k=0)
    assert scored.usage.image_tokens == scored.images[0].tokens == 16
    assert scored.usage.completion_tokens == len(scored.tokens) and scored.tokens[0].top == ()
    assert list(scored.timings_ms) == ["load", "prepare", "prefill", "score", "total"]


@pytest.mark.parametrize(
    ("answer", "options", "error"),
    [
        ("", {}, UsageError),
        ("a cat", {"k": -1}, UsageError),
        ("a <image> cat", {}, InputError),
        ("", {"answer_ids": [10**6]}, InputError),
        ("cat " * 500, {}, ContextOverflow),
    ],
)
def test_what_cannot_be_scored(model: Any, answer: str, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        score(model("llava"), request(), answer, **options)
