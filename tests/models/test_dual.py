"""Dual encoders score as transformers' own forward over all pairs does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests import tiny
from vlmcli.errors import ContextOverflow, NumericalError

LABELS = ("a photo of a cat", "a dog", "two red circles left of a blue square")
TOLERANCE = 1e-5


def pictures() -> list[Any]:
    return [tiny.picture(seed, (50 + 10 * seed, 40)) for seed in range(3)]


def scores(dual: Any, images: list[Any], labels: tuple[str, ...]) -> torch.Tensor:
    """Logits [N, M] from one forward for each image and each text."""
    vectors = torch.cat([dual.embed_image(image).vector for image in images])
    return dual.logits(vectors, dual.embed_texts(labels))  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_logits_are_those_of_forward(model: Any, family: str) -> None:
    dual = model(family)
    padding = {"padding": True} if family == "clip" else {"padding": "max_length", "max_length": 24}
    inputs = dual.processor(text=list(LABELS), images=pictures(), return_tensors="pt", **padding)
    with torch.no_grad():
        theirs = dual.model(**inputs).logits_per_image  # [N, M]
    ours = scores(dual, pictures(), LABELS)
    assert (ours - theirs).abs().max() <= TOLERANCE, "scores differ: padding, normalisation, scale or bias"
    assert theirs.std(dim=0).min() > 1e-3 and theirs.std(dim=1).min() > 1e-3, "the tiny model ignores one side"


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_a_score_does_not_depend_on_its_neighbours(model: Any, family: str) -> None:
    dual = model(family)
    together = scores(dual, pictures(), LABELS)
    for n, image in enumerate(pictures()):
        for m, label in enumerate(LABELS):
            assert abs(float(scores(dual, [image], (label,))) - float(together[n, m])) <= TOLERANCE


def test_sigmoid_belongs_to_those_trained_with_it(model: Any) -> None:
    assert [model(family).is_sigmoid for family in ("siglip", "siglip2", "clip")] == [True, True, False]


def test_many_labels_go_through_in_batches(model: Any) -> None:
    labels = tuple(f"a photo of {number}" for number in range(70))
    vectors = model("siglip").embed_texts(labels)
    assert vectors.shape[0] == 70
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(70), atol=1e-5)


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_a_label_is_never_cut_off(model: Any, family: str) -> None:
    with pytest.raises(ContextOverflow, match="24"):
        model(family).embed_texts(("cat " * 60,))


def test_nan_is_an_error(model: Any) -> None:
    with pytest.raises(NumericalError):
        model("clip").logits(torch.full((1, 32), float("nan")), torch.ones(1, 32))
