"""Decode steps over a cache of fixed size: on a GPU one CUDA graph, launched anew for every token.

A step launches hundreds of kernels, and at a batch of one the launching takes longer than the kernels do. Where nothing
of a step moves in memory (cache, token, positions, logits), it is recorded once and replayed (CUDA Graphs, NVIDIA
2019; gpt-fast, PyTorch 2023).

Not in use unless it is asked for: the steps over a fixed cache are compared with transformers' own by the tests, on a
CPU; the recording has not been run on a GPU yet.

Shapes: B conversations (here one), T positions read, C positions of the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, StaticCache, StaticLayer

CHUNK = 512
"""The cache grows by so many positions; each time the step is recorded anew."""

# A step of a decoder in plain positions. With other arguments it would be another step every time.
_ARGUMENTS = frozenset({"attention_mask", "input_ids", "past_key_values", "position_ids", "use_cache"})


@dataclass
class Fixed:
    """A conversation whose tensors stay where they are: ``token`` [1, 1], ``position`` [1, 1], ``logits`` [1, V].

    ``replay`` runs the recorded step; None where steps are taken one by one.
    """

    cache: StaticCache
    capacity: int
    token: Tensor
    position: Tensor
    logits: Tensor | None = None
    replay: Callable[[], None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Fixed:
        copies = (deepcopy(each, memo) for each in (self.cache, self.capacity, self.token, self.position))
        return Fixed(*copies)  # type: ignore[arg-type]  # a recording writes to where it was made


class StaticSteps:
    """Steps of ``decoder`` over a ``StaticCache``, where the model is one for which that is exact; else transformers'.

    Args:
        decoder: what continues an answer (its ``forward`` takes ids, positions and a cache).
        record: record the step as a CUDA graph; by default where the decoder is on a GPU.
    """

    def __init__(self, decoder: Any, record: bool | None = None) -> None:
        self._decoder = decoder
        self._record = decoder.device.type == "cuda" if record is None else record
        self.note = "a static cache" + (" and a CUDA graph" if self._record else "")

    def prefilled(self, state: Any, sees: bool) -> None:
        """The cache is taken over with the first step, when it is known that there is one."""

    def step(self, state: Any, token_ids: Sequence[int], ordinary: Callable[[], Tensor]) -> Tensor:
        """Append one token to each conversation, and advance the state: the logits [B, V] of the next."""
        fixed = state.own
        if fixed is None:
            if len(token_ids) != 1 or not self._fits(state):
                return ordinary()
            fixed = state.own = self._taken_over(state.carried.pop("past_key_values"), state.length)
        elif state.length >= fixed.capacity:
            fixed = state.own = self._grown(fixed, state.length)
        fixed.token.fill_(token_ids[0])
        state.ids = torch.cat([state.ids, fixed.token], dim=1)  # [1, T + 1]
        state.logits = self._advance(fixed).clone()  # [1, V]
        return state.logits  # type: ignore[no-any-return]

    def _fits(self, state: Any) -> bool:
        """Whether a step needs nothing but a token, its position, and a cache that forgets nothing."""
        cache = state.carried.get("past_key_values")
        if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return False
        if cache.get_seq_length() != state.length or state.carried.get("attention_mask") is not None:
            return False
        arguments = self._decoder.prepare_inputs_for_generation(
            torch.cat([state.ids, state.ids[:, -1:]], dim=1), next_sequence_length=1, **state.carried
        )
        given = {name for name, value in arguments.items() if isinstance(value, Tensor) and value.numel()}
        positions = arguments.get("position_ids")
        # Kosmos-2 counts its positions by itself, from a length that is a number: a recording would keep the first.
        plain = positions is not None and positions.shape == (1, 1) and int(positions) == state.length
        return plain and given <= _ARGUMENTS and arguments["input_ids"].shape == (1, 1)

    def _taken_over(self, dynamic: DynamicCache, length: int) -> Fixed:
        parts = [(layer.keys, layer.values) for layer in dynamic.layers]
        return self._fixed(parts, length)

    def _grown(self, fixed: Fixed, length: int) -> Fixed:
        parts = [(layer.keys[:, :, :length], layer.values[:, :, :length]) for layer in fixed.cache.layers]
        return self._fixed(parts, length)

    def _fixed(self, parts: Sequence[tuple[Tensor, Tensor]], length: int) -> Fixed:
        """The same keys and values [1, heads, T, width] at the beginning of a cache with room for more."""
        capacity = -(-(length + 1) // CHUNK) * CHUNK
        cache = StaticCache(config=self._decoder.config, max_cache_len=capacity)
        cache.layers = [StaticLayer(max_cache_len=capacity) for _ in parts]
        for index, (keys, values) in enumerate(parts):
            cache.update(keys, values, index)
        device = self._decoder.device
        token = torch.zeros(1, 1, dtype=torch.long, device=device)
        return Fixed(cache, capacity, token, torch.full_like(token, length))

    def _advance(self, fixed: Fixed) -> Tensor:
        """One step, recorded where that is wanted: the logits [1, V]."""
        if fixed.replay is not None:
            fixed.replay()
            assert fixed.logits is not None
            return fixed.logits
        logits = self._forward(fixed)
        if self._record:
            record(fixed, lambda: self._forward(fixed))
        return logits

    def _forward(self, fixed: Fixed) -> Tensor:
        output = self._decoder(
            input_ids=fixed.token,
            position_ids=fixed.position,
            past_key_values=fixed.cache,
            use_cache=True,
            return_dict=True,
        )
        fixed.position.add_(1)
        return output.logits[:, -1]  # type: ignore[no-any-return]  # [1, V]


def record(fixed: Fixed, forward: Callable[[], Tensor]) -> None:
    """Record a step as a CUDA graph. Recording runs nothing: positions and cache stay as the step before left them.

    The step has run once before, so that libraries have set themselves up and lengths are on the device.
    """
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
        fixed.logits = forward()
    torch.cuda.current_stream().wait_stream(stream)
    fixed.replay = graph.replay
