"""Conversations side by side, of which some are over: they leave, and the others go on.

Shapes: B conversations, T positions, K of the B that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlmcli.models.device import memory_guard
from vlmcli.models.prompts import State

# Tensors with a row for each conversation; position_ids has one too, behind the three or four kinds of Qwen-VL's rope.
_BY_ROW = (
    "attention_mask", "cross_attention_mask", "mm_token_type_ids", "token_type_ids",
    "image_attention_mask", "image_hidden_states", "pixel_values",  # what Idefics takes at every step
)  # fmt: skip


def keep_rows(state: State, rows: Sequence[int]) -> None:
    """Leave the conversations ``rows`` [K] of a batch [B] in it, in this order. Raises OutOfMemory."""
    chosen = torch.tensor(list(rows), device=state.ids.device)  # [K]
    with memory_guard("copying the cache"), torch.inference_mode():
        batch = state.ids.shape[0]
        state.ids, state.logits = state.ids[chosen], state.logits[chosen]  # [K, T], [K, V]
        for name in _BY_ROW:
            value = state.carried.get(name)
            if isinstance(value, Tensor) and len(value) == batch:
                state.carried[name] = value[chosen]  # [K, ...]
        positions = state.carried.get("position_ids")
        if isinstance(positions, Tensor):
            state.carried["position_ids"] = positions.index_select(positions.dim() - 2, chosen)  # [..., K, T]
        state.offsets = [_offset(offset, batch, chosen) for offset in state.offsets]
        # Beam search's verb takes fewer rows, too, and unlike batch_select_indices recurrent layers have it.
        state.carried["past_key_values"].reorder_cache(chosen)


def _offset(value: Any, batch: int, chosen: Tensor) -> Any:
    """Rope offsets [B, 1]; one that holds for all of them, or None, stays as it is."""
    by_row = isinstance(value, Tensor) and value.dim() > 0 and len(value) == batch
    return value[chosen] if by_row else value
