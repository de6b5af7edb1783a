"""A conversation that is not read twice: a prompt that begins like the one before keeps what its beginning made.

Shapes: T positions of a prompt, S of them shared with the prompt before, V vocabulary.

The keys and values of a position depend on nothing behind it, so that those of a shared beginning are those of a fresh
reading, up to rounding. Where that does not hold, or is not known to, the prompt is read from its first position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from vlmcli.models.device import memory_guard
from vlmcli.models.prompts import Inputs, State
from vlmcli.models.vlm import Vlm

# Below it a fresh reading is as quick.
LEAST_SHARED = 16

# What a prompt may hand to the decoder. Others change the meaning of positions or masks: token types let Gemma 3 and
# PaliGemma look ahead, a grid gives Qwen-VL positions of its own, a mask of images belongs to cross-attention.
_PLAIN = frozenset(
    {"attention_mask", "image_sizes", "input_ids", "mm_encoder_outputs", "pixel_attention_mask", "pixel_values"}
)

# Rope whose frequencies depend on how long the text has become.
_LENGTH_DEPENDENT = ("dynamic", "longrope")


@dataclass(frozen=True)
class _Read:
    """What was read last; ``features`` are its images' [.., D], None without images."""

    state: State
    features: list[Tensor] | None


class Conversation:
    """A model as the decoding loop sees it (``engine.decode.Decoder``) that remembers the last prompt and answer."""

    def __init__(self, vlm: Vlm) -> None:
        self._vlm = vlm
        self.vocabulary, self.eos_ids, self.device, self.context = vlm.vocabulary, vlm.eos_ids, vlm.device, vlm.context
        self._last: _Read | None = None
        self._plain = not vlm._holders and vlm._decoder is vlm.model and not _length_dependent(vlm.model.config)
        self.shared = 0
        """Positions of the prompt that was read last which the one before had made."""

    def prefill(self, inputs: Inputs) -> State:
        """Read a prompt, or what is new in it: the cache, and the logits [V] of the first token of the answer."""
        inputs = self._vlm.encode(inputs)
        if self._last is not None:
            self._vlm.steps.give_back(self._last.state)
        features = _features(inputs.tensors)
        self.shared = self._shared(inputs, features)
        if self.shared >= LEAST_SHARED:
            assert self._last is not None
            state = _resumed(self._last.state, self.shared)
            self._extend(state, inputs.ids[self.shared :])
        else:
            self.shared, state = 0, self._vlm.prefill(inputs)
        self._last = _Read(state, features) if self._can_resume(inputs, state) else None
        return state

    def step(self, state: State, token_id: int) -> Tensor:
        """Append one token: the logits [V] of the next."""
        return self._vlm.step(state, token_id)

    def _extend(self, state: State, token_ids: Sequence[int]) -> None:
        """Read tokens [N] behind the T positions of a conversation, as ``Vlm.step`` reads one."""
        vlm = self._vlm
        new = torch.tensor([list(token_ids)], device=vlm.device)  # [1, N]
        state.ids = torch.cat([state.ids, new], dim=1)  # [1, T + N]
        if "position_ids" in state.carried:
            state.carried["position_ids"] = torch.arange(state.length, device=vlm.device)[None]  # [1, T + N]
        with vlm._work("reading the prompt"):
            arguments = vlm.model.prepare_inputs_for_generation(
                state.ids, next_sequence_length=len(token_ids), **state.carried
            )
            output = vlm.model(**arguments, return_dict=True)
        vlm._advance(state, output)
        vlm.steps.prefilled(state, sees=vlm.sees)
        state.logits = state.logits[0]  # [V]

    def _shared(self, inputs: Inputs, features: list[Tensor] | None) -> int:
        """How many positions can be taken over; at least one is always read, for its logits."""
        last = self._last
        cache = last.state.carried.get("past_key_values") if last else None
        if last is None or cache is None or not _PLAIN.issuperset(inputs.tensors) or not _same(last.features, features):
            return 0
        before = last.state.ids[0, : cache.get_seq_length()].tolist()
        equal = 0
        for old, new in zip(before, inputs.ids[:-1], strict=False):
            if old != new:
                break
            equal += 1
        return 0 if any(inputs.is_image[equal:]) else equal

    def _can_resume(self, inputs: Inputs, state: State) -> bool:
        """Whether the beginning of what was read can be taken out of the cache."""
        cache: Any = state.carried.get("past_key_values")
        mask = inputs.tensors.get("attention_mask")
        return (
            self._plain
            and _PLAIN.issuperset(inputs.tensors)
            and inputs.tensors.get("pixel_values") is None
            and (mask is None or bool(mask.all()))
            and type(cache) is DynamicCache
            and all(type(layer) is DynamicLayer for layer in cache.layers)
            and cache.get_seq_length() == state.length
        )


def _resumed(state: State, length: int) -> State:
    """A conversation that has read the first ``length`` positions of another one, which goes on as it was."""
    cache = DynamicCache()
    with memory_guard("copying the cache"), torch.inference_mode():
        for index, layer in enumerate(state.carried["past_key_values"].layers):
            cache.update(layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone(), index)
    carried = {**state.carried, "past_key_values": cache, "attention_mask": None}
    return State(torch.empty(0), state.ids[:, :length], carried, list(state.offsets))


def _features(tensors: Mapping[str, Any]) -> list[Tensor] | None:
    """The features of a prompt's images."""
    encoded = tensors.get("mm_encoder_outputs")
    if encoded is None:
        return None
    output = encoded["image"]
    features = output.pooler_output if output.pooler_output is not None else output.last_hidden_state
    return list(features) if isinstance(features, (list, tuple)) else [features]


def _same(one: list[Tensor] | None, other: list[Tensor] | None) -> bool:
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _length_dependent(config: Any) -> bool:
    """Whether the rope of any layer is of a kind that changes with the length."""
    rope = getattr(config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rope.get("rope_type"), *(v.get("rope_type") for v in rope.values() if isinstance(v, dict))]
    return any(kind in _LENGTH_DEPENDENT for kind in kinds)
