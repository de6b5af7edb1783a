"""The decoder's attention weights, written down while it reads.

Shapes: h heads, q queries, T positions, M keys of an image that is looked at from beside the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmcli.errors import UsageError
from vlmcli.models.embeddings import text_decoder
from vlmcli.models.vlm import Vlm


@dataclass(frozen=True)
class Layer:
    """What one layer looked at in one forward pass, the mean over its heads: [q, T], or [q, M] if ``beside``."""

    weights: Tensor
    beside: bool


@contextmanager
def recorded(vlm: Vlm) -> Iterator[list[Layer]]:
    """While this lasts, every layer's attention is written down, forward pass after forward pass. One prompt at a time.

    Raises UsageError where the decoder does not show its attention.
    """
    seen: list[Layer] = []

    def write(module: Any, _: Any, output: Any) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, Tensor) and weights.dim() == 4:  # [1, h, q, keys]
            seen.append(Layer(weights[0].float().mean(0).cpu(), "Cross" in type(module).__name__))

    decoder = text_decoder(vlm)
    handles = [
        part.register_forward_hook(write) for part in decoder.modules() if type(part).__name__.endswith("Attention")
    ]
    implementation = decoder.config._attn_implementation
    try:
        decoder.set_attn_implementation("eager")  # the others never hold their weights
        yield seen
    finally:
        decoder.set_attn_implementation(implementation)
        for handle in handles:
            handle.remove()
    if not seen:
        raise UsageError("this model does not show its attention", hint="use --method occlusion")


def rolled_out(passes: list[list[Layer]], at: int) -> tuple[Tensor, Tensor]:
    """How much of what the position ``at`` knows came from where: [T] from the text's positions, [M] from beside them.

    Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928): in every layer half of a position stays as it is, and
    half is what it looks at. ``passes``: the layers of the prompt's forward pass, then of one pass for each token more.
    """
    prompt, length = passes[0], max(at + 1, next(layer.weights.shape[0] for layer in passes[0] if not layer.beside))
    mine = torch.zeros(length)  # [T]
    mine[at] = 1
    beside = torch.zeros(max([layer.weights.shape[1] for layer in prompt if layer.beside], default=0))  # [M]
    for depth in reversed(range(len(prompt))):
        layers = [one[depth] for one in passes[: 1 + at + 1 - prompt[depth].weights.shape[0]]]
        looked = mine.new_zeros(length if not layers[0].beside else len(beside))
        row = 0
        for layer in layers:
            count, keys = layer.weights.shape
            first = 0 if layer.beside else row + count - keys  # a sliding window's cache holds the last keys alone
            looked[first : first + keys] += mine[row : row + count] @ layer.weights
            row += count
        if layers[0].beside:
            beside = beside + looked / 2
            mine = mine / 2
        else:
            mine = mine / 2 + looked / 2
    return mine, beside
