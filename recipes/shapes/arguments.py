"""What a training can be told."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def arguments(what: str, about: str | None) -> argparse.Namespace:
    """The options of ``python -m recipes.shapes.train_<what>``; the folder for states and checkpoints is there."""
    parser = argparse.ArgumentParser(
        prog=f"python -m recipes.shapes.train_{what}", description=(about or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("runs/shapes"), help="folder for the state and the checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw the pictures")
    parser.add_argument("--scale", type=float, default=1.0, help="times the steps")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options
