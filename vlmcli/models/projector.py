"""Projectors: features of the encoder -> embeddings of the decoder.

Shapes: N pictures, P patches, D width of the encoder, E width of the decoder, Q queries, r the factor by which a side
of the grid shrinks. Parameters carry the names that they have in transformers' own checkpoints, so that a projector
taken from one of them fits as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from vlmcli.catalog import PROJECTORS
from vlmcli.errors import ModelError


class Linear(nn.Module):
    """One matrix (PaliGemma, arXiv 2407.07726; Fuyu)."""

    def __init__(self, width: int, decoder_width: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(width, decoder_width, bias)

    def tokens(self, patches: int) -> int:
        """How many embeddings a picture of so many patches becomes."""
        return patches

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, D] -> [N, P, E]."""
        return self.linear(features)  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two layers with an activation between them (LLaVA-1.5, arXiv 2310.03744)."""

    def __init__(self, width: int, decoder_width: int, activation: str = "gelu", bias: bool = True) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, decoder_width, bias)
        self.act = ACT2FN[activation]
        self.linear_2 = nn.Linear(decoder_width, decoder_width, bias)

    def tokens(self, patches: int) -> int:
        """How many embeddings a picture of so many patches becomes."""
        return patches

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, D] -> [N, P, E]."""
        return self.linear_2(self.act(self.linear_1(features)))  # type: ignore[no-any-return]


class PixelShuffleMlp(nn.Module):
    """r x r neighbouring patches become one of r r D channels, then two layers (InternVL 1.5, arXiv 2404.16821)."""

    def __init__(self, width: int, decoder_width: int, factor: int = 2, activation: str = "gelu") -> None:
        super().__init__()
        self.factor = factor
        self.layer_norm = nn.LayerNorm(width * factor**2)
        self.linear_1 = nn.Linear(width * factor**2, decoder_width)
        self.act = ACT2FN[activation]
        self.linear_2 = nn.Linear(decoder_width, decoder_width)

    def tokens(self, patches: int) -> int:
        """How many embeddings a picture of so many patches becomes."""
        return _side(patches, self.factor) ** 2

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, D] -> [N, P / (r r), E]."""
        shuffled = pixel_shuffle(features, self.factor)  # [N, P / (r r), r r D]
        return self.linear_2(self.act(self.linear_1(self.layer_norm(shuffled))))  # type: ignore[no-any-return]


class AveragePool(nn.Module):
    """The mean of r x r neighbouring patches, then two layers (one of the connectors in MM1, arXiv 2403.09611)."""

    def __init__(self, width: int, decoder_width: int, factor: int = 2, activation: str = "gelu") -> None:
        super().__init__()
        self.factor = factor
        self.mlp = Mlp(width, decoder_width, activation)

    def tokens(self, patches: int) -> int:
        """How many embeddings a picture of so many patches becomes."""
        return _side(patches, self.factor) ** 2

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, D] -> [N, P / (r r), E]."""
        side = isqrt(features.shape[1])
        grid = features.transpose(1, 2).reshape(len(features), -1, side, side)  # [N, D, h, w]
        pooled = nn.functional.avg_pool2d(grid, self.factor)  # [N, D, h / r, w / r]
        return self.mlp(pooled.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]


class PerceiverResampler(nn.Module):
    """A fixed number of learned queries that look at all patches (Flamingo, arXiv 2204.14198)."""

    def __init__(self, width: int, decoder_width: int, queries: int = 64, layers: int = 2, heads: int = 8) -> None:
        super().__init__()
        self.inward = nn.Linear(width, decoder_width)
        self.queries = nn.Parameter(0.02 * torch.randn(queries, decoder_width))
        self.layers = nn.ModuleList(_ResamplerLayer(decoder_width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(decoder_width)

    def tokens(self, patches: int) -> int:
        """How many embeddings a picture becomes, of however many patches."""
        return self.queries.shape[0]

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, D] -> [N, Q, E]."""
        seen = self.inward(features)  # [N, P, E]
        latents = self.queries.expand(len(features), -1, -1)  # [N, Q, E]
        for layer in self.layers:
            latents = layer(latents, seen)
        return self.norm(latents)  # type: ignore[no-any-return]


class _ResamplerLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_seen, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, latents: Tensor, seen: Tensor) -> Tensor:
        """Latents [N, Q, E] look at patches [N, P, E] and at each other -> [N, Q, E]."""
        queries = self.norm_latents(latents)
        keys = torch.cat([self.norm_seen(seen), queries], dim=1)  # [N, P + Q, E]
        latents = latents + self.attention(queries, keys, keys, need_weights=False)[0]
        return latents + self.feed_forward(latents)  # type: ignore[no-any-return]


_CLASSES: Mapping[str, Callable[..., nn.Module]] = dict(
    zip(PROJECTORS, (Linear, Mlp, PixelShuffleMlp, AveragePool, PerceiverResampler), strict=True)
)


def build(kind: str, width: int, decoder_width: int, patches: int, options: Mapping[str, Any]) -> nn.Module:
    """A projector with random weights. Raises ModelError for a kind or an option that there is not."""
    if kind not in _CLASSES:
        raise ModelError(f"no projector is called {kind!r}", f"there are {', '.join(PROJECTORS)}")
    try:
        made = _CLASSES[kind](width, decoder_width, **options)
        made.tokens(patches)  # type: ignore[operator]
    except (TypeError, KeyError, AssertionError) as error:
        raise ModelError(f"a projector of kind {kind!r} cannot be made so: {error}") from error
    return made


def kind_of(weights: Mapping[str, Tensor], width: int) -> tuple[str, dict[str, Any]]:
    """Which projector these weights belong to, and its options, read from their names and shapes.

    Raises ModelError for weights of another make.
    """
    names = set(weights)
    if {"linear.weight"} <= names <= {"linear.weight", "linear.bias"}:
        return "linear", {"bias": "linear.bias" in names}
    if {"linear_1.weight", "linear_2.weight"} <= names:
        factor = isqrt(weights["linear_1.weight"].shape[1] // width)
        if "layer_norm.weight" in names:
            return "pixel-shuffle-mlp", {"factor": factor}
        if factor == 1:
            return "mlp", {"bias": "linear_1.bias" in names}
    raise ModelError(f"these weights are no projector that vlm knows: {', '.join(sorted(names)[:4])}")


def pixel_shuffle(features: Tensor, factor: int) -> Tensor:
    """r x r neighbouring patches side by side: [N, P, D] -> [N, P / (r r), r r D], in InternVL's order of channels."""
    count, patches, width = features.shape
    small = isqrt(patches) // factor
    grid = features.reshape(count, small, factor, small, factor, width)  # [N, h, r, w, r, D]
    return grid.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)  # [N, h w, r r D]


def _side(patches: int, factor: int) -> int:
    """The side of the grid when it has shrunk. Raises ModelError where it does not divide."""
    side = isqrt(patches)
    if side * side != patches or side % factor:
        raise ModelError(f"{patches} patches are no square that shrinks by {factor} in each direction")
    return side // factor
