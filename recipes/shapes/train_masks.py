"""Train the embedded segmenter: `python -m recipes.shapes.train_masks`.

The state is saved every two minutes; the same command goes on where it was stopped, with the same examples.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import SamProcessor

from recipes.learning import Plan, run_stage, training_parser
from recipes.shapes.segmenter import MaskExamples, MaskStage, collate, image_processor

PLAN = Plan(2500, 12, 2e-3, warmup=100, decay=0.6)


def main() -> None:
    options = training_parser("recipes.shapes.train_masks", __doc__, Path("runs/shapes")).parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    stage = MaskStage()
    plan = PLAN.scaled(options.scale)
    run_stage("masks", stage, MaskExamples(options.seed, plan.steps * plan.batch), collate, plan, options)
    folder = options.out / "picturebook-masks"
    stage.model.to("cpu", torch.float16).save_pretrained(folder)
    SamProcessor(image_processor()).save_pretrained(folder)


if __name__ == "__main__":
    main()
