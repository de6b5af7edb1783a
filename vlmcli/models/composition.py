"""A vision encoder, a projector and a decoder, each from its own source, as one model.

It answers to what ``models.vlm.Vlm`` asks of a transformers model, so that everything above treats both alike.
Shapes: N crops, I images, P patches of a crop, B prompts, T positions, E width of the decoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmcli.catalog import Fusion
from vlmcli.models.encoder import Encoder, Patches
from vlmcli.models.fusion import CrossAttention, Memory, Seen, splice


@dataclass(frozen=True)
class Config:
    """What of a configuration others read: the decoder's own, and the slot's id (None where nothing is spliced)."""

    decoder: Any
    image_token_id: int | None

    def get_text_config(self) -> Any:
        """The decoder's configuration, under transformers' name for it."""
        return self.decoder


@dataclass
class Cache:
    """What a conversation has behind it: the decoder's own cache, and the pictures for its cross-attention."""

    decoder: Any
    memory: Memory | None
    length: int


@dataclass
class Output:
    """Logits [B, T or fewer, V], and the cache; ``loss`` where labels were given."""

    logits: Tensor
    past_key_values: Cache
    loss: Tensor | None = None


class Composition(nn.Module):
    """The parts joined by a fusion.

    Args:
        encoder: crops [N, 3, H, W] -> features [N, P, D].
        projector: features [N, P, D] -> embeddings [N, p, E].
        decoder: a causal language model of transformers.
        fusion: ``concat``, ``cross-attention`` or ``hybrid``.
        cross: the gated layers; None for ``concat``.
        image_token_id: the id of a slot, which the decoder need not know; None where nothing is spliced.
        random: which of ``projector`` and ``cross`` have not been trained.
    """

    def __init__(
        self,
        encoder: Encoder | Patches,
        projector: nn.Module,
        decoder: Any,
        fusion: Fusion,
        cross: CrossAttention | None,
        image_token_id: int | None,
        random: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.encoder, self.projector, self.decoder, self.cross = encoder, projector, decoder, cross
        self.fusion, self.random = fusion, random
        self.config = Config(decoder.config, image_token_id)

    @property
    def device(self) -> torch.device:
        """Where the decoder lies."""
        return self.decoder.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The decoder's numbers."""
        return self.decoder.dtype  # type: ignore[no-any-return]

    @property
    def generation_config(self) -> Any:
        """The decoder's: where its answers end."""
        return self.decoder.generation_config

    @property
    def base_model(self) -> Composition:
        """transformers' name for the model without its head; the features are computed here."""
        return self

    def get_output_embeddings(self) -> Any:
        """The decoder's head."""
        return self.decoder.get_output_embeddings()

    def freeze(self, parts: Iterable[str]) -> None:
        """Leave ``encoder``, ``projector``, ``decoder`` or ``cross`` as they are when training."""
        for name in parts:
            getattr(self, name).requires_grad_(False)

    def get_image_features(self, pixel_values: Tensor, crops: Tensor, return_dict: bool = True) -> Seen:
        """Encode and project.

        Args:
            pixel_values: the crops of all images [N, 3, H, W], each image's thumbnail first.
            crops: int64 [I], how many of them each image has.
        """
        embeddings = self.projector(self.encoder(pixel_values))  # [N, p, E]
        images = embeddings.split(crops.tolist())
        if self.fusion == "concat":
            return Seen([image.flatten(0, 1) for image in images], [])
        if self.fusion == "cross-attention":
            return Seen([], [image.flatten(0, 1) for image in images])
        # A picture that was not cut has no tile besides itself: then it goes both ways.
        tiles = [image[1:] if len(image) > 1 else image for image in images]
        return Seen([image[0] for image in images], [image.flatten(0, 1) for image in tiles])

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        crops: Tensor | None = None,
        starts: Tensor | None = None,
        mm_encoder_outputs: Mapping[str, Seen] | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
    ) -> Output:
        """Read ids [B, T] with the pictures in them.

        ``crops`` [I] says how many crops each image has, ``starts`` [I] from which position on it can be looked at;
        ``mm_encoder_outputs`` takes pictures that ``get_image_features`` has encoded before.
        """
        seen = mm_encoder_outputs["image"] if mm_encoder_outputs else None
        if seen is None and pixel_values is not None and crops is not None:
            seen = self.get_image_features(pixel_values, crops)
        past = past_key_values.length if past_key_values else 0
        memory = past_key_values.memory if past_key_values else self._remember(seen, starts)
        with self._reading(memory, past, input_ids.shape[1]):
            output = self.decoder(
                inputs_embeds=self._embed(input_ids, seen),
                attention_mask=attention_mask,
                past_key_values=past_key_values.decoder if past_key_values else None,
                labels=labels,
                use_cache=use_cache,
                logits_to_keep=logits_to_keep,
            )
        cache = Cache(output.past_key_values, memory, past + input_ids.shape[1])
        return Output(output.logits, cache, output.loss)

    def _embed(self, ids: Tensor, seen: Seen | None) -> Tensor:
        """Ids [B, T] -> [B, T, E]; the id of a slot, which the decoder may not know, is never looked up."""
        embed = self.decoder.get_input_embeddings()
        if self.config.image_token_id is None or seen is None:
            return embed(ids)  # type: ignore[no-any-return]
        slots = ids == self.config.image_token_id  # [B, T]
        return splice(embed(ids.masked_fill(slots, 0)), slots, seen.pooler_output)

    def _remember(self, seen: Seen | None, starts: Tensor | None) -> Memory | None:
        if self.cross is None or seen is None or not seen.memory:
            return None
        return self.cross.remember(seen.memory, [0] * len(seen.memory) if starts is None else starts.tolist())

    def _reading(self, memory: Memory | None, start: int, length: int) -> AbstractContextManager[None]:
        if self.cross is None:
            return nullcontext()
        return self.cross.reading(self.decoder.get_decoder().layers, memory, start, length)
