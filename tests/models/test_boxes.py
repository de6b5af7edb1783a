"""Boxes: corners, clipping, and which of several boxes say the same."""

from __future__ import annotations

import pytest
import torch

from vlmcli.models.boxes import areas, clipped, corners, distinct


def test_corners_and_clipping() -> None:
    boxes = corners(torch.tensor([[10.0, 10.0, 4.0, 8.0], [0.0, 50.0, 10.0, 10.0]]))
    assert boxes.tolist() == [[8, 6, 12, 14], [-5, 45, 5, 55]]
    assert clipped(boxes, (11, 50)).tolist() == [[8, 6, 11, 14], [0, 45, 5, 50]]
    assert areas(boxes).tolist() == [32, 100]


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union, in plain Python."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - width * height
    return width * height / union


def plainly_distinct(boxes: list[list[float]], scores: list[float], labels: list[int], iou: float) -> list[int]:
    """What torchvision's batched_nms does, box by box."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[k] or overlap(boxes[i], boxes[k]) <= iou for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("kinds", [1, 3])
def test_distinct_boxes_are_those_of_the_plain_algorithm(iou: float, kinds: int) -> None:
    generator = torch.Generator().manual_seed(int(iou * 10) + kinds)
    low = torch.rand(60, 2, generator=generator) * 30
    boxes = torch.cat([low, low + 5 + torch.rand(60, 2, generator=generator) * 20], dim=-1)
    scores, labels = torch.rand(60, generator=generator), torch.randint(kinds, (60,), generator=generator)
    wanted = plainly_distinct(boxes.tolist(), scores.tolist(), labels.tolist(), iou)
    assert distinct(boxes, scores, iou, labels).tolist() == wanted
    assert len(wanted) < 60 or iou == 1.0


def test_no_boxes() -> None:
    assert distinct(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
