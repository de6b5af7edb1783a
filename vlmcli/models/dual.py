"""Dual encoders: an image and a text meet in a dot product (CLIP, 2021; SigLIP, 2023; SigLIP 2, 2025).

Shapes: N images, M texts, L text positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmcli.errors import ContextOverflow, ModelError, NumericalError
from vlmcli.models.device import memory_guard
from vlmcli.types import ModelInfo

# Texts that go through the text encoder together.
_TEXT_BATCH = 32


@dataclass(frozen=True)
class Embedded:
    """One image: its unit vector [1, D], and what the processor made of it."""

    vector: Tensor
    resized: tuple[int, int] | None
    tokens: int


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

    def embed_image(self, image: Image.Image) -> Embedded:
        """An upright RGB image -> its unit vector [1, D]."""
        inputs = self._place(self.processor.image_processor(images=[image], return_tensors="pt"))
        with memory_guard("encoding an image"), torch.inference_mode():
            output = self.model.get_image_features(**inputs)
            vector = _unit(output.pooler_output)  # [1, D]
        pixels, mask = inputs["pixel_values"], inputs.get("pixel_attention_mask")
        resized = (pixels.shape[-1], pixels.shape[-2]) if pixels.dim() == 4 else None
        tokens = int(mask.sum()) if mask is not None else output.last_hidden_state.shape[1]
        return Embedded(vector, resized, tokens)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [M, D]. Raises ContextOverflow for a text that would be cut off."""
        self._check_lengths(texts)
        batches = [texts[start : start + _TEXT_BATCH] for start in range(0, len(texts), _TEXT_BATCH)]
        return torch.cat([self._embed_batch(batch) for batch in batches])

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts together, padding left out."""
        return sum(len(self.tokenizer(text)["input_ids"]) for text in texts)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors [N, D] and [M, D] -> raw logits [N, M] in float32. Raises NumericalError."""
        with torch.inference_mode():
            logits = images @ texts.t() * self.model.logit_scale.exp()  # [N, M]
            if self.is_sigmoid:
                logits = logits + self.model.logit_bias
        if not torch.isfinite(logits).all():
            raise NumericalError("the model produced NaN or infinite logits", hint="try --dtype float32")
        scores: Tensor = logits.float()
        return scores

    def _embed_batch(self, texts: Sequence[str]) -> Tensor:
        # SigLIP was trained on texts padded to the full length: without that its scores are wrong, silently.
        padding = {"padding": "max_length", "max_length": self._text_limit} if self.is_sigmoid else {"padding": True}
        inputs = self._place(self.tokenizer(list(texts), return_tensors="pt", **padding))  # [M, L]
        with memory_guard("encoding the labels"), torch.inference_mode():
            return _unit(self.model.get_text_features(**inputs).pooler_output)  # [M, D]

    @property
    def _text_limit(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)

    def _check_lengths(self, texts: Sequence[str]) -> None:
        for text in texts:
            length = len(self.tokenizer(text)["input_ids"])
            if length > self._text_limit:
                raise ContextOverflow(
                    f"the label {text[:40]!r} takes {length} tokens, and the model reads {self._text_limit}",
                    hint="shorten the label",
                )

    def _place(self, inputs: Any) -> dict[str, Any]:
        device, dtype = self.model.device, self.model.dtype
        return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)
