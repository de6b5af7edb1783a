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
from transformers.modeling_outputs import CausalLMOutputWithPast

from vlmcli.catalog import Fusion
from vlmcli.models.encoder import Encoder, Patches
from vlmcli.models.fusion import CrossAttention, Memory, Seen, splice


@dataclass(frozen=True)
class Config:
    """What others read of a configuration, under transformers' names; no slot's id where nothing is spliced."""

    vision_config: Any
    text_config: Any
    image_token_id: int | None
    fusion: Fusion
    model_type: str = "composition"

    def get_text_config(self) -> Any:
        """The decoder's configuration."""
        return self.text_config


@dataclass
class Cache:
    """What a conversation has behind it: the decoder's own cache, and the pictures for its cross-attention."""

    decoder: Any
    memory: Memory | None
    length: int


class Composition(nn.Module):
    """The parts joined by a fusion.

    Args:
        vision: crops [N, 3, H, W] -> features [N, P, D].
        projector: features [N, P, D] -> embeddings [N, p, E].
        decoder: a causal language model of transformers.
        fusion: ``concat``, ``cross-attention`` or ``hybrid``.
        cross_attention: the gated layers; None for ``concat``.
        image_token_id: the id of a slot, which the decoder need not know; None where nothing is spliced.
        random: which of ``projector`` and ``cross_attention`` have not been trained.
    """

    def __init__(
        self,
        vision: Encoder | Patches,
        projector: nn.Module,
        decoder: Any,
        fusion: Fusion,
        cross_attention: CrossAttention | None,
        image_token_id: int | None,
        random: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.vision, self.projector, self.decoder, self.cross_attention = vision, projector, decoder, cross_attention
        self.fusion, self.random = fusion, random
        self.config = Config(getattr(vision, "config", None), decoder.config, image_token_id, fusion)

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
        """Leave ``vision``, ``projector``, ``decoder`` or ``cross_attention`` as they are when training."""
        for name in parts:
            getattr(self, name).requires_grad_(False)

    def get_image_features(self, pixel_values: Tensor, crops: Tensor, return_dict: bool = True) -> Seen:
        """Encode and project.

        Args:
            pixel_values: the crops of all images [N, 3, H, W], each image's thumbnail first.
            crops: int64 [I], how many of them each image has.
        """
        embeddings = self.projector(self.vision(pixel_values))  # [N, p, E]
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
        position_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        crops: Tensor | None = None,
        owners: Tensor | None = None,
        starts: Tensor | None = None,
        mm_encoder_outputs: Mapping[str, Seen] | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
        return_dict: bool = True,
    ) -> CausalLMOutputWithPast:
        """Read ids [B, T] with the pictures in them.

        ``crops``, ``owners`` and ``starts`` [I] are what the processor says of each image; ``mm_encoder_outputs`` takes
        pictures that ``get_image_features`` has encoded before.
        """
        seen = mm_encoder_outputs["image"] if mm_encoder_outputs else None
        if seen is None and pixel_values is not None and crops is not None:
            seen = self.get_image_features(pixel_values, crops)
        past = past_key_values or Cache(None, self._remember(seen, owners, starts), 0)
        with self._reading(past, *input_ids.shape):
            output = self.decoder(
                inputs_embeds=self._embed(input_ids, seen),
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past.decoder,
                labels=labels,
                use_cache=use_cache,
                logits_to_keep=logits_to_keep,
            )
        cache = Cache(output.past_key_values, past.memory, past.length + input_ids.shape[1])
        return CausalLMOutputWithPast(output.loss, output.logits, cache)

    # What transformers' generate asks of a model from step to step; positions and masks are the decoder's affair.

    def prepare_inputs_for_generation(
        self, ids: Tensor, next_sequence_length: int | None = None, **carried: Any
    ) -> dict[str, Any]:
        """``forward``'s arguments: the whole prompt with its pictures, or the last ``next_sequence_length`` ids."""
        carried.pop("is_first_iteration", None)
        if next_sequence_length is None:
            return {"input_ids": ids, **carried}
        kept = ("attention_mask", "past_key_values", "use_cache")
        positions = carried.get("position_ids")
        return {
            "input_ids": ids[:, -next_sequence_length:],
            "position_ids": None if positions is None else positions[:, -next_sequence_length:],
            **{name: carried[name] for name in kept if name in carried},
        }

    def _prepare_position_ids_for_generation(self, ids: Tensor, carried: dict[str, Any]) -> Any:
        return self.decoder._prepare_position_ids_for_generation(ids, carried)

    def _update_model_kwargs_for_generation(self, output: Any, carried: dict[str, Any], *_: Any) -> Any:
        return self.decoder._update_model_kwargs_for_generation(output, carried, is_encoder_decoder=False)

    def _embed(self, ids: Tensor, seen: Seen | None) -> Tensor:
        """Ids [B, T] -> [B, T, E]; the id of a slot, which the decoder may not know, is never looked up."""
        embed = self.decoder.get_input_embeddings()
        if self.config.image_token_id is None or seen is None:
            return embed(ids)  # type: ignore[no-any-return]
        slots = ids == self.config.image_token_id  # [B, T]
        return splice(embed(ids.masked_fill(slots, 0)), slots, seen.pooler_output)

    def _remember(self, seen: Seen | None, owners: Tensor | None, starts: Tensor | None) -> Memory | None:
        if self.cross_attention is None or seen is None or not seen.memory:
            return None
        nowhere = torch.zeros(len(seen.memory), dtype=torch.long, device=self.device)  # [I]
        return self.cross_attention.remember(
            seen.memory, nowhere if owners is None else owners, nowhere if starts is None else starts
        )

    def _reading(self, past: Cache, prompts: int, length: int) -> AbstractContextManager[None]:
        if self.cross_attention is None or past.memory is None:
            return nullcontext()
        visible = past.memory.visible(prompts, past.length, length)
        return self.cross_attention.reading(self.decoder.get_decoder().layers, past.memory, visible)
