"""Open-vocabulary detectors: boxes around what words name, or around what looks like an example.

A family reads an image in one of three ways (``vlmcli.models.owl``, ``vlmcli.models.grounding``); what they find is
told in one: boxes in pixels of the upright image, a score and a label for each.

Shapes: N candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import ModelError, NumericalError, UsageError
from vlmcli.models.boxes import corners
from vlmcli.models.device import memory_guard
from vlmcli.models.features import FeatureStore
from vlmcli.models.grounding import Classes, Phrases
from vlmcli.models.owl import Owl
from vlmcli.models.seen import Seen
from vlmcli.types.result import ModelInfo


@dataclass(frozen=True)
class Habits:
    """What a family's candidates need before they are shown, as transformers' own post-processing has it.

    ``threshold``: what a score has to exceed. ``nms``: the overlap beyond which one of two boxes goes; None for any.
    ``clips``: whether boxes end at the image's edges.
    """

    threshold: float
    nms: float | None = None
    clips: bool = False


@dataclass(frozen=True)
class Candidates:
    """All that a model proposes for one image, on the CPU: boxes [N, 4] in its pixels, scores [N], labels [N].

    ``labels`` count the labels that were asked for. ``resized`` is the image's size (width, height) as the encoder saw
    it, ``tokens`` the positions it had there, ``cached`` whether its features were known; None where none are kept.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    habits: Habits
    resized: tuple[int, int]
    tokens: int = 0
    cached: bool | None = None


# By config.json's model_type.
_READERS: dict[str, tuple[type[Owl | Phrases | Classes], Habits]] = {
    "owlvit": (Owl, Habits(0.1)),
    "owlv2": (Owl, Habits(0.1)),
    "grounding-dino": (Phrases, Habits(0.25)),
    "mm-grounding-dino": (Phrases, Habits(0.25)),
    "omdet-turbo": (Classes, Habits(0.3, nms=0.5, clips=True)),
}
# Of boxes that resemble an example most are near-copies of each other, and all of them score.
_BY_EXAMPLE = Habits(0.6, nms=0.3)


class Detector:
    """A model that puts boxes around what words name.

    ``features`` keeps what the encoder made of an image, where the family can go on from there.
    """

    def __init__(self, model: Any, processor: Any, info: ModelInfo, features: FeatureStore | None = None) -> None:
        if model.config.model_type not in _READERS:
            raise ModelError(f"{info.id} is a detector of a type that vlm does not know: {model.config.model_type!r}")
        reader, self._habits = _READERS[model.config.model_type]
        self.model = model
        self.processor = processor
        self.info = info
        self._reader = reader(model, processor, features)

    def detect(self, image: Image.Image, labels: Sequence[str]) -> Candidates:
        """An upright RGB image and at least one label -> everything that the model proposes.

        Raises ContextOverflow for labels that are too long, InputError for one that the family cannot read,
        NumericalError, OutOfMemory.
        """
        with memory_guard("looking for things in an image"), torch.inference_mode():
            return self._candidates(self._reader.words(image, labels), self._habits)

    def detect_like(self, image: Image.Image, example: Image.Image) -> Candidates:
        """What resembles the largest thing in another image; its label is number 0.

        Raises UsageError for a family that reads words only, NumericalError, OutOfMemory.
        """
        if not isinstance(self._reader, Owl):
            raise UsageError(
                f"{self.info.id} looks for words only, not for what an image shows",
                "--query-image needs OWL-ViT or OWLv2, such as -m owlv2-base",
            )
        with memory_guard("looking for things in an image"), torch.inference_mode():
            return self._candidates(self._reader.example(image, example), _BY_EXAMPLE)

    def _candidates(self, seen: Seen, habits: Habits) -> Candidates:
        boxes = corners(seen.boxes.float().cpu()) * torch.tensor((*seen.frame, *seen.frame))  # [N, 4]
        scores = seen.scores.float().cpu()  # [N]
        if not (torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
            raise NumericalError("the model produced NaN or infinite numbers", hint="try --dtype float32")
        return Candidates(boxes, scores, seen.labels.cpu(), habits, seen.resized, seen.tokens, seen.cached)
