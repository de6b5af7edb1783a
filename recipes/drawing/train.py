"""Train picturebook-draw: `python -m recipes.drawing.train --out runs/drawing`.

1. ``autoencoder``  pictures of 64 x 64 pixels as 16 x 16 words of a code book, and back
2. ``drawer``       the decoder learns to say these words after a prompt; the autoencoder stays as it is

The state is saved every hundred seconds; the same command goes on where it was stopped, with the same examples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import JanusForConditionalGeneration, PreTrainedTokenizerFast

from recipes.drawing import autoencoder, drawer, parts
from recipes.learning import Plan, run_stage, training_parser

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
    plans = {name: plan.scaled(options.scale) for name, plan in PLANS.items()}
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
    parser = training_parser("recipes.drawing.train", __doc__, Path("runs/drawing"))
    parser.add_argument("--until", choices=tuple(PLANS), default="drawer")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    parts.export(*train(options), options.out / "picturebook-draw")


if __name__ == "__main__":
    main()
