"""Boxes and masks of scenes of unseen seeds, through vlm's own commands: `python -m recipes.shapes.evaluate`.

Boxes: every kind of thing in a picture is asked for ("a red circle"), and two that are not there. A thing is found if a
box with its label overlaps its own by half (intersection over union); a box that finds nothing is wrong. As `vlm detect
--nms 0.5` does, of two boxes of a label that overlap by more than half only the better counts. Masks: every thing of a
picture is clicked on, at a random place of what is to be seen of it, and then surrounded by its box.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image

from recipes.picturebook.scenes import COLOURS, SHAPES, Scene, box, draw, owners, sample_scene
from recipes.picturebook.skills import with_article
from recipes.shapes.segmenter import point_at
from vlmcli.api.detector import DetectorModel
from vlmcli.api.load import load
from vlmcli.api.segmenter import SegmenterModel
from vlmcli.models.segmenter import bounds
from vlmcli.render.pictures.masks import mask_image
from vlmcli.types.detect import Box, Detection

KINDS = {"single": "one thing", "few": "two to four", "crowd": "one to seven of few kinds", "collage": "five to ten"}
PILE = {"pile": "two to six that overlap"}
_ABSENT = 2
_ENOUGH = 0.5  # overlap
_SAME = 0.5  # overlap of boxes of one label, of which the better is kept: vlm detect --nms
_LEAST_PX = 40  # a thing of which less is to be seen is not clicked on


@dataclass(frozen=True, slots=True)
class Found:
    """How a detector did on one picture, or on several."""

    things: int
    boxes: int
    right: int
    overlaps: tuple[float, ...] = ()

    def __add__(self, other: Found) -> Found:
        overlaps = self.overlaps + other.overlaps
        return Found(self.things + other.things, self.boxes + other.boxes, self.right + other.right, overlaps)


def scenes(kind: str, count: int, seed: int) -> Iterator[tuple[random.Random, Scene]]:
    """Pictures with something in them, and what goes on drawing their random numbers."""
    index = made = 0
    while made < count:
        rng = random.Random(f"shapes-evaluation-{seed}-{kind}-{index}")
        index += 1
        scene = sample_scene(rng, kind)
        if scene.items:
            made += 1
            yield rng, scene


def look_for(model: DetectorModel, rng: random.Random, scene: Scene) -> Found:
    """Ask for everything that is there, and for something that is not."""
    there = [with_article(f"{item.colour} {item.shape}") for item in scene.items]
    others = [with_article(f"{colour} {shape}") for colour in COLOURS for shape in SHAPES]
    absent = rng.sample([label for label in others if label not in there], _ABSENT)
    labels = rng.sample([*dict.fromkeys(there), *absent], len(set(there)) + _ABSENT)
    made = model.detect([draw(scene, rng)], labels, nms=_SAME).found[0]
    return matched([(label, box(scene, item)) for label, item in zip(there, scene.items, strict=True)], made)


def matched(things: list[tuple[str, Box]], made: tuple[Detection, ...]) -> Found:
    """Boxes against things, the best score first; each thing is found once."""
    left = list(things)
    overlaps = []
    for detection in made:
        fitting = [(overlap(detection.box, place), label, place) for label, place in left if label == detection.label]
        best = max(fitting, default=None)
        if best is not None and best[0] >= _ENOUGH:
            overlaps.append(best[0])
            left.remove(best[1:])
    return Found(len(things), len(made), len(overlaps), tuple(overlaps))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def cut_out(model: SegmenterModel, rng: random.Random, scene: Scene) -> Iterator[tuple[float, float]]:
    """The overlap of mask and truth in the picture's own pixels, by one click and by the box, thing by thing."""
    picture = draw(scene, rng)
    shown = np.asarray(owners(scene, *picture.size))  # [H, W]
    for number in np.unique(shown[shown > 0]).tolist():
        alone = np.where(shown == number, number, 0)  # [H, W]
        if (alone > 0).sum() < _LEAST_PX:
            continue
        pointed = point_at(rng, alone, picture.size, (1, 0))
        yield (
            _fit(model, picture, pointed.mask, points=pointed.inside),
            _fit(model, picture, pointed.mask, boxes=[bounds(torch.from_numpy(pointed.mask))]),
        )


def _fit(model: SegmenterModel, picture: Image.Image, truth: np.ndarray[Any, Any], **prompt: Any) -> float:
    return fit(np.asarray(mask_image(model.segment(picture, **prompt).masks[0].rle)) > 0, truth)


def fit(mask: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    """Intersection over union of two masks [H, W] of booleans."""
    return float((mask & truth).sum() / (mask | truth).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.shapes.evaluate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--boxes", default=None, help="a detector, as vlm -m takes it; the embedded one if not given")
    parser.add_argument("--masks", default=None, help="likewise a segmenter")
    parser.add_argument("--count", type=int, default=100, help="pictures a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("boxes", "masks"), default=None)
    options = parser.parse_args()
    if options.only != "masks":
        judge_boxes(options)
    if options.only != "boxes":
        judge_masks(options)


def judge_boxes(options: argparse.Namespace) -> None:
    detector = load(options.boxes, kind="detector", cache=False)
    assert isinstance(detector, DetectorModel)
    print("| things in a picture | found | of the boxes right | mean IoU of those |\n|---|---|---|---|")
    for kind, name in (KINDS | PILE).items():
        total = Found(0, 0, 0)
        for rng, scene in scenes(kind, options.count, options.seed):
            total += look_for(detector, rng, scene)
        shares = (total.right / total.things, total.right / max(total.boxes, 1))
        print(f"| {name} | {shares[0]:.1%} | {shares[1]:.1%} | {fmean(total.overlaps or (0,)):.2f} |", flush=True)


def judge_masks(options: argparse.Namespace) -> None:
    segmenter = load(options.masks, kind="segmenter")
    assert isinstance(segmenter, SegmenterModel)
    print("| things in a picture | IoU by one click | above 0.5 | IoU by a box | above 0.5 |\n|---|---|---|---|---|")
    for kind, name in (KINDS | PILE).items():
        drawn = [
            pair for rng, scene in scenes(kind, options.count, options.seed) for pair in cut_out(segmenter, rng, scene)
        ]
        ways = (f"{fmean(ious):.2f} | {fmean(iou > _ENOUGH for iou in ious):.1%}" for ious in zip(*drawn, strict=True))
        print(f"| {name} | {' | '.join(ways)} |", flush=True)


if __name__ == "__main__":
    main()
