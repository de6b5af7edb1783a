"""Train picturebook-draw: `python -m recipes.drawing.train --out runs/drawing`.

1. ``autoencoder``  pictures of 64 x 64 pixels as 16 x 16 words of a code book, and back
2. ``drawer``       the decoder learns to say these words after a prompt; the autoencoder stays as it is

The state is saved every hundred seconds; the same command goes on where it was stopped, with the same examples.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch
from transformers import JanusForConditionalGeneration, PreTrainedTokenizerFast

from recipes.drawing import autoencoder, drawer, parts
from recipes.learning import Plan, run_stage

PLANS = {
    "autoencoder": Plan(2800, 8, 3e-4, warmup=20, decay=0.5),
    "drawer": Plan(1800, 32, 2e-3, warmup=40, decay=0.7),
}
GRIDS = 16_000


def train(options: argparse.Namespace) -> tuple[JanusForConditionalGeneration, PreTrainedTokenizerFast]:
    """Both stages; returns the model and its tokenizer."""
    torch.manual_seed(options.seed)
    tokens = parts.build_tokenizer()
    janus = parts.build_model(tokens)
    plans = {name: replace(plan, steps=max(1, math.ceil(plan.steps * options.scale))) for name, plan in PLANS.items()}
    plan = plans["autoencoder"]
    pictures = autoencoder.Pictures(f"autoencoder-{options.seed}", plan.steps * plan.batch)
    first = autoencoder.AutoencoderStage(janus, options.seed)
    run_stage("autoencoder", first, pictures, autoencoder.collate, plan, options)
    first.settle()
    if options.until == "autoencoder":
        return janus, tokens

    plan = plans["drawer"]
    kept = min(GRIDS, plan.steps * plan.batch)
    grids = drawer.Grids(janus, tokens, kept, plan.steps * plan.batch, options.out / "grids.pt")
    run_stage("drawer", drawer.DrawerStage(janus), grids, drawer.collate, plan, options)
    return janus, tokens


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.drawing.train", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/drawing"), help="folder for states and the checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw the pictures")
    parser.add_argument("--scale", type=float, default=1.0, help="times the steps of both stages")
    parser.add_argument("--until", choices=tuple(PLANS), default="drawer")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    parts.export(*train(options), options.out / "picturebook-draw")


if __name__ == "__main__":
    main()
