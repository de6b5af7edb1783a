"""Run-length encoding, against the library that defines it."""

from __future__ import annotations

import pytest
import torch
from pycocotools import mask as coco

from vlmcli.models.segmenter import bounds, encoded
from vlmcli.types.segment import Rle

GENERATOR = torch.Generator().manual_seed(0)


def blobs(height: int, width: int) -> torch.Tensor:
    """Noise, coarse enough for runs of many lengths."""
    noise = torch.rand(1, 1, height // 7 + 1, width // 9 + 1, generator=GENERATOR)
    return torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")[0, 0] > 0.5


MASKS = {
    "empty": torch.zeros(5, 7, dtype=torch.bool),
    "full": torch.ones(5, 7, dtype=torch.bool),
    "one pixel": torch.ones(1, 1, dtype=torch.bool),
    "first pixel": torch.eye(4, 6) > 2,
    "diagonal": torch.eye(50, 30) > 0,
    "noise": torch.rand(37, 23, generator=GENERATOR) > 0.5,
    "blobs": blobs(300, 200),
    "long runs": blobs(4, 3) .repeat_interleave(300, dim=0).repeat_interleave(500, dim=1),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MASKS))
def test_masks_are_encoded_as_pycocotools_encodes_them(name: str) -> None:
    mask = MASKS[name]
    ours = encoded(mask)
    theirs = coco.encode(mask.t().contiguous().numpy().astype("uint8").T)
    assert (list(ours.size), ours.counts) == (theirs["size"], theirs["counts"].decode())


@pytest.mark.parametrize("name", list(MASKS))
def test_pycocotools_reads_them(name: str) -> None:
    mask = MASKS[name]
    rle = {"size": list(encoded(mask).size), "counts": encoded(mask).counts}
    assert (coco.decode(rle) == mask.numpy()).all()
    assert int(coco.area(rle)) == int(mask.sum())
    x0, y0, x1, y1 = bounds(mask)
    assert coco.toBbox(rle).tolist() == [x0, y0, x1 - x0, y1 - y0]


@pytest.mark.parametrize("name", list(MASKS))
def test_runs_come_back(name: str) -> None:
    runs = encoded(MASKS[name]).runs()
    assert sum(runs) == MASKS[name].numel() and sum(runs[1::2]) == int(MASKS[name].sum())
    assert Rle.of_runs((1, sum(runs)), runs).runs() == runs
