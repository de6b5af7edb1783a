"""The likeliest classes: ranked, scored as the model was trained."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests import tiny
from tests.models.test_load import edit_json, load_folder
from vlmcli.errors import UsageError
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.tasks.classify import classify


def images(count: int) -> list[LoadedImage]:
    return [load_image(tiny.picture(seed)) for seed in range(count)]


@pytest.mark.parametrize("family", list(tiny.CLASSIFIERS))
def test_softmax_is_over_all_classes_whatever_is_shown(model: Any, family: str) -> None:
    classifier = model(family)
    everything = classify(classifier, images(1), k=100)
    assert everything.classes == len(everything.scores) == len(classifier.labels)
    assert sum(score.softmax or 0 for score in everything.scores) == pytest.approx(1, abs=1e-5)
    total = sum(math.exp(score.logit) for score in everything.scores)
    for score in everything.scores:
        assert score.softmax == pytest.approx(math.exp(score.logit) / total, abs=1e-5)
        assert score.sigmoid is None
    assert classify(classifier, images(1), k=2).scores == everything.scores[:2]


def test_the_likeliest_comes_first_image_by_image(model: Any) -> None:
    classifier = model("vit")
    result = classify(classifier, images(2), k=3)
    assert [score.image for score in result.scores] == [info.source for info in result.images for _ in range(3)]
    for row in (result.scores[:3], result.scores[3:]):
        assert [score.logit for score in row] == sorted((score.logit for score in row), reverse=True)
        assert all(score.label == classifier.labels[score.id] for score in row)
    assert result.images[0].resized == (32, 32)


def test_several_labels_an_image_have_a_sigmoid_each(folder_of: Any) -> None:
    folder = folder_of("vit")
    edit_json(folder / "config.json", lambda config: config.update(problem_type="multi_label_classification"))
    for score in classify(load_folder(folder), images(1)).scores:
        assert score.sigmoid == pytest.approx(1 / (1 + math.exp(-score.logit)), abs=1e-5)
        assert score.softmax is None


@pytest.mark.parametrize(("count", "k"), [(0, 5), (1, 0)])
def test_what_makes_no_sense(model: Any, count: int, k: int) -> None:
    with pytest.raises(UsageError):
        classify(model("vit"), images(count), k=k)
