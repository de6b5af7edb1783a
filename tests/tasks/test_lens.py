"""What the lens says of the last layer is what topk says; of the others, it says how far they agree with it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tasks.test_score import request
from vlmcli.errors import ModelError, UsageError
from vlmcli.tasks.lens import lens
from vlmcli.tasks.topk import topk

FAMILIES = ["llava", "llava_next", "idefics3", "internvl", "qwen2_vl", "qwen3_vl", "paligemma", "mllama", "llama"]


def about(family: str) -> Any:
    return request(0 if family == "llama" else 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_equals_topk(model: Any, family: str) -> None:
    vlm, asked = model(family), about(family)
    result = lens(vlm, asked, k=3)
    rows = topk(vlm, asked, k=3, at="all", expand_images=True).positions
    assert len(result.positions) == len(rows)
    for position, row in zip(result.positions, rows, strict=True):
        assert (position.index, position.id, position.token) == (row.index, row.id, row.token)
        assert [top.id for top in position.layers[-1]] == [top.id for top in row.top]
        assert [t.logprob for t in position.layers[-1]] == pytest.approx([t.logprob for t in row.top], abs=1e-4)


def test_the_last_position_alone_equals_topk_too(model: Any) -> None:
    (position,) = lens(model("llava"), request(), at="last", k=4).positions
    (row,) = topk(model("llava"), request(), k=4).positions
    assert position.layers[-1] == tuple(pytest_equal(row.top, position.layers[-1]))


def pytest_equal(expected: Any, got: Any) -> Any:
    """``got`` where it is ``expected`` but for rounding."""
    assert [(top.id, top.token, top.bytes) for top in expected] == [(top.id, top.token, top.bytes) for top in got]
    assert [top.logprob for top in expected] == pytest.approx([top.logprob for top in got], abs=1e-5)
    return got


def test_positions_and_layers_can_be_chosen(model: Any) -> None:
    vlm = model("llava")
    whole = lens(vlm, request())
    assert whole.layers == (0, 1, 2) and whole.blocks == 2
    image, text, one = (lens(vlm, request(), at=at) for at in ("image", "text", -3))
    assert [p.index for p in image.positions] == list(range(4, 20)) and {p.kind for p in image.positions} == {"image"}
    assert {p.kind for p in text.positions} == {"text"} and len(image.positions) + len(text.positions) == 32
    assert [p.index for p in one.positions] == [29]
    assert image.positions == whole.positions[4:20]
    first = lens(vlm, request(), layers=[0])
    assert first.layers == (0, 2)
    assert [p.layers[0] for p in first.positions] == [p.layers[0] for p in whole.positions]


def test_agreement_is_with_the_last_layer(model: Any) -> None:
    result = lens(model("llava"), request())
    assert result.agreement[-1] == 1.0
    for layer, share in enumerate(result.agreement):
        same = [p.layers[layer][0].id == p.layers[-1][0].id for p in result.positions]
        assert share == pytest.approx(sum(same) / len(same))


def test_only_patches_have_nearest_words(model: Any) -> None:
    result = lens(model("llava_next"), request(), nearest=2)
    assert all(len(p.nearest) == (2 if p.kind == "image" else 0) for p in result.positions)
    assert all(-1.001 <= near.cosine <= 1.001 for p in result.positions for near in p.nearest)
    assert all(p.nearest[0].cosine >= p.nearest[1].cosine for p in result.positions if p.nearest)
    none = lens(model("llava"), request(), nearest=0)
    assert not any(p.nearest for p in none.positions)


def test_it_says_what_is_known_of_it(model: Any) -> None:
    assert "not a fact" in lens(model("llama"), request(0), at="last").notes[0]


@pytest.mark.parametrize(("family", "says"), [("mllama", "beside the text"), ("kosmos2", "cannot be seen")])
def test_what_is_missing_is_said_so(model: Any, family: str, says: str) -> None:
    assert says in lens(model(family), request()).notes[-1]


def test_progress_is_told(model: Any) -> None:
    told: list[tuple[int, int]] = []
    lens(model("llava"), request(), tick=lambda *counts: told.append(counts))
    assert told[-1] == (96, 96) and len(told) == 2


@pytest.mark.parametrize(
    ("family", "options", "error", "says"),
    [
        ("llava", {"k": 0}, UsageError, "k must"),
        ("llava", {"nearest": -1}, UsageError, "nearest"),
        ("llava", {"layers": [3]}, UsageError, "no layer 3"),
        ("llava", {"at": 10**6}, UsageError, "no position"),
        ("mllama", {"at": "image"}, UsageError, "no image positions"),
        ("idefics", {}, ModelError, "by itself"),
    ],
)
def test_what_cannot_be_looked_at(model: Any, family: str, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        lens(model(family), request(), **options)
