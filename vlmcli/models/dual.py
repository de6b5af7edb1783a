"""Dual encoders: an image and a text meet in a dot product (CLIP, 2021; SigLIP, 2023; SigLIP 2, 2025).

Each item is prepared on its own, then encoded together with others: a batch holds what the encoder takes of its images,
and no longer the images.

Shapes: N images, M texts, L text positions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import ModelError, NumericalError
from vlmcli.models.device import memory_guard
from vlmcli.models.texts import encoded_whole
from vlmcli.types.result import ModelInfo

PreparedImage = Mapping[str, Tensor]
"""What the image encoder takes: ``pixel_values`` [1, ...], and beside it what the family needs."""
PreparedText = Mapping[str, list[int]]
"""What the text encoder takes, before it is padded: ``input_ids`` [L], and what the tokenizer says beside them."""


@dataclass(frozen=True)
class Embedded:
    """One image or text: its unit vector [D], the tokens that its encoder read, and an image's size as it saw it."""

    vector: Tensor
    tokens: int
    resized: tuple[int, int] | None = None


class Dual:
    """An image encoder and a text encoder with one space between them."""

    def __init__(self, model: Any, processor: Any, info: ModelInfo) -> None:
        needed = ("get_image_features", "get_text_features", "logit_scale")
        if not all(hasattr(model, name) for name in needed):
            raise ModelError(f"{info.id} is neither of CLIP's shape nor of SigLIP's: it cannot score labels")
        self.model = model
        self.processor = processor
        self.info = info
        self.tokenizer = processor.tokenizer
        # A learned bias is what a sigmoid loss needs and a softmax loss cannot use: it tells the two trainings apart.
        self.is_sigmoid = hasattr(model, "logit_bias")

    def prepare_image(self, image: Image.Image) -> PreparedImage:
        """An upright RGB image -> what ``embed_images`` takes."""
        return dict(self.processor.image_processor(images=[image], return_tensors="pt"))

    def prepare_text(self, text: str) -> PreparedText:
        """A text -> what ``embed_texts`` takes. Raises ContextOverflow for a text that would be cut off."""
        return dict(encoded_whole(self.tokenizer, text, self._text_limit))

    def embed_images(self, images: Sequence[PreparedImage]) -> list[Embedded]:
        """Prepared images -> unit vectors, in one forward. Raises NumericalError, OutOfMemory."""
        batch = {name: torch.cat([image[name] for image in images]) for name in images[0]}  # [N, ...]
        with memory_guard("encoding images"), torch.inference_mode():
            output = self.model.get_image_features(**self._place(batch))
            vectors = _unit(output.pooler_output)  # [N, D]
        pixels, mask = batch["pixel_values"], batch.get("pixel_attention_mask")
        resized = (pixels.shape[-1], pixels.shape[-2]) if pixels.dim() == 4 else None
        positions = output.last_hidden_state.shape[1]
        tokens = [positions] * len(images) if mask is None else mask.sum(dim=-1).tolist()  # [N]
        return [Embedded(vector, int(count), resized) for vector, count in zip(vectors, tokens, strict=True)]

    def embed_texts(self, texts: Sequence[PreparedText]) -> list[Embedded]:
        """Prepared texts -> unit vectors, in one forward. Raises NumericalError, OutOfMemory."""
        # SigLIP was trained on texts padded to the full length: without that its scores are wrong, silently.
        padding = {"padding": "max_length", "max_length": self._text_limit} if self.is_sigmoid else {"padding": True}
        batch = self.tokenizer.pad(list(texts), return_tensors="pt", **padding)  # [M, L]
        with memory_guard("encoding texts"), torch.inference_mode():
            vectors = _unit(self.model.get_text_features(**self._place(batch)).pooler_output)  # [M, D]
        return [Embedded(vector, len(text["input_ids"])) for vector, text in zip(vectors, texts, strict=True)]

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors [N, D] and [M, D] -> raw logits [N, M] in float32. Raises NumericalError."""
        with torch.inference_mode():
            logits = images.to(texts) @ texts.t() * self.model.logit_scale.exp()  # [N, M]
            if self.is_sigmoid:
                logits = logits + self.model.logit_bias
        _check_finite(logits)
        scores: Tensor = logits.float()
        return scores

    @property
    def _text_limit(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)

    def _place(self, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        device, dtype = self.model.device, self.model.dtype
        return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}


def _unit(vectors: Tensor) -> Tensor:
    """Vectors [N, D] at length 1, in their own dtype."""
    _check_finite(vectors)
    return torch.nn.functional.normalize(vectors, dim=-1)


def _check_finite(numbers: Tensor) -> None:
    if not torch.isfinite(numbers).all():
        raise NumericalError("the model produced NaN or infinite numbers", hint="try --dtype float32")
