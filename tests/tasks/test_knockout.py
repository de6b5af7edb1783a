"""What an answer loses by window: nothing where nothing is cut, and the truth where something is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.tasks.test_score import greedy, request
from vlmcli.errors import ContextOverflow, InputError, ModelError, UsageError
from vlmcli.models.knockout import knocked_out
from vlmcli.tasks.knockout import knockout
from vlmcli.tasks.score import score

FAMILIES = ["llava", "llava_next", "idefics3", "internvl", "qwen2_vl", "paligemma", "gemma3", "kosmos2"]


@pytest.mark.parametrize("family", FAMILIES)
def test_uncut_it_is_what_score_says(model: Any, family: str) -> None:
    vlm = model(family)
    result = knockout(vlm, request(), "two dogs", window=1)
    scored = score(vlm, request(), "two dogs", end=False)
    assert [token.id for token in result.tokens] == [token.id for token in scored.tokens]
    assert result.logprob == pytest.approx(scored.logprob, abs=1e-5) and result.answer.strip() == "two dogs"
    assert [(window.first, window.last) for window in result.windows] == [(1, 1), (2, 2)]
    assert all(abs(window.logprob - result.logprob) > 1e-4 for window in result.windows)
    assert (result.everywhere.first, result.everywhere.last, result.blocks) == (1, 2, 2)


def test_the_likeliest_first_token_is_what_is_looked_at(model: Any) -> None:
    result = knockout(model("llava"), request())
    said = greedy(model("llava"), request(), 1).tokens[0]
    assert [token.id for token in result.tokens] == [said.id]
    assert result.probability == pytest.approx(math.exp(said.logprob), abs=1e-6)


def test_a_window_is_what_the_hooks_make_of_it(model: Any) -> None:
    vlm = model("llava")
    result = knockout(vlm, request(), "a cat", window=2)
    with knocked_out(vlm, [0, 1], range(4, 20)):
        scored = score(vlm, request(), answer_ids=[token.id for token in result.tokens])
    assert result.windows[0].logprob == pytest.approx(scored.logprob, abs=1e-6)
    assert result.windows[0].logprob == result.everywhere.logprob and result.cut == 16


def test_windows_move_by_the_stride(model: Any) -> None:
    vlm = model("llava")
    assert len(knockout(vlm, request(), window=1, stride=2).windows) == 1
    told: list[tuple[int, int]] = []
    knockout(vlm, request(), window=1, tick=lambda *counts: told.append(counts))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("family", ["llava", "llava_next", "idefics3", "internvl", "qwen2_vl"])
def test_a_box_of_the_whole_image_is_the_image(model: Any, family: str) -> None:
    vlm = model(family)
    whole, boxed = (knockout(vlm, request(), window=2, box=box) for box in (None, (0, 0, 40, 32)))
    # A line break between rows of patches shows nothing of the image, and is no part of a box.
    assert boxed.cut == whole.cut or (family == "llava_next" and boxed.cut < whole.cut)
    if boxed.cut == whole.cut:
        assert boxed.everywhere == whole.everywhere
    assert boxed.box == (0, 0, 40, 32)


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((0, 0, 10, 8), [0]),
        ((5.5, 3, 5.9, 3.2), [0]),
        ((11, 1, 19, 7), [1]),
        ((0, 9, 40, 15), [4, 5, 6, 7]),
        ((15, 4, 25, 12), [1, 2, 5, 6]),
    ],
)
def test_a_box_cuts_the_patches_that_it_touches(model: Any, box: Any, cut: list[int]) -> None:
    """A picture of 40 x 32 as 4 x 4 patches, whose first stands at position 4."""
    vlm = model("llava")
    result = knockout(vlm, request(), "a cat", window=2, box=box)
    assert result.cut == len(cut)
    with knocked_out(vlm, [0, 1], [4 + patch for patch in cut]):
        scored = score(vlm, request(), answer_ids=[token.id for token in result.tokens])
    assert result.everywhere.logprob == pytest.approx(scored.logprob, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "images", "answer", "options", "error", "says"),
    [
        ("llava", 0, "", {}, InputError, "no image"),
        ("llava", 1, "", {"window": 3}, UsageError, "1 to 2 blocks"),
        ("llava", 1, "", {"window": 0}, UsageError, "1 to 2 blocks"),
        ("llava", 1, "", {"stride": 0}, UsageError, "stride"),
        ("llava", 1, "a <image>", {}, InputError, "cannot say"),
        ("llava", 1, "cat " * 500, {}, ContextOverflow, "context"),
        ("llava", 2, "", {"box": (0, 0, 9, 9)}, UsageError, "one image"),
        ("llava", 1, "", {"box": (40, 0, 50, 9)}, UsageError, "outside"),
        ("llava", 1, "", {"box": (9, 0, 9, 9)}, UsageError, "outside"),
        ("blip2", 1, "", {"box": (0, 0, 9, 9)}, UsageError, "no places"),
        ("mllama", 1, "", {}, InputError, "take no positions"),
        ("idefics", 1, "", {}, InputError, "take no positions"),
        ("git", 1, "", {}, InputError, "take no positions"),
        ("lfm2_vl", 1, "", {}, ModelError, "no mask cuts"),
        ("qwen3_5", 1, "", {}, ModelError, "no mask cuts"),
    ],
)
def test_what_cannot_be_cut(
    model: Any, family: str, images: int, answer: str, options: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        knockout(model(family), request(images), answer, **options)
