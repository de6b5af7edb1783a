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


def image_vectors(dual: Any, images: list[Any]) -> torch.Tensor:
    """Unit vectors [N, D] from one forward."""
    made = dual.embed_images([dual.prepare_image(image) for image in images])
    return torch.stack([one.vector for one in made])


def text_vectors(dual: Any, texts: tuple[str, ...]) -> torch.Tensor:
    """Unit vectors [M, D] from one forward."""
    return torch.stack([one.vector for one in dual.embed_texts([dual.prepare_text(text) for text in texts])])


def scores(dual: Any, images: list[Any], labels: tuple[str, ...]) -> torch.Tensor:
    """Logits [N, M] from one forward for all images and one for all texts."""
    return dual.logits(image_vectors(dual, images), text_vectors(dual, labels))  # type: ignore[no-any-return]


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


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_vectors_have_length_one(model: Any, family: str) -> None:
    for vectors in (image_vectors(model(family), pictures()), text_vectors(model(family), LABELS)):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_tokens_are_counted_without_padding(model: Any, family: str) -> None:
    dual = model(family)
    made = dual.embed_texts([dual.prepare_text(text) for text in LABELS])
    assert [one.tokens for one in made] == [len(dual.tokenizer(text)["input_ids"]) for text in LABELS]
    assert len({one.tokens for one in made}) > 1


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_a_label_is_never_cut_off(model: Any, family: str) -> None:
    with pytest.raises(ContextOverflow, match="24"):
        model(family).prepare_text("cat " * 60)


def test_nan_is_an_error(model: Any) -> None:
    dual = model("clip")
    with pytest.raises(NumericalError):
        dual.logits(torch.full((1, 32), float("nan")), torch.ones(1, 32))
    with pytest.raises(NumericalError):
        dual.embed_images([{"pixel_values": torch.full((1, 3, 32, 32), float("nan"))}])
