"""The table of next-token probabilities agrees with transformers' own forward, row by row."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.errors import UsageError
from vlmcli.inputs.image import load_image
from vlmcli.models import vlm as vlm_module
from vlmcli.tasks.request import Request
from vlmcli.tasks.topk import topk
from vlmcli.types.chat import Message


def request(images: int, text: str = "What is in the image?", raw: bool = False) -> Request:
    loaded = tuple(load_image(tiny.picture(seed)) for seed in range(images))
    return Request((Message("user", text, images),), loaded, raw)


def reference(vlm: Any, asked: Request) -> tuple[tuple[int, ...], torch.Tensor]:
    """The prompt's ids, and transformers' own log-probabilities [T, V]."""
    inputs = vlm.prepare(asked.prompt)
    vlm.model.base_model.rope_deltas = None
    with torch.no_grad():
        return inputs.ids, vlm.model(**inputs.tensors).logits[0].log_softmax(-1)


@pytest.mark.parametrize(("family", "images"), [("llama", 0), ("llava", 0), ("llava", 2), ("qwen2_vl", 1)])
def test_every_row_is_forwards(model: Any, family: str, images: int) -> None:
    vlm, asked = model(family), request(images)
    ids, theirs = reference(vlm, asked)
    rows = topk(vlm, asked, k=4, at="all", expand_images=True).positions
    assert [row.index for row in rows] == list(range(len(ids))) and [row.id for row in rows] == list(ids)
    for row in rows:
        distribution = theirs[row.index]
        values, top_ids = distribution.topk(4)
        assert [top.id for top in row.top] == top_ids.tolist()
        assert [math.exp(top.logprob) for top in row.top] == pytest.approx(values.exp().tolist(), abs=1e-5)
        assert row.entropy == pytest.approx(
            float(torch.distributions.Categorical(logits=distribution).entropy()), abs=1e-4
        )
        if row.next_id is None:
            assert row.index == len(ids) - 1 and row.rank is row.surprisal is row.logprob is row.next_token is None
            continue
        assert row.next_id == ids[row.index + 1]
        assert row.rank == distribution.argsort(descending=True).tolist().index(row.next_id) + 1
        assert row.logprob == pytest.approx(float(distribution[row.next_id]), abs=1e-4)
        assert row.surprisal == -row.logprob >= 0


@pytest.mark.parametrize("at", ["last", 0, 5, -1, -2])
def test_one_position_is_the_row_of_the_table(model: Any, at: Any) -> None:
    vlm, asked = model("llava"), request(1)
    table = topk(vlm, asked, at="all", expand_images=True).positions
    (row,) = topk(vlm, asked, at=at).positions
    same = table[-1 if at == "last" else at]
    assert (row.index, row.id, row.kind, row.next_id, row.rank) == (
        same.index,
        same.id,
        same.kind,
        same.next_id,
        same.rank,
    )
    assert [top.id for top in row.top] == [top.id for top in same.top]


def test_an_image_is_one_row_with_the_figures_of_its_last_position(model: Any) -> None:
    vlm, asked = model("llava"), request(2)
    rows = topk(vlm, asked, at="all").positions
    expanded = topk(vlm, asked, at="all", expand_images=True).positions
    assert [row.count for row in rows if row.kind == "image"] == [16, 16]
    assert sum(row.count for row in rows) == len(expanded)
    for row in rows:
        same = expanded[row.index]
        assert (row.kind, row.next_id, row.rank) == (same.kind, same.next_id, same.rank)
        assert row.entropy == pytest.approx(same.entropy, abs=1e-5)
    ends = [row.index for row in rows if row.kind == "image"]
    assert all(expanded[end].kind == "image" and expanded[end + 1].kind == "text" for end in ends)


@pytest.mark.parametrize("length", [vlm_module.HEAD_CHUNK - 1, vlm_module.HEAD_CHUNK, 2 * vlm_module.HEAD_CHUNK + 1])
def test_chunks_leave_no_gap(model: Any, length: int) -> None:
    vlm = model("llama")
    asked = request(0, "cat" * (length // 2), raw=True)
    ids, theirs = reference(vlm, asked)
    rows = topk(vlm, asked, k=1, at="all").positions
    assert [row.index for row in rows] == list(range(len(ids)))
    assert [row.top[0].id for row in rows] == theirs.argmax(-1).tolist()


def test_more_candidates_than_there_are_tokens(model: Any) -> None:
    vlm = model("llama")
    (row,) = topk(vlm, request(0), k=10**6).positions
    assert len(row.top) == len(vlm.tokenizer)
    assert sum(math.exp(top.logprob) for top in row.top) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "says"), [({"at": 10**6}, "no position 1000000"), ({"at": -1000}, "-1000"), ({"k": 0}, "k")]
)
def test_what_is_not_there(model: Any, options: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        topk(model("llama"), request(0), **options)


def test_usage_and_images(model: Any) -> None:
    result = topk(model("llava"), request(1))
    assert result.usage.image_tokens == result.images[0].tokens == 16
    assert list(result.timings_ms) == ["load", "prepare", "forward", "total"]
