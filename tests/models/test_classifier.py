"""Classifiers give the logits that transformers' own pipeline gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests import tiny
from tests.models.test_load import edit_json, load_folder
from vlmcli.errors import NumericalError

TOLERANCE = 1e-5


def pictures() -> list[Any]:
    return [tiny.picture(seed, (50 + 10 * seed, 40)) for seed in range(3)]


@pytest.mark.parametrize("family", list(tiny.CLASSIFIERS))
def test_logits_are_those_of_the_pipeline(checkpoint: Any, model: Any, family: str) -> None:
    folder = str(checkpoint(family).folder)
    theirs = transformers.pipeline("image-classification", model=folder, device="cpu", dtype=torch.float32)
    classifier = model(family)
    rows = []
    for picture in pictures():
        told = theirs(picture, top_k=100, function_to_apply="none")
        wanted = {row["label"]: row["score"] for row in told}
        logits = classifier.classify(picture).logits.tolist()
        assert len(logits) == len(wanted)
        for label, logit in zip(classifier.labels, logits, strict=True):
            assert abs(logit - wanted[label]) <= TOLERANCE, "logits differ: preprocessing or head"
        rows.append(logits)
    assert torch.tensor(rows).std(dim=0).max() > 1e-3, "the tiny model ignores its image"


def test_labels_are_the_configurations(model: Any) -> None:
    assert model("vit").labels == ("tench", "goldfish", "great white shark", "LABEL_3", "LABEL_4")
    assert model("convnext").labels[6] == "LABEL_6"


def test_the_size_that_the_encoder_saw(model: Any) -> None:
    assert model("vit").classify(tiny.picture()).resized == (32, 32)
    assert model("dinov2").classify(tiny.picture()).resized == (28, 28)


@pytest.mark.parametrize(
    ("problem_type", "scoring"),
    [
        (None, "softmax"),
        ("single_label_classification", "softmax"),
        ("multi_label_classification", "sigmoid"),
        ("regression", None),
    ],
)
def test_scoring_is_what_the_model_was_trained_for(folder_of: Any, problem_type: str | None, scoring: Any) -> None:
    folder: Path = folder_of("vit")
    edit_json(folder / "config.json", lambda config: config.update(problem_type=problem_type))
    assert load_folder(folder).scoring == scoring


def test_nan_is_an_error(folder_of: Any) -> None:
    classifier = load_folder(folder_of("vit"))
    classifier.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(NumericalError):
        classifier.classify(tiny.picture())
