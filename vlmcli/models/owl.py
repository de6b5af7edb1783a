"""OWL-ViT (arXiv 2205.06230) and OWLv2 (arXiv 2306.09683): CLIP whose patches propose a box and meet the texts each.

Shapes: P patches in h rows and w columns, M texts of L positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import NumericalError
from vlmcli.models.features import Encoded, FeatureStore
from vlmcli.models.seen import Seen, placed, size_of
from vlmcli.models.texts import encoded_whole


class Owl:
    """Image and text are encoded apart, so that an image's features can be kept."""

    def __init__(self, model: Any, processor: Any, features: FeatureStore | None) -> None:
        self.model = model
        self.processor = processor
        self.backbone = getattr(model, model.base_model_prefix)
        self._features = features
        # OWLv2 pads an image to a square, at its right or lower side, and its boxes are parts of that square.
        self._pads = bool(getattr(processor.image_processor, "do_pad", False))

    def words(self, image: Image.Image, labels: Sequence[str]) -> Seen:
        """Each patch's box, and the label that fits it best. Raises ContextOverflow."""
        grid, pixels, cached = self._encode(image)
        patches = grid.flatten(1, 2)  # [1, P, D]
        texts, is_text = self._texts(labels)  # [1, M, D], [1, M]
        logits, _ = self.model.class_predictor(patches, texts, is_text)  # [1, P, M]
        best = logits[0].max(dim=-1)
        return self._seen(image, grid, pixels, best.values.sigmoid(), best.indices, cached)

    def example(self, image: Image.Image, example: Image.Image) -> Seen:
        """Each patch's box, and how much it resembles what fills ``example`` best. Raises NumericalError."""
        grid, pixels, cached = self._encode(image)
        shown, _, _ = self._encode(example)
        query, _, _ = self.model.embed_image_query(shown.flatten(1, 2), shown)  # [1, 1, D]
        if query is None:  # its boxes are NaN: whatever follows would be an invention
            raise NumericalError("the model produced NaN or infinite numbers", hint="try --dtype float32")
        logits, _ = self.model.class_predictor(grid.flatten(1, 2), query)  # [1, P, 1]
        scores = logits[0, :, 0].sigmoid()  # [P]
        return self._seen(image, grid, pixels, scores, torch.zeros(len(scores), dtype=torch.long), cached)

    def _seen(
        self, image: Image.Image, grid: Tensor, pixels: Tensor, scores: Tensor, labels: Tensor, cached: bool | None
    ) -> Seen:
        boxes = self.model.box_predictor(grid.flatten(1, 2), grid)[0]  # [P, 4]
        frame = (max(image.size), max(image.size)) if self._pads else image.size
        return Seen(boxes, scores, labels, frame, size_of(pixels), len(scores), cached)

    def _encode(self, image: Image.Image) -> tuple[Tensor, Tensor, bool | None]:
        """An image's features [1, h, w, D], its pixel values, and whether the features were known."""
        pixels = placed(self.model, self.processor.image_processor(images=[image], return_tensors="pt"))
        arguments = {"pixel_values": pixels["pixel_values"]}  # [1, 3, H, W]
        if self._features is None:
            return self._grid(**arguments).pooler_output, arguments["pixel_values"], None
        kept, (known,) = self._features.look_up(self._grid, arguments, (1,))
        return kept.pooler_output, arguments["pixel_values"], known

    def _grid(self, pixel_values: Tensor) -> Any:
        return Encoded({"pooler_output": self.model.image_embedder(pixel_values)[0]})

    def _texts(self, labels: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Labels as unit vectors [1, M, D], and which of them are more than padding [1, M]. Raises ContextOverflow."""
        limit = int(self.model.config.text_config.max_position_embeddings)
        for label in labels:
            encoded_whole(self.processor.tokenizer, label, limit, what="label")
        encoded = self.processor.tokenizer(list(labels), padding="max_length", max_length=limit, return_tensors="pt")
        inputs = {name: encoded[name].to(self.model.device) for name in ("input_ids", "attention_mask")}  # [M, L]
        vectors = self.backbone.get_text_features(**inputs).pooler_output  # [M, D]
        vectors = vectors / torch.linalg.norm(vectors, dim=-1, keepdim=True)
        return vectors[None], (inputs["input_ids"][:, 0] > 0)[None]  # as their own forward tells padding
