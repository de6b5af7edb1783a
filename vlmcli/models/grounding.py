"""Detectors that read the labels while they look at the image.

Grounding DINO (arXiv 2303.05499) and MM Grounding DINO (arXiv 2401.02361) read all labels as one text and score every
position of it; OmDet-Turbo (arXiv 2403.06892) reads each by itself, beside a task in words.

Shapes: Q queries, T positions of the text, M labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import ContextOverflow, InputError
from vlmcli.models.features import FeatureStore
from vlmcli.models.seen import Seen, placed, size_of
from vlmcli.models.texts import encoded_whole


class Phrases:
    """All labels are one text, each of them with a full stop."""

    def __init__(self, model: Any, processor: Any, features: FeatureStore | None) -> None:
        self.model = model
        self.processor = processor

    def words(self, image: Image.Image, labels: Sequence[str]) -> Seen:
        """Each query's box; its score is that of the text's best position, its label the one whose own best is highest.

        Raises InputError for a label with a full stop in it, ContextOverflow.
        """
        text, spans = joined(labels)
        encoded = self.processor.tokenizer(
            text, return_token_type_ids=True, return_offsets_mapping=True, return_tensors="pt"
        )
        offsets: list[tuple[int, int]] = encoded.pop("offset_mapping")[0].tolist()
        if len(offsets) > self.model.config.max_text_len:
            raise ContextOverflow(
                f"the labels take {len(offsets)} tokens together, and the model reads {self.model.config.max_text_len}",
                hint="give fewer labels, or shorter ones",
            )
        pixels = placed(self.model, self.processor.image_processor(images=[image], return_tensors="pt"))
        output = self.model(**pixels, **{name: value.to(self.model.device) for name, value in encoded.items()})
        positions = output.logits[0].float().sigmoid()  # [Q, T]
        of_labels = torch.stack([_best(positions, offsets, span) for span in spans], dim=-1)  # [Q, M]
        return Seen(
            output.pred_boxes[0],  # [Q, 4]
            positions.amax(dim=-1),
            of_labels.argmax(dim=-1),
            image.size,
            size_of(pixels["pixel_values"]),
        )


def joined(labels: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """``["A cat", "a dog"]`` -> ``"a cat. a dog."``, and where each label stands in it.

    Raises InputError for a label with a full stop (or a question mark, which this model reads as one) in its middle.
    """
    text, spans = "", []
    for label in labels:
        words = label.strip().rstrip(".? ").lower()
        if not words or "." in words or "?" in words:
            raise InputError(
                f"the label {label[:40]!r} cannot be read: this model takes a full stop for the end of a label",
                "write it without full stops and question marks",
            )
        spans.append((len(text), len(text) + len(words)))
        text += words + ". "
    return text.rstrip(), spans


def _best(positions: Tensor, offsets: Sequence[tuple[int, int]], span: tuple[int, int]) -> Tensor:
    """The best score [Q] of the tokens that lie in a span of the text, from the scores [Q, T] of all of them."""
    own = [t for t, (start, end) in enumerate(offsets) if span[0] <= start < end <= span[1]]
    return positions[:, own].amax(dim=-1) if own else positions.new_full((len(positions),), -1.0)


class Classes:
    """Every label by itself: a score for each pair of a box and a label."""

    def __init__(self, model: Any, processor: Any, features: FeatureStore | None) -> None:
        self.model = model
        self.processor = processor

    def words(self, image: Image.Image, labels: Sequence[str]) -> Seen:
        """The best pairs, as many as there are queries. Raises ContextOverflow."""
        limit = int(self.model.config.text_config.max_position_embeddings)
        task = f"Detect {', '.join(labels)}."  # as transformers' own processor words it
        for text in (*labels, task):
            encoded_whole(self.processor.tokenizer, text, limit, hint="give fewer labels, or shorter ones")
        inputs = self.processor(images=[image], text=[list(labels)], task=[task], return_tensors="pt")
        output = self.model(**placed(self.model, inputs))
        scores = output.decoder_class_logits[0].float().sigmoid()  # [Q, M]
        best = scores.flatten().topk(len(scores))
        return Seen(
            output.decoder_coord_logits[0][best.indices // len(labels)],  # [Q, 4]
            best.values,
            best.indices % len(labels),
            image.size,
            size_of(inputs["pixel_values"]),
        )
