"""Boxes as tensors: where they are, how they overlap, which of them say the same.

Shapes: N boxes, ``x0, y0, x1, y1`` each; ... any dimensions before.
"""

from __future__ import annotations

import torch
from torch import Tensor


def corners(boxes: Tensor) -> Tensor:
    """Centre, width and height [..., 4] -> corners [..., 4]."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2  # [..., 2]
    return torch.cat([centre - half, centre + half], dim=-1)


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [N, 4] without what lies outside an image of ``size`` (width, height)."""
    return boxes.clamp(min=0).minimum(boxes.new_tensor((*size, *size)))


def areas(boxes: Tensor) -> Tensor:
    """Boxes [..., 4] -> their areas [...]."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def distinct(boxes: Tensor, scores: Tensor, iou: float, labels: Tensor | None = None) -> Tensor:
    """Greedy non-maximum suppression: which boxes stay [K], the best score first.

    A box goes where it overlaps a better one that stays by more than ``iou`` (intersection over union); where
    ``labels`` [N] are given, one of its own label. torchvision has the same, but not beside every torch.
    """
    order = scores.argsort(descending=True, stable=True)  # [N]
    boxes, size = boxes[order], areas(boxes[order])
    kinds = None if labels is None else labels[order]
    stays = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if not stays[i]:
            continue
        both = torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:]) - torch.maximum(boxes[i, :2], boxes[i + 1 :, :2])
        shared = both.clamp(min=0).prod(dim=-1)  # [N - i - 1]
        same = shared > iou * (size[i] + size[i + 1 :] - shared)
        stays[i + 1 :] &= ~same if kinds is None else ~(same & (kinds[i + 1 :] == kinds[i]))
    return order[stays]
