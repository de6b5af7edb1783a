"""What ``vlm segment --everything`` needs in memory, above the model itself.

``python -m bench.everything [MODEL] [--grid N] [--size WIDTHxHEIGHT] [--device cpu]`` prints the peak while everything
in an image is segmented, less what the process held before. Without MODEL it is a network of the size of sam-vit-base
whose weights are random: what it draws means nothing, and takes as much memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
import transformers
from PIL import Image

from vlmcli.api.load import load
from vlmcli.api.segmenter import SegmenterModel
from vlmcli.models.memory import PeakMemory
from vlmcli.models.torchvision_shim import mend_torchvision

LIMIT_MB = 2000


def stand_in(folder: Path) -> Path:
    """A checkpoint of sam-vit-base's shapes with random weights."""
    mend_torchvision()  # transformers' own modules import torchvision wherever it is installed
    torch.manual_seed(0)
    transformers.SamModel(transformers.SamConfig()).save_pretrained(folder)
    transformers.SamProcessor(transformers.SamImageProcessor()).save_pretrained(folder)
    return folder


def picture(size: tuple[int, int]) -> Image.Image:
    """Coarse coloured noise of (width, height) pixels."""
    noise = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Image.fromarray(noise.numpy()).resize(size)


def main() -> None:
    """Print a few lines; exit code 1 where the memory exceeds the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?")
    parser.add_argument("--grid", type=int, default=32)
    parser.add_argument("--size", default="4000x3000")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--min-iou", type=float, default=0.88)
    parser.add_argument("--min-stability", type=float, default=0.95)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        model = load(given.model or stand_in(Path(folder)), device=given.device, cache=False)
    assert isinstance(model, SegmenterModel)
    image = model.read_one(picture((width, height)))
    meter = PeakMemory(model.segmenter.model.device)
    before = meter.held_bytes
    if before is None:
        raise SystemExit("this system does not tell how much memory a process needs at most")
    began = time.perf_counter()
    made = model.everything(image, grid=given.grid, min_iou=given.min_iou, min_stability=given.min_stability)
    elapsed_s = time.perf_counter() - began
    assert meter.peak_bytes is not None
    above = (meter.peak_bytes - before) / 1e6
    name = given.model or "a network of the size of sam-vit-base, random weights"
    print(f"{name} ({model.info.dtype} on {model.info.device}), {width} x {height} pixels, {given.grid}^2 points")
    print(f"the model and the image  {before / 1e6:8.0f} MB")
    print(f"above them, at the most  {above:8.0f} MB (the limit is {LIMIT_MB})")
    runs_mb = sum(len(mask.rle.counts) for mask in made.masks) / 1e6
    print(f"{len(made.masks)} masks, {runs_mb:.1f} MB of runs, in {elapsed_s:.0f} s")
    raise SystemExit(above > LIMIT_MB)


if __name__ == "__main__":
    main()
