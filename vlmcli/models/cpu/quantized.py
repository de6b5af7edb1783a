"""Linear layers and embeddings whose weights are whole numbers of eight or four bits, and how they are made.

Shapes: R rows (outputs), W width (inputs). int8 has a scale for each row; int4 one for each 32 columns of a row, in the
order that ``compiled.products`` reads: sixteen rows side by side. transformers' forward uses the same numbers, unpacked
for the moment, so that prompts are read by the model that answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlmcli.models.cpu.tables import GROUP, INT4, INT8, Kind

# Rows that are quantised at once: the float32 copies of 4,096 rows of width 4,096 take 64 MB.
_ROWS = 4096

# Q4_0 maps the largest value to -8; somewhat less than the largest often fits the rest of its group better.
_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)


class QuantizedLinear(nn.Module):
    """A linear layer of quantised weights, which takes the place of ``nn.Linear``.

    int8: weights int8 [R, W], scales float32 [R]. int4: weights uint8 [R / 16, W / 32, 4, 16, 4], two columns a byte;
    scales bfloat16 [R / 16, W / 32, 16].
    """

    weights: Tensor
    scales: Tensor

    def __init__(self, kind: Kind, weights: Tensor, scales: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("weights", weights)
        self.register_buffer("scales", scales)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        packed = kind is INT4
        self.out_features = weights.shape[0] * (16 if packed else 1)
        self.in_features = weights.shape[1] * (GROUP if packed else 1)

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., R]"""
        return nn.functional.linear(x, self.dequantized(x.dtype), self.bias)

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weights [R, W] that the whole numbers stand for."""
        if self.kind is INT8:
            return self.weights.to(dtype) * self.scales[:, None].to(dtype)
        return unpack(self.weights, self.scales, dtype)

    def addresses(self, first_row: int) -> tuple[int, int]:
        """Where the weights and the scales of a row lie, which is a multiple of 16 for int4."""
        index = first_row // 16 if self.kind is INT4 else first_row
        return self.weights[index:].data_ptr(), self.scales[index:].data_ptr()


class QuantizedEmbedding(nn.Module):
    """The rows of an int8 head that is tied to the embedding; ``factor`` multiplies them (Gemma)."""

    def __init__(self, head: QuantizedLinear, dtype: torch.dtype, factor: Tensor | None) -> None:
        super().__init__()
        self.head, self.dtype, self.factor = head, dtype, factor
        self.num_embeddings, self.embedding_dim = head.out_features, head.in_features

    def forward(self, ids: Tensor) -> Tensor:
        """[...] -> [..., W]"""
        rows = self.head.weights[ids].to(self.dtype) * self.head.scales[ids][..., None].to(self.dtype)
        return rows if self.factor is None else rows * self.factor.to(self.dtype)


def fits(kind: Kind, rows: int, width: int) -> bool:
    """Whether a matrix can be kept so: int4 needs whole groups of 32 columns, and of 16 rows."""
    return kind is not INT4 or (rows % 16 == 0 and width % GROUP == 0)


def quantize(weight: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """Weights [R, W] -> whole numbers and their scales, as QuantizedLinear keeps them."""
    make = _int8 if kind is INT8 else _int4
    parts = [make(weight[i : i + _ROWS].detach().float()) for i in range(0, len(weight), _ROWS)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scales = weight.abs().amax(1) / 127  # [R]
    whole = (weight / scales.clamp_min(1e-30)[:, None]).round_()
    return whole.to(torch.int8), scales


def _int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of a few scales for each group the one with the smallest squared error."""
    groups = weight.view(len(weight), -1, GROUP)  # [R, W / 32, 32]
    largest = groups.gather(2, groups.abs().argmax(2, keepdim=True))  # signed
    best_error = torch.full_like(largest, torch.inf)
    best_scale, best = torch.zeros_like(largest), torch.zeros_like(groups)
    for shrink in _SHRINKS:
        scale = (largest * (shrink / -8)).to(torch.bfloat16).float()
        whole = torch.where(scale == 0, 0.0, groups / torch.where(scale == 0, 1.0, scale)).round_().clamp_(-8, 7)
        error = (whole * scale - groups).square().sum(2, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale, best = torch.where(better, scale, best_scale), torch.where(better, whole, best)
    return pack(best.add_(8).to(torch.uint8).flatten(1)), _pack_scales(best_scale[..., 0])


def pack(whole: Tensor) -> Tensor:
    """uint8 [R, W] of numbers below 16 -> two of them in a byte, [R / 16, W / 32, 4, 16, 4]."""
    rows, width = whole.shape
    parts = whole.view(rows // 16, 16, width // GROUP, 2, 4, 4)  # block, row, group, half, part, column
    low, high = parts.permute(3, 0, 2, 4, 1, 5)
    both: Tensor = low | (high << 4)
    return both.contiguous()


def _pack_scales(scales: Tensor) -> Tensor:
    """[R, W / 32] -> bfloat16 [R / 16, W / 32, 16]"""
    return scales.view(len(scales) // 16, 16, -1).transpose(1, 2).to(torch.bfloat16).contiguous()


def unpack(weights: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """The opposite of both: [R / 16, W / 32, 4, 16, 4] and their scales -> [R, W]."""
    blocks, groups = weights.shape[:2]
    by = scales.to(dtype)[:, :, None, :, None]  # [R / 16, W / 32, 1, 16, 1]
    made = torch.empty(blocks, 16, groups, 2, 4, 4, dtype=dtype)
    for half, whole in enumerate((weights & 15, weights >> 4)):
        made[:, :, :, half] = (whole.to(dtype).sub_(8) * by).permute(0, 3, 1, 2, 4)
    return made.view(blocks * 16, groups * GROUP)


def linear_of(module: Any, kind: Kind) -> QuantizedLinear:
    """A quantised copy of a linear layer."""
    return QuantizedLinear(kind, *quantize(module.weight, kind), module.bias)
