"""COCO files are read back by the library that defines them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from tests.render import values
from vlmcli.render.coco import detections_coco, segmentation_coco


def read(content: object, folder: Path) -> COCO:
    path = folder / "found.json"
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    return COCO(str(path))


def test_boxes(tmp_path: Path) -> None:
    coco = read(detections_coco(values.detections(values.CAT, values.DOG, images=2)), tmp_path)
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["image0.png", "image1.png"]
    assert (coco.imgs[1]["width"], coco.imgs[1]["height"]) == (80, 60)
    cat, dog = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert cat["bbox"] == [10.0, 20.0, 30.25, 30.0] and cat["area"] == pytest.approx(907.5)
    assert [coco.cats[found["category_id"]]["name"] for found in (cat, dog)] == ["a cat", "a [bold]dog"]
    assert (cat["score"], coco.getAnnIds(imgIds=[2])) == (0.75, [])


def test_masks(tmp_path: Path) -> None:
    masks = (
        values.mask("......", ".##...", ".#....", "......", label="a cat", score=0.5),
        values.mask("#.....", "......", "......", "......"),
    )
    coco = read(segmentation_coco(values.segmentation(*masks)), tmp_path)
    cat, thing = coco.loadAnns([1, 2])
    assert coco.annToMask(cat).tolist() == [[0] * 6, [0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6]
    assert (cat["area"], cat["bbox"], cat["score"]) == (3, [1, 1, 2, 2], 0.5)
    assert coco.cats[thing["category_id"]]["name"] == "thing" and thing["score"] == 0.9


def test_nothing_found(tmp_path: Path) -> None:
    coco = read(detections_coco(values.detections()), tmp_path)
    assert coco.getAnnIds() == [] and len(coco.cats) == 2
    assert read(segmentation_coco(values.segmentation()), tmp_path).getAnnIds() == []
