"""Image classifiers."""

from __future__ import annotations

from pathlib import Path

import transformers as hf

from tests.tiny.parts import ENCODER, save, square


def vit(folder: Path) -> Path:
    """A classifier of five classes, three of which have a name."""
    config = hf.ViTConfig(**ENCODER, image_size=32, patch_size=8, num_labels=5)
    config.id2label = {0: "tench", 1: "goldfish", 2: "great white shark", 3: "LABEL_3", 4: "LABEL_4"}
    return save(folder, hf.ViTForImageClassification(config), square(hf.ViTImageProcessor))


def convnext(folder: Path) -> Path:
    """A classifier without a token in it."""
    config = hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, patch_size=4, num_labels=7)
    processor = hf.ConvNextImageProcessor(size={"shortest_edge": 32})
    return save(folder, hf.ConvNextForImageClassification(config), processor)


def dinov2(folder: Path) -> Path:
    """A linear layer over the class token and the mean of the patches."""
    config = hf.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14, num_labels=6
    )
    processor = hf.BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    return save(folder, hf.Dinov2ForImageClassification(config), processor)
