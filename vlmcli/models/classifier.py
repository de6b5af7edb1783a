"""Image classifiers: an encoder and a head with one output a class (ViT, 2020; DINOv2, 2023; and every other family).

Shapes: C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import NumericalError
from vlmcli.models.device import memory_guard
from vlmcli.types.result import ModelInfo

Scoring = Literal["softmax", "sigmoid"]

# ``problem_type`` of the configuration, as transformers' own pipeline reads it.
_SCORING: dict[str | None, Scoring | None] = {"multi_label_classification": "sigmoid", "regression": None}


@dataclass(frozen=True)
class Classified:
    """One image: its logits [C] in float32 on the CPU, and its size (width, height) as the encoder saw it."""

    logits: Tensor
    resized: tuple[int, int] | None


class Classifier:
    """A model with labels of its own.

    ``labels`` are those of its configuration by number, ``LABEL_0`` ... where it names none. ``scoring`` is what turns
    logits into probabilities: a softmax where an image is of one class, a sigmoid where it may be of several (or where
    there is one class only), nothing for a regression.
    """

    def __init__(self, model: Any, processor: Any, info: ModelInfo) -> None:
        self.model = model
        self.processor = processor
        self.info = info
        names, count = model.config.id2label, model.config.num_labels
        self.labels = tuple(str(names.get(number, f"LABEL_{number}")) for number in range(count))
        self.scoring = _SCORING.get(model.config.problem_type, "sigmoid" if count == 1 else "softmax")

    def classify(self, image: Image.Image) -> Classified:
        """An upright RGB image -> the logits of all classes. Raises NumericalError, OutOfMemory."""
        inputs = self.processor(images=[image], return_tensors="pt")
        device, dtype = self.model.device, self.model.dtype
        placed = {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}
        with memory_guard("encoding an image"), torch.inference_mode():
            logits = self.model(**placed).logits[0].float().cpu()  # [C]
        if not torch.isfinite(logits).all():
            raise NumericalError("the model produced NaN or infinite logits", hint="try --dtype float32")
        pixels = inputs.get("pixel_values")
        resized = (pixels.shape[-1], pixels.shape[-2]) if pixels is not None and pixels.dim() == 4 else None
        return Classified(logits, resized)
