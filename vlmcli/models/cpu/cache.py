"""Keys and values of one conversation, with room for more.

Shapes: L layers, K heads of keys and values, e their width, E the same padded to 16, S positions there is room for, T
positions that are filled.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import DynamicCache

from vlmcli.models.cpu.spec import DecoderSpec, Undescribed
from vlmcli.models.cpu.weights import LANES, padded

_FIRST_ROOM = 256


class KeyValues:
    """Keys [K, S / 16, E, 16] and values [K, S, E] of each layer, float32 or bfloat16 as the model computes.

    What is not filled was never touched, so that it takes no memory yet.
    """

    def __init__(self, spec: DecoderSpec, length: int, dtype: torch.dtype) -> None:
        self.spec, self.dtype, self.length = spec, dtype, 0
        self.room = 0
        self.keys: list[NDArray[Any]] = []
        self.values: list[NDArray[Any]] = []
        self.addresses = np.zeros((spec.layers, 2), np.int64)
        self.reserve(max(length, _FIRST_ROOM))

    @property
    def is_bf16(self) -> bool:
        return self.dtype == torch.bfloat16

    def reserve(self, length: int) -> None:
        """Make room for ``length`` positions, at least twice what there was."""
        if length <= self.room:
            return
        before, self.room = self.room, padded(max(length, 2 * self.room))
        heads, width = self.spec.kv_heads, padded(self.spec.head_width)
        number = np.uint16 if self.is_bf16 else np.float32
        for made, shape in ((self.keys, (self.room // LANES, width, LANES)), (self.values, (self.room, width))):
            old = list(made)
            made.clear()
            for i in range(self.spec.layers):
                made.append(np.zeros((heads, *shape), number))
                if before:
                    made[i][:, : old[i].shape[1]] = old[i]
                    old[i] = np.zeros(0, number)  # one layer at a time is there twice
        self._find()

    def _find(self) -> None:
        """``addresses`` int64 [L, 2] of keys and values, which asking numpy at every step would take long."""
        self.addresses = np.array(
            [(k.ctypes.data, v.ctypes.data) for k, v in zip(self.keys, self.values, strict=True)], np.int64
        )

    def fill(self, cache: Any, length: int) -> None:
        """Take over the ``length`` positions of transformers' cache. Raises Undescribed for one of another kind.

        Of a layer with a sliding window it has only the last positions.
        """
        self.reserve(length + 1)
        layers = getattr(cache, "layers", [])
        if len(layers) < self.spec.layers:
            raise Undescribed(f"its cache has {len(layers)} layers")
        for i, layer in enumerate(layers[: self.spec.layers]):
            keys, values, total = layer.keys, layer.values, int(layer.get_seq_length())
            shape = (1, self.spec.kv_heads, self.spec.head_width)
            if not isinstance(keys, Tensor) or (*keys.shape[:2], keys.shape[3]) != shape or keys.dtype != self.dtype:
                raise Undescribed("its cache is of another shape")
            if total != length:
                raise Undescribed(f"its cache has {total} positions of {length}")
            self._put(i, total - keys.shape[2], keys[0], values[0])
        self.length = length

    def _put(self, layer: int, first: int, keys: Tensor, values: Tensor) -> None:
        """Keys and values [K, n, e] from position ``first`` on."""
        width, last = self.spec.head_width, first + keys.shape[1]
        numbers = (part.contiguous().view(torch.uint16) if self.is_bf16 else part for part in (keys, values))
        k, v = (part.numpy() for part in numbers)  # [K, n, e]
        self.values[layer][:, first:last, :width] = v
        at = np.arange(first, last)
        self.keys[layer][:, at // LANES, :width, at % LANES] = k.swapaxes(0, 1)

    def read(self, layer: int, first: int) -> tuple[Tensor, Tensor]:
        """Keys and values [1, K, n, e] of a layer from position ``first`` on, as transformers keeps them."""
        width, at = self.spec.head_width, np.arange(first, self.length)
        k = self.keys[layer][:, at // LANES, :width, at % LANES].swapaxes(0, 1)  # [K, n, e]
        v = self.values[layer][:, first : self.length, :width]
        keys, values = (torch.from_numpy(part.copy())[None] for part in (k, v))
        return (keys.view(torch.bfloat16), values.view(torch.bfloat16)) if self.is_bf16 else (keys, values)

    def given_back(self, config: Any) -> DynamicCache:
        """transformers' own cache of the same positions, for a decoder of that configuration."""
        cache = DynamicCache(config=config)
        for i, window in enumerate(self.spec.windows):
            first = max(self.length - window + 1, 0) if window else 0
            cache.update(*self.read(i, first), i)
            if window:
                cache.layers[i].cumulative_length = self.length
        return cache

    def __deepcopy__(self, memo: Any) -> KeyValues:
        copy = object.__new__(KeyValues)
        copy.__dict__.update(self.__dict__)
        copy.keys, copy.values = deepcopy(self.keys, memo), deepcopy(self.values, memo)
        copy._find()
        return copy
