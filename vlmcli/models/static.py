"""Decode steps over a cache of fixed size: on a GPU one CUDA graph, launched anew for every token.

A step launches hundreds of kernels, and at a batch of one the launching takes longer than the kernels do. Where nothing
of a step moves in memory (cache, token, positions, logits), it is recorded once and replayed (CUDA Graphs, NVIDIA
2019; gpt-fast, PyTorch 2023).

Not in use unless it is asked for (the setting ``cuda_graph``): the steps over a fixed cache are compared with
transformers' own by the tests, on a CPU; the recording has not been run on a GPU yet.

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

from vlmcli.errors import first_line
from vlmcli.models.steps import CACHE, ROUNDING, difference, go_on, hooks_of

CHUNK = 512
"""The cache grows by so many positions; each time the step is recorded anew."""

# A step of a decoder in plain positions. With other arguments it would be another step every time.
_ARGUMENTS = frozenset({"attention_mask", "input_ids", "past_key_values", "position_ids", "use_cache"})


@dataclass
class Fixed:
    """A conversation whose tensors stay where they are: ``token`` [1, 1], ``position`` [1, 1], ``logits`` [1, V].

    ``began``: what transformers' masks and positions still describe. ``replay`` runs the recorded step; None where
    steps are taken one by one.
    """

    cache: StaticCache
    capacity: int
    began: int
    token: Tensor
    position: Tensor
    logits: Tensor | None = None
    replay: Callable[[], None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Fixed:
        cache, token, position = (deepcopy(each, memo) for each in (self.cache, self.token, self.position))
        return Fixed(cache, self.capacity, self.began, token, position)  # a recording writes to where it was made


class StaticSteps:
    """Steps of ``decoder`` over a ``StaticCache``, where the model is one for which that is exact; else transformers'.

    The first steps, a plain and a recorded one, are taken in transformers' way too: should they differ by more than
    rounding, or fail, transformers' steps are taken from then on.

    Args:
        decoder: what continues an answer (its ``forward`` takes ids, positions and a cache).
        record: record the step as a CUDA graph; by default where the decoder is on a GPU.
    """

    def __init__(self, decoder: Any, record: bool | None = None) -> None:
        self._decoder = decoder
        self._record = decoder.device.type == "cuda" if record is None else record
        self._unchecked = {False, True} if self._record else {False}  # whether a step is a replay
        self._hooks = hooks_of(decoder.get_decoder(), decoder.get_output_embeddings())  # not of what sees
        self._reason = ""

    @property
    def note(self) -> str:
        """Which step is in use, and why where it is transformers'."""
        if self._reason:
            return f"transformers' decode step: {self._reason}"
        return "a static cache" + (" and a CUDA graph" if self._record else "")

    def prefilled(self, state: Any, sees: bool) -> None:
        """The cache is taken over with the first step, when it is known that there is one."""

    def step(self, state: Any, token_ids: Sequence[int], ordinary: Callable[[], Tensor]) -> Tensor:
        """Append one token to each conversation, and advance the state: the logits [B, V] of the next."""
        if any(map(len, self._hooks)) or torch.is_grad_enabled():  # a replay would run no hook, and keep no gradient
            self.give_back(state)
            return ordinary()
        if state.own is None:
            if self._reason or len(token_ids) != 1 or not self._fits(state):
                return ordinary()
            state.own = self._taken_over(state)
        elif state.length >= state.own.capacity:
            state.own = self._grown(state.own, state.length)
        if self._unchecked:
            return self._checked(state, token_ids[0], ordinary)
        state.carried[CACHE] = None  # ours goes on alone
        logits = self._advance(state.own, token_ids[0])
        state.ids = torch.cat([state.ids, state.own.token], dim=1)  # [1, T + 1]
        state.logits = logits
        return logits

    def give_back(self, state: Any) -> None:
        """Let transformers go on with a conversation: cache, masks and positions as after its steps."""
        fixed, state.own = state.own, None
        if fixed is None or state.carried[CACHE] is not None:
            return
        cache = DynamicCache(config=self._decoder.config)
        for index, (keys, values) in enumerate(_parts(fixed, state.length)):
            cache.update(keys.clone(), values.clone(), index)
        state.carried = go_on(self._decoder, state.carried, cache, state.length - fixed.began)

    def _checked(self, state: Any, token_id: int, ordinary: Callable[[], Tensor]) -> Tensor:
        """A step in both ways."""
        fixed, replays = state.own, state.own.replay is not None
        try:
            logits = self._advance(fixed, token_id)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._reason = first_line(error)
        reference = ordinary()
        if not self._reason:
            self._reason = difference(logits, reference, ROUNDING[reference.dtype])
        if self._reason:
            state.own = None
            return reference
        self._unchecked.discard(replays)
        fixed.began = state.length
        return reference

    def _fits(self, state: Any) -> bool:
        """Whether a step needs nothing but a token, its position, and a cache that forgets nothing."""
        cache = state.carried.get(CACHE)
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

    def _taken_over(self, state: Any) -> Fixed:
        parts = [(layer.keys, layer.values) for layer in state.carried[CACHE].layers]
        return self._fixed(parts, state.length, state.length)

    def _grown(self, fixed: Fixed, length: int) -> Fixed:
        return self._fixed(_parts(fixed, length), length, fixed.began)

    def _fixed(self, parts: Sequence[tuple[Tensor, Tensor]], length: int, began: int) -> Fixed:
        """The same keys and values [1, heads, T, width] at the beginning of a cache with room for more."""
        capacity = -(-(length + 1) // CHUNK) * CHUNK
        cache = StaticCache(config=self._decoder.config, max_cache_len=capacity)
        cache.layers = [StaticLayer(max_cache_len=capacity) for _ in parts]
        for index, (keys, values) in enumerate(parts):
            cache.update(keys, values, index)
        device = self._decoder.device
        token = torch.zeros(1, 1, dtype=torch.long, device=device)
        return Fixed(cache, capacity, began, token, torch.full_like(token, length))

    def _advance(self, fixed: Fixed, token_id: int) -> Tensor:
        """One step, recorded where that is wanted: the logits [1, V], which the next step leaves alone."""
        fixed.token.fill_(token_id)
        if fixed.replay is not None:
            fixed.replay()
            assert fixed.logits is not None
            return fixed.logits.clone()
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


def _parts(fixed: Fixed, length: int) -> list[tuple[Tensor, Tensor]]:
    """Keys and values [1, heads, T, width] of each layer, without the room behind them."""
    return [(layer.keys[:, :, :length], layer.values[:, :, :length]) for layer in fixed.cache.layers]


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
