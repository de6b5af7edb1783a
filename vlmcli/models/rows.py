"""Conversations side by side, of which some are over: they leave, and the others go on.

Shapes: B conversations, T positions, K of the B that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlmcli.models.device import memory_guard
from vlmcli.models.vlm import State

# Tensors with a row for each conversation; position_ids has one too, behind the three or four kinds of Qwen-VL's rope.
_BY_ROW = ("attention_mask", "cross_attention_mask", "mm_token_type_ids", "token_type_ids")


def keep_rows(state: State, rows: Sequence[int]) -> None:
    """Leave the conversations ``rows`` [K] of a batch [B] in it, in this order. Raises OutOfMemory."""
    chosen = torch.tensor(list(rows), device=state.ids.device)  # [K]
    with memory_guard("copying the cache"), torch.inference_mode():
        batch = state.ids.shape[0]
        state.ids, state.logits = state.ids[chosen], state.logits[chosen]  # [K, T], [K, V]
        for name in _BY_ROW:
            if isinstance(state.carried.get(name), Tensor):
                state.carried[name] = state.carried[name][chosen]  # [K, ...]
        positions = state.carried.get("position_ids")
        if isinstance(positions, Tensor):
            state.carried["position_ids"] = positions.index_select(positions.dim() - 2, chosen)  # [..., K, T]
        state.offsets = [_offset(offset, batch, chosen) for offset in state.offsets]
        state.carried["past_key_values"].batch_select_indices(chosen)


def _offset(value: Any, batch: int, chosen: Tensor) -> Any:
    """Rope offsets [B, 1]; one that holds for all of them, or None, stays as it is."""
    by_row = isinstance(value, Tensor) and value.dim() > 0 and len(value) == batch
    return value[chosen] if by_row else value
