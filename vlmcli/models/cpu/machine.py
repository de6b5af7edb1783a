"""One decoder, ready to take steps: its weights' addresses, room for what is computed, and the threads.

Shapes: D width, E width of a head padded to 16, V vocabulary, M threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmcli.models.cpu.build import built
from vlmcli.models.cpu.cache import KeyValues
from vlmcli.models.cpu.tables import FIELDS, INT4, KEYS, KIND, KINDS, VALUES
from vlmcli.models.cpu.team import Team, team_of
from vlmcli.models.cpu.weights import Weights, padded

_ACTIVATIONS = {"silu": 0, "gelu_tanh": 1}
_TILE = 128  # positions that ``compiled.attention`` works on at once
_LINE = 64  # bytes of a cache line: what two threads write never shares one


@dataclass
class Conversation:
    """What a conversation carries from step to step: keys and values, once the first step has filled them.

    ``offset``: how much further the rotary position is than the number of positions read (images of Qwen-VL take fewer
    than their slots). ``began``: what transformers' masks and positions still describe. ``wrapped``: a composition's
    cache, without the decoder's.
    """

    offset: int
    sees: bool
    cache: KeyValues | None = None
    began: int = 0
    wrapped: Any = None


class Machine:
    """Takes steps of one decoder. Raises Undescribed where the compiled step is not to be had."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._built = built()
        self._team = team_of(torch.get_num_threads())
        spec = weights.spec
        self._layers = weights.layers.copy()
        self._reals = np.array([spec.epsilon, spec.scale, spec.score_cap, spec.logit_cap], np.float32)
        self._sync = np.zeros(16, np.int64)
        self._shared, self._private = self._room(self._team)
        self._lock = threading.Lock()

    @property
    def note(self) -> str:
        """How it computes, in a few words."""
        kinds = "+".join(sorted({KINDS[row[KIND]].name for row in self.weights.table.reshape(-1, FIELDS)}))
        threads = "1 thread" if self._team.size == 1 else f"{self._team.size} threads"
        return ", ".join(filter(None, (f"{kinds} weights", threads, self._built.note)))

    @property
    def rounds_values(self) -> bool:
        """Whether values are rounded to int8 before a product, as transformers' forward does not."""
        return bool((self.weights.table[..., KIND] == INT4.number).any())

    def step(self, conversation: Conversation, embedding: Tensor) -> Tensor:
        """Append a token, given its embedding [D]: the logits of the next, float32 [V]. One step at a time."""
        with self._lock:
            return self._step(conversation, embedding)

    def _step(self, conversation: Conversation, embedding: Tensor) -> Tensor:
        cache, spec = conversation.cache, self.weights.spec
        assert cache is not None
        if self._team.size != torch.get_num_threads():
            self._team = team_of(torch.get_num_threads())
            self._shared, self._private = self._room(self._team)
        cache.reserve(cache.length + 1)
        values = np.zeros(padded(spec.width), np.float32)
        values[: spec.width] = embedding.detach().float().numpy()
        logits = torch.empty(padded(spec.vocabulary))
        self._layers[:, KEYS : VALUES + 1] = cache.addresses
        work = partial(
            self._member, self._sync, int(self._sync[0]), self._shape(conversation), values, logits.data_ptr()
        )
        if not self._team.run(work, self._give_up):
            raise RuntimeError("a decode step was given up")
        cache.length += 1
        return logits[: spec.vocabulary]

    def _member(
        self, sync: NDArray[Any], goal: int, shape: NDArray[Any], values: NDArray[Any], logits: int, member: int
    ) -> bool:
        weights = self.weights
        return self._built.step(
            member,
            goal,
            sync.ctypes.data,
            shape,
            self._reals,
            weights.table,
            weights.head,
            self._layers,
            weights.last_norm,
            weights.ropes,
            weights.rope_scales,
            self._shared.addresses,
            self._private.addresses,
            values.ctypes.data,
            logits,
        )

    def _give_up(self) -> None:
        """Let the threads of an interrupted step end, and start the next one with a count of its own."""
        self._sync[8] = 1
        self._sync = np.zeros(16, np.int64)

    def _shape(self, conversation: Conversation) -> NDArray[np.int64]:
        """The numbers of this step, in the order of ``compiled.step``."""
        spec, cache = self.weights.spec, conversation.cache
        assert cache is not None
        numbers = (
            spec.layers,
            spec.width,
            spec.heads,
            spec.kv_heads,
            spec.head_width,
            padded(spec.head_width),
            spec.inner,
            spec.vocabulary,
            self.weights.ropes.shape[1],
            len(self.weights.ropes),
            _ACTIVATIONS[spec.activation],
            int(cache.is_bf16),
            cache.room,
            cache.length,
            cache.length + conversation.offset,
            self._team.size,
        )
        return np.array(numbers, np.int64)

    def _room(self, team: Team) -> tuple[_Room, _Room]:
        """Memory that all threads write to, and each one's own; float32 counts in the order of ``compiled.step``."""
        spec, m = self.weights.spec, team.size
        wide, heads = padded(spec.head_width), spec.heads
        widest = max(spec.width, spec.inner, heads * spec.head_width)
        shared = [
            (heads + 2 * spec.kv_heads) * spec.head_width,
            m * heads * wide,
            2 * m * heads,
            spec.width,
            spec.inner,
            spec.inner,
        ]
        private = [
            spec.width,
            max(spec.width, heads * spec.head_width),
            heads * wide,
            wide,
            heads // spec.kv_heads * _TILE,
            2 * self.weights.ropes.size,
            widest // 2,  # a byte a value, and 8 bytes for 32 of them
        ]
        return _Room(shared, 1, flat=True), _Room(private, m)


class _Room:
    """Zeroed memory: ``addresses`` int64 [members, parts], or [parts] where it is ``flat``."""

    def __init__(self, counts: list[int], members: int, flat: bool = False) -> None:
        sizes = [(4 * padded(count + 32) + 2 * _LINE - 1) // _LINE * _LINE for count in counts]  # bytes
        self._memory = np.zeros(sum(sizes) * members + _LINE, np.uint8)
        start = -(-self._memory.ctypes.data // _LINE) * _LINE
        offsets = np.concatenate([[0], np.cumsum(sizes * members)[:-1]])
        table = (start + offsets).astype(np.int64).reshape(members, -1)
        self.addresses = table[0] if flat else table
