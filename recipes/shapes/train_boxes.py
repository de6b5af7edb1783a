"""Train the embedded detector: `python -m recipes.shapes.train_boxes`.

The state is saved every two minutes; the same command goes on where it was stopped, with the same examples.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import OwlViTProcessor

from recipes.learning import Plan, run_stage, training_parser
from recipes.shapes import words
from recipes.shapes.detector import (
    BoxExamples,
    BoxStage,
    collate,
    first_pictures,
    image_processor,
    see_like_picturebook,
)

PLAN = Plan(1300, 40, 1e-3, warmup=30, decay=0.85)


def main() -> None:
    options = training_parser("recipes.shapes.train_boxes", __doc__, Path("runs/shapes")).parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    tokens = words.load_or_build(options.out / "words")
    stage = BoxStage(tokens)
    see_like_picturebook(stage.model, first_pictures())
    plan = PLAN.scaled(options.scale)
    run_stage("boxes", stage, BoxExamples(options.seed, plan.steps * plan.batch), collate, plan, options)
    folder = options.out / "picturebook-boxes"
    stage.model.to("cpu", torch.float16).save_pretrained(folder)
    OwlViTProcessor(image_processor(), tokens).save_pretrained(folder)


if __name__ == "__main__":
    main()
