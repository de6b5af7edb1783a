"""Labels against images: one row for each pair, each side encoded once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from vlmcli.errors import InputError, UsageError
from vlmcli.inputs.embeddings.kept import Kept, keep
from vlmcli.inputs.image import LoadedImage, load_image
from vlmcli.tasks.embed import embed
from vlmcli.tasks.zeroshot import zeroshot
from vlmcli.types.embed import Embedding, EmbedTotals
from vlmcli.types.result import ImageInfo, ModelInfo, Start, Usage

MADE_BY = ModelInfo("tiny", "r1", "float32", "cpu")
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
    """A batch of images and a batch of labels, not one forward a pair."""
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
    assert calls == {"vision_model": 1, "text_model": 1}


def test_labels_are_tokenized_once(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dual = model("siglip")
    seen: list[str] = []
    tokenize = type(dual.tokenizer).__call__
    monkeypatch.setattr(
        type(dual.tokenizer),
        "__call__",
        lambda self, text, **more: (seen.append(text), tokenize(self, text, **more))[1],
    )
    used = zeroshot(dual, images(1), LABELS).usage
    assert seen == list(LABELS)
    monkeypatch.undo()
    assert used.prompt_tokens - used.image_tokens == sum(len(dual.tokenizer(label)["input_ids"]) for label in LABELS)


# Kept embeddings


def kept(dual: Any, count: int, path: Path, texts: tuple[str, ...] = ("a tree",)) -> Kept:
    list(keep(embed(dual, images(count), texts, read=lambda image: image, model=MADE_BY), path))
    return Kept.open(path)


@pytest.mark.parametrize("ending", [".safetensors", ".jsonl"])
@pytest.mark.parametrize("family", list(tiny.DUALS))
def test_kept_vectors_score_exactly_as_their_images(model: Any, family: str, ending: str, tmp_path: Path) -> None:
    """More images than one batch; the texts in the file are no images."""
    dual = model(family)
    again = zeroshot(dual, kept(dual, 19, tmp_path / f"kept{ending}"), LABELS, template="a photo of {}")
    assert again.scores == zeroshot(dual, images(19), LABELS, template="a photo of {}").scores


def test_kept_images_are_not_encoded_again(model: Any, tmp_path: Path) -> None:
    dual = model("siglip")
    file = kept(dual, 2, tmp_path / "kept.safetensors")
    handle = dual.model.vision_model.register_forward_hook(lambda *_: pytest.fail("the image encoder ran"))
    try:
        result = zeroshot(dual, file, LABELS)
    finally:
        handle.remove()
    assert [(info.source, info.original) for info in result.images] == [("<image>", (40, 32))] * 2
    assert result.usage.image_tokens == 0 < result.usage.prompt_tokens


def test_vectors_of_another_size_are_refused(model: Any, tmp_path: Path) -> None:
    events = [Start(MADE_BY, (), Usage()), Embedding(ImageInfo("a.png", "00", (8, 8)), (0.6, 0.8))]
    totals = EmbedTotals(1, 0, 0, 2, MADE_BY, Usage())
    list(keep((event for event in (*events, totals)), tmp_path / "kept.jsonl"))
    with pytest.raises(InputError, match="2 dimensions, and the model's have 32"):
        zeroshot(model("clip"), Kept.open(tmp_path / "kept.jsonl"), LABELS)


def test_a_file_of_texts_alone_has_nothing_to_score(model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        zeroshot(model("clip"), kept(model("clip"), 0, tmp_path / "kept.jsonl"), LABELS)


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
