"""The embedded detector and segmenter: the same in transformers' own hands, and right about scenes that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recipes.picturebook.examples import SCENES
from recipes.picturebook.scenes import box, owners
from recipes.picturebook.skills import with_article
from recipes.shapes.evaluate import Found, cut_out, fit, look_for, overlap, scenes
from vlmcli.api.detector import DetectorModel
from vlmcli.api.load import load
from vlmcli.api.segmenter import SegmenterModel
from vlmcli.render.pictures.masks import mask_image
from vlmcli.weights.resolve import BUILTIN

EXAMPLES = Path(__file__).parent.parent / "examples"
TOLERANCE = 1e-4
KNOWN = ("shapes", "crowd", "heart")
named = pytest.mark.parametrize("name", KNOWN)


@pytest.fixture(scope="module")
def detector() -> DetectorModel:
    loaded = load(kind="detector")
    assert isinstance(loaded, DetectorModel)
    return loaded


@pytest.fixture(scope="module")
def segmenter() -> SegmenterModel:
    loaded = load(kind="segmenter")
    assert isinstance(loaded, SegmenterModel)
    return loaded


def test_boxes_and_scores_are_transformers_own(detector: DetectorModel) -> None:
    from transformers import AutoProcessor, OwlViTForObjectDetection

    folder, image = BUILTIN / "picturebook-boxes", Image.open(EXAMPLES / "shapes.png")
    processor = AutoProcessor.from_pretrained(folder)
    model = OwlViTForObjectDetection.from_pretrained(folder, dtype=torch.float32).eval()
    labels = ["a red circle", "a star", "a ring"]
    with torch.no_grad():
        output = model(**processor(text=[labels], images=image, return_tensors="pt"))
    sizes = torch.tensor([image.size[::-1]])
    theirs = processor.post_process_grounded_object_detection(output, threshold=0.1, target_sizes=sizes)[0]
    ours = detector.detect(EXAMPLES / "shapes.png", labels).found[0]
    order = theirs["scores"].argsort(descending=True).tolist()
    assert len(ours) == len(order) > 1
    for found, at in zip(ours, order, strict=True):
        assert found.score == pytest.approx(float(theirs["scores"][at]), abs=TOLERANCE)
        assert found.box == pytest.approx(theirs["boxes"][at].tolist(), abs=384 * TOLERANCE)
        assert found.label == labels[theirs["labels"][at]]


@named
def test_each_thing_of_the_examples_is_found_once(detector: DetectorModel, name: str) -> None:
    scene = SCENES[name]
    there = [(with_article(f"{i.colour} {i.shape}"), box(scene, i)) for i in scene.items]
    found = detector.detect(EXAMPLES / f"{name}.png", [*dict(there), "a pink hexagon"], nms=0.5).found[0]
    assert len(found) == len(there)
    for label, place in there:
        assert max(overlap(f.box, place) for f in found if f.label == label) > 0.7


def test_masks_are_transformers_own(segmenter: SegmenterModel) -> None:
    from transformers import SamModel, SamProcessor

    folder, image = BUILTIN / "picturebook-masks", Image.open(EXAMPLES / "shapes.png")
    processor = SamProcessor.from_pretrained(folder)
    model = SamModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = processor(image, input_points=[[[[84, 92]]]], return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    sizes = (inputs["original_sizes"], inputs["reshaped_input_sizes"])
    (theirs,) = processor.post_process_masks(output.pred_masks, *sizes)
    best = int(output.iou_scores.argmax())
    (ours,) = segmenter.segment(EXAMPLES / "shapes.png", points=[(84, 92)]).masks
    assert ours.iou == pytest.approx(float(output.iou_scores[0, 0, best]), abs=TOLERANCE)
    assert fit(np.asarray(mask_image(ours.rle)) > 0, theirs[0, best].numpy()) > 0.999


@named
def test_each_thing_of_the_examples_is_cut_out(segmenter: SegmenterModel, name: str) -> None:
    scene = SCENES[name]
    shown = np.asarray(owners(scene, scene.width_px, scene.height_px))
    made = segmenter.segment(EXAMPLES / f"{name}.png", boxes=[box(scene, item) for item in scene.items])
    for number, mask in enumerate(made.masks, start=1):
        assert fit(np.asarray(mask_image(mask.rle)) > 0, shown == number) > 0.7


def test_what_words_name_is_cut_out(detector: DetectorModel, segmenter: SegmenterModel) -> None:
    shown = np.asarray(owners(SCENES["shapes"], 384, 288))
    (star,) = segmenter.segment(EXAMPLES / "shapes.png", ["a star"], detector=detector, nms=0.5).masks
    assert star.label == "a star" and fit(np.asarray(mask_image(star.rle)) > 0, shown == 2) > 0.8


def test_unseen_scenes(detector: DetectorModel, segmenter: SegmenterModel) -> None:
    total, clicked, boxed = Found(0, 0, 0), [], []
    for rng, scene in scenes("few", 15, seed=5):
        total += look_for(detector, rng, scene)
    for rng, scene in scenes("few", 8, seed=6):
        by_click, by_box = zip(*cut_out(segmenter, rng, scene), strict=True)
        clicked += by_click
        boxed += by_box
    assert total.right >= 0.8 * total.things and total.right >= 0.8 * total.boxes, "were other weights put in?"
    assert sum(clicked) >= 0.75 * len(clicked) and sum(boxed) >= 0.8 * len(boxed)
