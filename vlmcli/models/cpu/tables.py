"""The numbers by which Python and compiled code speak of weights; here, so that neither needs numba to be named.

``compiled.products`` and ``compiled.step`` say what the fields mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

KIND, ROWS, WIDTH, WEIGHTS, SCALES, BIAS = range(6)
FIELDS = 6
MATRICES = 7
NORMS = slice(0, 6)
KEYS, VALUES = 6, 7
LAYER_FIELDS = 10
GROUP = 32  # columns of an int4 matrix that share a scale


Bits = Literal["int8", "int4"]
"""What a user can ask a decoder's matrices to be kept in."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A way in which weights are kept; ``plain`` ones are torch's own."""

    number: int
    name: str
    dtype: torch.dtype
    bytes_per_weight: float
    plain: bool = False


FLOAT32 = Kind(0, "float32", torch.float32, 4.0, plain=True)
BFLOAT16 = Kind(1, "bfloat16", torch.bfloat16, 2.0, plain=True)
INT8 = Kind(2, "int8", torch.int8, 1.0)
INT4 = Kind(3, "int4", torch.uint8, 0.5 + 2 / GROUP)
KINDS = (FLOAT32, BFLOAT16, INT8, INT4)
