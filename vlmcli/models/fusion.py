"""Fusion: how a decoder comes to see embeddings of pictures.

- ``concat`` (method A): they take the places of slots in the text's embedding sequence.
- ``cross-attention`` (method B, NVLM-X): gated cross-attention before every n-th decoder block reads them.
- ``hybrid`` (NVLM-H): the thumbnail goes the way of A, the tiles go the way of B.

Shapes: B prompts, T positions, E width of the decoder, I images, M picture embeddings of a prompt, h heads, e = E / h.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmcli.errors import InputError, ModelError


@dataclass(frozen=True)
class Seen:
    """The pictures of a prompt, projected: what is spliced and what is looked at, image by image.

    ``pooler_output`` has one [slots, E] for each image (none of them with ``cross-attention``), ``memory`` one [m, E]
    (none with ``concat``).
    """

    pooler_output: list[Tensor]
    memory: list[Tensor]


@dataclass(frozen=True)
class Memory:
    """Keys and values [1, h, M, e] of every cross-attention layer; which prompt sees each of M, from where on."""

    keys_values: list[tuple[Tensor, Tensor]]
    owners: Tensor  # int64 [M]
    starts: Tensor  # int64 [M]

    def visible(self, prompts: int, start: int, length: int) -> Tensor:
        """What the positions from ``start`` on may look at, bool [B, T, M]."""
        device = self.starts.device
        own = torch.arange(prompts, device=device)[:, None, None] == self.owners  # [B, 1, M]
        return own & (torch.arange(start, start + length, device=device)[:, None] >= self.starts)


def splice(embeddings: Tensor, slots: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Put picture embeddings into their slots.

    Args:
        embeddings: of the text [B, T, E]; what stands at the slots is thrown away.
        slots: bool [B, T].
        features: [n, E] each, in the order of the slots.

    Raises InputError where slots and features differ in number.
    """
    flat = torch.cat(list(features)).to(embeddings)  # [slots, E]
    if int(slots.sum()) != len(flat):
        raise InputError(f"the prompt has {int(slots.sum())} image slots, and the images make {len(flat)} features")
    return embeddings.masked_scatter(slots[..., None], flat)


class GatedCrossAttention(nn.Module):
    """Attention over the pictures and a feed-forward layer, each behind a tanh gate that starts closed.

    Flamingo's gated block (arXiv 2204.14198), which NVLM-X (arXiv 2409.11402) and Llama 3.2 Vision follow. With closed
    gates the decoder is exactly what it was.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"a width of {width} cannot be shared by {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.norm_seen = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.gate = nn.Parameter(torch.zeros(()))
        self.feed_forward_gate = nn.Parameter(torch.zeros(()))

    def keys_values(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Picture embeddings [M, E] -> keys and values [1, h, M, e]: computed once, read at every step."""
        normed = self.norm_seen(seen)[None]  # [1, M, E]
        return self._split(self.key(normed)), self._split(self.value(normed))

    def forward(self, hidden: Tensor, keys_values: tuple[Tensor, Tensor], visible: Tensor) -> Tensor:
        """Hidden states [B, T, E] look at what is ``visible``, bool [B, T, M]; what sees nothing stays as it is."""
        queries = self._split(self.query(self.norm(hidden)))  # [B, h, T, e]
        sees = visible.any(-1, keepdim=True)  # [B, T, 1]
        mask = (visible | ~sees)[:, None]  # [B, 1, T, M]; a row without a single column would be NaN
        keys, values = (part.expand(len(hidden), -1, -1, -1) for part in keys_values)
        looked = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)  # [B, h, T, e]
        looked = self.out(looked.transpose(1, 2).flatten(2))  # [B, T, E]
        hidden = hidden + self.gate.tanh() * looked * sees
        return hidden + self.feed_forward_gate.tanh() * self.feed_forward(hidden) * sees  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)  # [B, h, T, e]


class CrossAttention(nn.Module):
    """Gated layers before every ``every``-th block of a decoder, which itself stays unchanged."""

    def __init__(self, width: int, heads: int, blocks: int, every: int) -> None:
        super().__init__()
        if not 1 <= every <= blocks:
            raise ModelError(f"cross-attention every {every} blocks does not fit a decoder of {blocks}")
        self.places = tuple(range(every - 1, blocks, every))
        self.layers = nn.ModuleList(GatedCrossAttention(width, heads) for _ in self.places)

    def remember(self, memory: Sequence[Tensor], owners: Tensor, starts: Tensor) -> Memory:
        """Keys and values of images [m, E] each; ``owners`` and ``starts`` int64 [I]: which prompt sees it, where."""
        seen = torch.cat(list(memory))  # [M, E]
        counts = torch.tensor([len(part) for part in memory], device=seen.device)  # [I]
        return Memory(
            [layer.keys_values(seen) for layer in self._layers()],
            owners.repeat_interleave(counts),
            starts.repeat_interleave(counts),
        )

    @contextmanager
    def reading(self, blocks: Sequence[nn.Module], memory: Memory, visible: Tensor) -> Iterator[None]:
        """While this lasts, the blocks of the decoder look at what is ``visible`` of ``memory``, bool [B, T, M]."""
        handles = [
            blocks[place].register_forward_pre_hook(_before(layer, keys_values, visible), with_kwargs=True)
            for place, layer, keys_values in zip(self.places, self._layers(), memory.keys_values, strict=True)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _layers(self) -> list[GatedCrossAttention]:
        return list(self.layers)  # type: ignore[arg-type]


def _before(layer: GatedCrossAttention, keys_values: tuple[Tensor, Tensor], visible: Tensor) -> Any:
    """A hook that lets a decoder block read what the layer made of its input."""

    def look(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (layer(args[0], keys_values, visible), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": layer(kwargs["hidden_states"], keys_values, visible)}

    return look
