"""The addresses of a decoder's weights, where torch has them: nothing large is copied.

Shapes: L layers, D width, e width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlmcli.models.cpu.quantized import QuantizedLinear
from vlmcli.models.cpu.spec import DecoderSpec, Undescribed
from vlmcli.models.cpu.tables import (
    BIAS,
    FIELDS,
    KIND,
    KINDS,
    LAYER_FIELDS,
    MATRICES,
    NORMS,
    ROWS,
    SCALES,
    WEIGHTS,
    WIDTH,
)

LANES = 16


def padded(count: int) -> int:
    """The next multiple of sixteen."""
    return (count + LANES - 1) // LANES * LANES


@dataclass
class Weights:
    """Tables of addresses, as ``compiled.step`` reads them, and what must live as long as they do.

    table: int64 [L, 7, FIELDS]; head: int64 [FIELDS]; layers: int64 [L, LAYER_FIELDS], of which the caches are filled
    in later; ``ropes``: float32 [R, half of what is turned] frequencies, ``rope_scales``: float32 [R].
    """

    spec: DecoderSpec
    table: NDArray[np.int64]
    head: NDArray[np.int64]
    layers: NDArray[np.int64]
    last_norm: int
    ropes: NDArray[np.float32]
    rope_scales: NDArray[np.float32]
    owned: list[Any] = field(repr=False)
    sources: list[Tensor] = field(repr=False)

    @property
    def nbytes(self) -> int:
        """What a step reads of weights: of the embedding one row, so it does not count."""
        rows = [*self.table.reshape(-1, FIELDS), self.head]
        return int(sum(row[ROWS] * row[WIDTH] * KINDS[row[KIND]].bytes_per_weight for row in rows))

    def moved(self, decoder: Any, head: Any) -> bool:
        """Whether a parameter lies elsewhere than when the tables were made."""
        now = list(_parameters(decoder, head))
        return len(now) != len(self.sources) or any(a is not b for a, b in zip(now, self.sources, strict=True))


def read_weights(spec: DecoderSpec, decoder: Any, head: Any) -> Weights:
    """Find a decoder's weights by the names that transformers gives its modules. Raises Undescribed."""
    if type(decoder).__name__ != spec.decoder:
        raise Undescribed(f"it is a {type(decoder).__name__}, not a {spec.decoder}")
    made = _Tables(spec)
    table = np.zeros((spec.layers, MATRICES, FIELDS), np.int64)
    layers = np.zeros((spec.layers, LAYER_FIELDS), np.int64)
    kinds = sorted(set(spec.ropes))
    for i, block in enumerate(list(decoder.layers)[: spec.layers]):
        for j, (module, first, rows) in enumerate(_matrices(spec, block)):
            table[i, j] = made.matrix(module, first, rows)
        layers[i, NORMS] = made.norms(block)
        layers[i, -2:] = spec.windows[i], kinds.index(spec.ropes[i])
    made.check(table)
    rotary = decoder.rotary_emb
    pairs = [_rope(rotary, kind) for kind in kinds]
    return Weights(
        spec,
        table,
        made.matrix(head, 0, spec.vocabulary),
        layers,
        made.norm(decoder.norm),
        np.stack([frequencies for frequencies, _ in pairs]),
        np.array([scale for _, scale in pairs], np.float32),
        made.owned,
        list(_parameters(decoder, head)),
    )


def _parameters(decoder: Any, head: Any) -> Iterator[Tensor]:
    for module in (decoder, head):
        yield from module.parameters()
        yield from module.buffers()


def _matrices(spec: DecoderSpec, block: Any) -> list[tuple[Any, int, int]]:
    """A block's seven matrices: the module that holds each, its first row there, and its rows."""
    attention, feed, inner = block.self_attn, block.mlp, spec.inner
    queries, keys = spec.heads * spec.head_width, spec.kv_heads * spec.head_width
    if spec.fused:
        qkv, both = attention.qkv_proj, feed.gate_up_proj
        parts = [(qkv, 0, queries), (qkv, queries, keys), (qkv, queries + keys, keys)]
        gates = [(both, 0, inner), (both, inner, inner)]
    else:
        parts = [(attention.q_proj, 0, queries), (attention.k_proj, 0, keys), (attention.v_proj, 0, keys)]
        gates = [(feed.gate_proj, 0, inner), (feed.up_proj, 0, inner)]
    return [*parts, (attention.o_proj, 0, spec.width), *gates, (feed.down_proj, 0, spec.width)]


