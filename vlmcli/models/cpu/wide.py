"""Matrix products of bfloat16 on a processor without instructions for it: in float32, for the moment.

torch imitates them there, which takes more than twice as long as float32 does. The values that are multiplied, and what
is made of them, stay bfloat16; only sums are less rounded.

Shapes: N rows of values, W width, R outputs.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

MANY_ROWS = 16
"""Rows from which on a product takes longer than making the weights float32."""

MOST_WEIGHTS = 32_000_000
"""Of a matrix: its float32 copy takes 128 MB. Larger ones are output heads, which rarely get many rows."""


def wide_products(model: Any) -> Callable[[], AbstractContextManager[Any]]:
    """What a model's forward passes run in: such products where it is on a CPU that imitates bfloat16, else nothing."""
    if model.device.type == "cpu" and model.dtype == torch.bfloat16 and imitates_bfloat16():
        return WideProducts
    return nullcontext


def imitates_bfloat16() -> bool:
    """Whether this is an x86 processor that has no instructions for bfloat16."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return platform.machine().lower() in ("x86_64", "amd64") and known is not None and not known()


class WideProducts(TorchFunctionMode):
    """Within it linear layers of bfloat16 compute in float32: [..., N, W] -> [..., N, R], bfloat16 as before."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any call of torch."""
        named = kwargs or {}
        if function is nn.functional.linear and _pays(*args, **named):
            return _in_float32(*args, **named)
        return function(*args, **named)


def _pays(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    rows = input.numel() // max(input.shape[-1], 1)
    return input.dtype == torch.bfloat16 and rows >= MANY_ROWS and weight.numel() <= MOST_WEIGHTS


def _in_float32(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    wide = None if bias is None else bias.float()
    return nn.functional.linear(input.float(), weight.float(), wide).to(input.dtype)
