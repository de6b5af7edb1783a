"""The recipe of the embedded detector and segmenter: labels, ground truth, losses, and a training that can be used."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.learning import Plan
from recipes.picturebook.scenes import owners, sample_scene
from recipes.shapes import train_boxes, train_masks, words
from recipes.shapes.detector import BoxExamples, BoxStage, box_loss, collate, shown_at
from recipes.shapes.evaluate import matched, overlap
from recipes.shapes.phrases import Phrase, Thing, phrase, sample_phrases, things_in
from recipes.shapes.segmenter import GRID, MASK_PX, MaskExamples, mask_loss, model, point_at
from tests.recipes.test_scenes import item, scene_with
from vlmcli.api.load import load
from vlmcli.types.detect import Detection

CAT = ("a cat", (0.0, 0.0, 10.0, 10.0))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return words.load_or_build(tmp_path_factory.mktemp("words") / "words")


def test_a_label_is_true_of_what_it_says() -> None:
    star = Thing("red", "star", (0, 0, 1, 1))
    assert Phrase("a red star", "red", "star").fits(star) and Phrase("a star", shape="star").fits(star)
    assert Phrase("something red", "red").fits(star) and Phrase("a thing").fits(star)
    assert not Phrase("a blue star", "blue", "star").fits(star) and not Phrase("a cat", shape="").fits(star)


def test_labels_name_what_they_are_true_of() -> None:
    rng = random.Random(0)
    for _ in range(50):
        assert "star" in phrase(rng, None, "star").text and "teal" in phrase(rng, "teal", None).text
    things = things_in(sample_scene(rng, "few"))
    true = [any(p.fits(thing) for thing in things) for p in sample_phrases(rng, things, 200)]
    assert 0.4 < sum(true) / len(true) < 0.9


@pytest.mark.parametrize("text", ["a red circle", "5 zebras, please?", "quux é 日本"])
def test_the_vocabulary_is_of_clips_kind(tokens: Any, text: str) -> None:
    ids = tokens(text)["input_ids"]
    assert ids[0] == len(tokens) - 2 and ids[-1] == len(tokens) - 1 == max(ids), "the end is not the highest number"
    assert len(tokens) - 1 not in ids[:-1], "what is not known looks like the end"
    assert tokens.pad_token_id == 0
    assert tokens.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_later_thing_lies_above_and_a_ring_has_a_hole() -> None:
    scene = scene_with(item("square", "red", x=0.4, y=0.5, radius=0.3), item("ring", "blue", x=0.6, y=0.5, radius=0.3))
    shown = np.asarray(owners(scene, 100, 100))
    assert shown[50, 35] == 1 and shown[50, 48] == 2 and shown[50, 60] == 0 and shown[5, 5] == 0


def test_patches_know_what_they_show() -> None:
    scene = scene_with(item("square", "teal", x=0.25, y=0.5, radius=0.3))
    shown = shown_at(scene, things_in(scene)).reshape(8, 8)
    assert shown[4, 2] == 0 and (shown[:, 5:] == -1).all()


def test_the_patch_that_does_best_already_answers(tokens: Any) -> None:
    stage = BoxStage(tokens)
    boxes = torch.tensor([[[0.4, 0.4, 0.6, 0.6], [-1.0] * 4]])  # its middle is where four patches meet; no second thing
    found, fits = torch.tensor([0.4, 0.4, 0.6, 0.6]).expand(1, 64, 4), torch.tensor([[[1.0], [0.0]]])
    for favourite in (27, 28, 35, 36):
        scores = torch.full((1, 64, 1), 0.1)
        scores[0, favourite] = 0.9
        scores[0, 0] = 1.0  # too far away
        answering = stage.assign(scores, found, boxes, fits)
        assert answering[0, favourite] == 0 and (answering == -1).sum() == 63


def test_boxes_learn_at_the_pictures_edge_too(tokens: Any) -> None:
    places = (torch.zeros(1, 64, 4) + BoxStage(tokens).model.box_bias).requires_grad_()
    boxes, which = torch.tensor([[[0.9, 0.9, 0.99, 0.99]]]), torch.full((1, 64), -1)
    which[0, 63] = 0
    box_loss(places, boxes, which)[0].backward()
    assert places.grad is not None and (places.grad[0, 63].abs() > 0.01).all()
    exact = torch.tensor([0.945, 0.945, 0.09, 0.09]).logit().expand(1, 64, 4)
    assert box_loss(exact, boxes, which)[0] < 1e-4


def test_the_best_of_three_masks_learns() -> None:
    masks = torch.zeros(1, 1, 2 * MASK_PX, 2 * MASK_PX, dtype=torch.bool)
    masks[..., 32:64, 48:96] = True
    right = torch.where(masks[..., ::2, ::2], 9.0, -9.0)[:, :, None]
    logits = torch.cat([right, torch.zeros_like(right), -right], dim=2).requires_grad_()
    loss, iou = mask_loss(logits, torch.tensor([[[1.0, 0.0, 0.0]]]), masks)
    loss.backward()
    assert iou == 1 and loss < 0.01 and logits.grad is not None
    assert logits.grad[0, 0, 0].abs().sum() > 0 and logits.grad[0, 0, 1:].abs().sum() == 0


def test_a_point_looks_at_its_surroundings_from_the_start() -> None:
    torch.manual_seed(0)
    made = model()
    places = made.get_image_wide_positional_embeddings()[0].flatten(1).T  # [patches, D]
    attention = made.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    queries, keys = attention.q_proj(places), attention.k_proj(places)
    nearest, here = (queries @ keys.T).argmax(-1), torch.arange(len(places))
    assert ((nearest // GRID - here // GRID).abs() <= 1).all() and ((nearest % GRID - here % GRID).abs() <= 1).all()


def test_points_and_boxes_lie_where_they_say() -> None:
    examples = MaskExamples(0, 20)
    for example in (examples[i] for i in range(20)):
        pointed = point_at(random.Random(0), example["shown"], example["size"], (2, 2))
        assert all(pointed.mask[y, x] for x, y in pointed.inside)
        assert all(not pointed.mask[y, x] and x < example["size"][0] for x, y in pointed.outside)
        rows, columns = pointed.mask.nonzero()
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert overlap(pointed.box, tuple(map(float, tight))) > 0.75


def test_a_thing_is_found_once_and_by_its_own_label() -> None:
    box = CAT[1]
    twice = (Detection("a cat", 0.9, box), Detection("a cat", 0.8, box))
    assert matched([CAT], twice).right == 1 and matched([CAT], twice).boxes == 2
    assert matched([CAT], (Detection("a dog", 0.9, box),)).right == 0
    assert matched([CAT], (Detection("a cat", 0.9, (0.0, 0.0, 4.0, 10.0)),)).right == 0
    assert overlap(box, (5.0, 0.0, 15.0, 10.0)) == pytest.approx(1 / 3)


def test_labels_of_a_batch_are_held_against_everything_in_it() -> None:
    examples = BoxExamples(0, 4)
    batch = collate([examples[i] for i in range(4)])
    assert len(set(batch["texts"])) == len(batch["texts"]) == batch["fits"].shape[2]
    assert batch["fits"].sum() > 4 and batch["shown"].max() < batch["boxes"].shape[1]


@pytest.mark.parametrize("module", [train_boxes, train_masks])
def test_one_command_makes_a_model(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = module.__name__.rpartition("_")[2]
    monkeypatch.setattr(module, "PLAN", Plan(1, 2, 1e-3))
    monkeypatch.setattr(sys, "argv", [what, "--out", str(tmp_path), "--device", "cpu"])
    module.main()
    made: Any = load(tmp_path / f"picturebook-{what}", cache=False)
    shapes = "examples/shapes.png"
    if what == "boxes":
        assert made.detect(shapes, ["a red circle"], threshold=0.0).found[0]
    else:
        assert made.segment(shapes, points=[(84, 92)]).masks[0].rle.size == (288, 384)