def _rope(rotary: Any, kind: str) -> tuple[NDArray[np.float32], float]:
    """Frequencies as transformers computed them, and what it multiplies cosine and sine by."""
    prefix = f"{kind}_" if kind else ""
    frequencies = getattr(rotary, f"{prefix}inv_freq").detach().float().cpu().numpy().copy()
    return frequencies, float(getattr(rotary, f"{prefix}attention_scaling"))


class _Tables:
    """Rows of the tables, and the small vectors that are copied into float32 for them."""

    def __init__(self, spec: DecoderSpec) -> None:
        self.spec = spec
        self.owned: list[Any] = []

    def vector(self, values: Tensor, offset: float = 0.0) -> int:
        """The address of a float32 copy, padded with zeros to whole lanes."""
        copy = np.zeros(padded(len(values)), np.float32)
        copy[: len(values)] = values.detach().float().numpy() + np.float32(offset)
        self.owned.append(copy)
        return int(copy.ctypes.data)

    def norm(self, module: Any) -> int:
        return self.vector(module.weight, self.spec.norm_offset)

    def norms(self, block: Any) -> tuple[int, ...]:
        """Of a block, in the order of the table; 0 where the family has none."""
        spec, attention = self.spec, block.self_attn
        heads = (self.norm(attention.q_norm), self.norm(attention.k_norm)) if spec.head_norms else (0, 0)
        before, behind = self.norm(block.input_layernorm), self.norm(block.post_attention_layernorm)
        if not spec.sandwiched:
            return (before, 0, behind, 0, *heads)
        feed = (self.norm(block.pre_feedforward_layernorm), self.norm(block.post_feedforward_layernorm))
        return (before, behind, *feed, *heads)

    def matrix(self, module: Any, first: int, rows: int) -> NDArray[np.int64]:
        """A row of the table: ``rows`` of a linear layer from ``first`` on."""
        if type(module) not in (nn.Linear, QuantizedLinear):
            raise Undescribed(f"a {type(module).__name__} stands where a linear layer was expected")
        made = np.zeros(FIELDS, np.int64)
        made[ROWS], made[WIDTH] = rows, module.in_features
        if first + rows > module.out_features:
            raise Undescribed(f"a layer has {module.out_features} rows, and its configuration asks for {first + rows}")
        if isinstance(module, QuantizedLinear):
            made[KIND], made[WEIGHTS], made[SCALES] = module.kind.number, *module.addresses(first)
        else:
            made[KIND], made[WEIGHTS] = self._plain(module, first)
        if module.bias is not None:
            made[BIAS] = self.vector(module.bias[first : first + rows])
        return made

    def _plain(self, module: Any, first: int) -> tuple[int, int]:
        weight = module.weight
        kind = next((kind for kind in KINDS if kind.dtype == weight.dtype and kind.plain), None)
        if kind is None or weight.device.type != "cpu" or not weight.is_contiguous():
            raise Undescribed(f"its weights are {str(weight.dtype).removeprefix('torch.')} on {weight.device.type}")
        return kind.number, weight.data_ptr() + first * module.in_features * weight.element_size()

    def check(self, table: NDArray[np.int64]) -> None:
        """One rounding to int8 serves all matrices that read the same values."""
        reads = (table[:, :3, KIND], table[:, 4:6, KIND])
        if any((kinds != kinds[:, :1]).any() for kinds in reads):
            raise Undescribed("matrices that read the same values are kept in different ways")


def to_float32(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor's values as numpy has them."""
    values: NDArray[np.float32] = tensor.detach().to(torch.float32).numpy()
    return values
