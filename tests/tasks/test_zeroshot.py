"""Labels against images: one row for each pair, each side encoded once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests import tiny
from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.tasks.zeroshot import zeroshot

LABELS = ("a cat", "a dog", "a house on a hill")


def images(count: int) -> list[LoadedImage]:
    return [load_image(tiny.picture(seed)) for seed in range(count)]


@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_softmax_and_sigmoid_are_of_the_logits(model: Any, family: str) -> None:
    result = zeroshot(model(family), images(2), LABELS)
    assert [(score.image, score.label) for score in result.scores] == [
        (info.source, label) for info in result.images for label in LABELS
    ]
    for start in (0, 3):
        row = result.scores[start : start + 3]
        total = sum(math.exp(score.logit) for score in row)
        for score in row:
            assert score.softmax == pytest.approx(math.exp(score.logit) / total, abs=1e-5)
            expected = None if family == "clip" else pytest.approx(1 / (1 + math.exp(-score.logit)), abs=1e-5)
            assert score.sigmoid == expected


def test_each_side_is_encoded_once(model: Any) -> None:
    """N + M, not N x M."""
    dual = model("clip")
    calls = {"vision_model": 0, "text_model": 0}

    def count(name: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            calls[name] += 1

        return getattr(dual.model, name).register_forward_hook(hook, with_kwargs=True)

    handles = [count(name) for name in calls]
    try:
        zeroshot(dual, images(3), LABELS)
    finally:
        for handle in handles:
            handle.remove()
    assert calls == {"vision_model": 3, "text_model": 1}


def test_the_template_wraps_the_label_but_not_its_name(model: Any) -> None:
    dual = model("siglip")
    wrapped = zeroshot(dual, images(1), ["cat", "{} dog"], template="a photo of a {}")
    plain = zeroshot(dual, images(1), ["a photo of a cat", "a photo of a {} dog"])
    assert [score.label for score in wrapped.scores] == ["cat", "{} dog"]
    assert [score.logit for score in wrapped.scores] == pytest.approx([score.logit for score in plain.scores], abs=1e-6)


@pytest.mark.parametrize(
    ("count", "labels", "template"), [(0, LABELS, "{}"), (1, (), "{}"), (1, LABELS, "a photo")], ids=str
)
def test_what_makes_no_sense(model: Any, count: int, labels: Any, template: str) -> None:
    with pytest.raises(UsageError):
        zeroshot(model("clip"), images(count), labels, template=template)


def test_what_became_of_the_image(model: Any) -> None:
    info = zeroshot(model("siglip"), images(1), LABELS).images[0]
    assert (info.original, info.resized, info.tokens) == ((40, 32), (32, 32), 16)
