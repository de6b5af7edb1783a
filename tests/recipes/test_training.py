"""The examples say what they should, and training goes on where it stopped."""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes import learning
from recipes.picturebook import parts, tokenizer, train
from recipes.picturebook.data import (
    IGNORE,
    ConversationExamples,
    EncoderExamples,
    collate_conversations,
    collate_encoder,
    patch_labels,
    pixels_of,
)
from recipes.picturebook.export import export, image_processor
from recipes.picturebook.scenes import COLOURS, SHAPES, draw
from tests.recipes.test_scenes import item, scene_with


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe's tokenizer."""
    folder = tmp_path_factory.mktemp("tokens") / "tokenizer"
    tokenizer.load_or_build(folder)
    return folder


@pytest.fixture(scope="module")
def tokens(vocabulary: Path) -> Any:
    return tokenizer.load_or_build(vocabulary)


def test_patch_labels_lie_under_the_object() -> None:
    labels = patch_labels(scene_with(item("square", "teal", x=0.25, y=0.5, radius=0.3)))
    shapes = labels["shape"].reshape(parts.GRID, parts.GRID)
    assert shapes[4, 2] == SHAPES.index("square") + 1
    assert labels["colour"].reshape(parts.GRID, parts.GRID)[4, 2] == list(COLOURS).index("teal") + 1
    assert shapes[:, 5:].sum() == 0 and shapes[0].sum() == 0
    assert labels["centres"].sum() == 1


def test_pixels_equal_the_processors() -> None:
    picture = draw(scene_with(item("star")), random.Random(0))
    wanted = image_processor()(images=[picture], return_tensors="pt")["pixel_values"][0]
    ours = pixels_of(picture).float() / 127.5 - 1
    assert (wanted - ours).abs().max() < 0.02  # a shade or two of 255: two libraries' bicubic filters


def test_an_answer_is_spelled_and_ends(tokens: Any) -> None:
    ids = tokenizer.answer_ids(tokens, "CAT5", spelled=True)
    assert ids[-1] == tokens.eos_token_id and len(ids) == 5
    assert tokens.decode(ids[:-1]) == "CAT5"


def test_each_question_sees_the_picture_and_itself(tokens: Any) -> None:
    examples = ConversationExamples(seed=0, count=8, tokenizer=tokens, turns=3, written=False)
    one = next(e for e in (examples[i] for i in range(8)) if max(e["packed"].segments) == 3)
    mask = collate_conversations([one])["mask"][0, 0]
    segments = torch.tensor(one["packed"].segments)
    first, second = (int((segments == n).nonzero()[-1]) for n in (1, 2))
    assert mask[second, segments == 0].all(), "the picture is seen"
    assert not mask[second, segments == 1].any(), "another question is seen"
    assert not mask[first, first + 1 :].any(), "the future is seen"
    starts = [int((segments == n).nonzero()[0]) for n in (1, 2)]
    assert len({one["packed"].positions[start] for start in starts}) == 1


def test_targets_are_the_answers(tokens: Any) -> None:
    packed = ConversationExamples(0, 1, tokens, 4, written=False)[0]["packed"]
    asked = [i for i, target in enumerate(packed.targets) if target != IGNORE]
    assert all(packed.ids[i + 1] == packed.targets[i] for i in asked)
    before = {packed.ids[i] for i in asked if packed.targets[i - 1] == IGNORE}
    assert before == {tokens.convert_tokens_to_ids(tokenizer.ASSISTANT)}


def test_places_stand_at_the_names_of_items(tokens: Any) -> None:
    packed = ConversationExamples(0, 1, tokens, 8, course="relations")[0]["packed"]
    assert len(packed.named) > 4
    for at, x, y, _ in packed.named:
        assert packed.segments[at] == packed.segments[at - 1], "a name lies within one question"
        words = tokens.decode(packed.ids[at - 3 : at + 1])
        assert any(words.endswith(noun) for noun in (*SHAPES, "object", "shape", "thing", "item", "figure")), words
        assert 0 < x < 1 and 0 < y < 1


def test_claims_are_marked_true_by_the_scene() -> None:
    examples = EncoderExamples(seed=0, count=6)
    batch = collate_encoder([examples[i] for i in range(6)])
    assert batch["truth"].shape == (6, 6) and 0 < batch["truth"].sum() < 36


def _options(out: Path) -> argparse.Namespace:
    return argparse.Namespace(
        out=out, device="cpu", seed=1, workers=0, scale=1.0, start=None, since="encoder", until="encoder"
    )


def _make_it_small(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(parts, "WIDTH", 32)
    monkeypatch.setattr(train, "MEASURED", 32)
    monkeypatch.setitem(train.PLANS, "encoder", learning.Plan(steps, 2, 1e-3, warmup=1))


def test_goes_on_as_if_it_had_never_stopped(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in ("whole", "parts"):
        shutil.copytree(vocabulary, tmp_path / run / "tokenizer")
    _make_it_small(monkeypatch, steps=4)
    whole, _, _ = train.train(_options(tmp_path / "whole"))

    def stop_after_two(*arguments: Any) -> Any:
        return list(batches(*arguments))[:2]

    batches = learning.loader
    monkeypatch.setattr(learning, "loader", stop_after_two)
    monkeypatch.setattr(learning, "SAVE_EVERY_S", 0)
    saved = learning._save
    monkeypatch.setattr(learning, "_save", lambda f, s, o, step: saved(f, s, o, step) if step < 3 else None)
    train.train(_options(tmp_path / "parts"))
    monkeypatch.undo()
    _make_it_small(monkeypatch, steps=4)
    resumed, _, _ = train.train(_options(tmp_path / "parts"))
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), f"{name} differs: the state that was saved is not complete"


def test_goes_on_from_exported_checkpoints(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_it_small(monkeypatch, steps=1)
    shutil.copytree(vocabulary, tmp_path / "tokenizer")
    export(*train.train(_options(tmp_path)), tmp_path)
    monkeypatch.setattr(train, "run_stage", lambda *_: None)
    options = argparse.Namespace(**vars(_options(tmp_path)) | {"start": tmp_path, "since": "finish", "until": "finish"})
    dual, llava, _ = train.train(options)
    for model, name in ((dual, "picturebook-dual"), (llava, "picturebook")):
        stored = type(model).from_pretrained(tmp_path / name, dtype=torch.float32).state_dict()
        assert all(torch.equal(model.state_dict()[key], value) for key, value in stored.items())
