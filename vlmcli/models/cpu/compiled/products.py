"""A matrix times a vector, for each way in which weights are kept; bound by memory, so every weight is read once.

Shapes: R rows (outputs), W width (inputs) of a matrix. A matrix is a row of the table that ``weights`` makes: its kind,
rows and width, and the addresses of weights, scales and bias (0: none).

- float32, bfloat16: as torch has them, [R, W].
- int8: [R, W], and a float32 scale for each row.
- int4: [R / 16, W / 32, 4, 16, 4] bytes: of sixteen rows, side by side, one group of 32 columns after the other. A byte
  has two columns: the low nibble one of the group's first half, the high nibble the one 16 further on. Scales are
  bfloat16 [R / 16, W / 32, 16]. What is multiplied is rounded to int8 in the same groups of 32, as llama.cpp does for
  Q4_0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vlmcli.models.cpu import tables
from vlmcli.models.cpu.compiled.kernels import (
    ROWS_AT_ONCE,
    bfloat16_row,
    bfloat16_rows,
    float32_row,
    float32_rows,
    int8_row,
    int8_rows,
)
from vlmcli.models.cpu.compiled.lanes import (
    LANES,
    add,
    as_floats,
    compiled,
    dot_bytes,
    fma,
    get_f32,
    high_nibbles,
    larger,
    largest,
    load_bf16,
    load_f32,
    load_words,
    low_nibbles,
    mul,
    negative,
    prefetch_64,
    prefetch_256,
    put_f32,
    rounded,
    splat,
    splat_word,
    spread_f32,
    spread_word,
    store_bytes,
    store_f32,
    total,
)
from vlmcli.models.cpu.tables import BIAS, GROUP, KIND, SCALES, WEIGHTS, WIDTH

FLOAT32, BFLOAT16, INT8, INT4 = (kind.number for kind in tables.KINDS)

_ZERO = np.float32(0)


def _all_rows(several: Any, one: Any, size: int) -> Any:
    """Rows ``first`` to ``last`` of [R, W] weights of ``size`` bytes, four at a time and what is left of them."""

    @compiled
    def rows(weights, width, values, out, first, last):
        row = first
        while row + ROWS_AT_ONCE <= last:
            several(weights + row * width * size, width, values, out + 4 * row)
            row += ROWS_AT_ONCE
        while row < last:
            one(weights + row * width * size, width, values, out + 4 * row)
            row += 1

    return rows


_float32_rows = _all_rows(float32_rows, float32_row, 4)
_bfloat16_rows = _all_rows(bfloat16_rows, bfloat16_row, 2)
_int8_rows = _all_rows(int8_rows, int8_row, 1)


@compiled
def round_to_bytes(values, width, packed):
    """Values as int8 in groups of 32, for ``int4``: bytes [W], then for each group its scale and 8 times its sum."""
    about = packed + width
    for start in range(0, width, GROUP):
        low, high = load_f32(values + 4 * start), load_f32(values + 4 * start + 64)
        top = largest(larger(larger(low, negative(low)), larger(high, negative(high))))
        inverse = splat(np.float32(127) / top if top > _ZERO else _ZERO)
        low, high = rounded(mul(low, inverse)), rounded(mul(high, inverse))
        store_bytes(packed + start, low)
        store_bytes(packed + start + 16, high)
        put_f32(about + start // GROUP * 8, top / np.float32(127))
        put_f32(about + start // GROUP * 8 + 4, np.float32(8) * total(add(low, high)))


@compiled
def _int4_rows(weights, scales, width, packed, out, first, last):
    """Sixteen rows, one in a lane: no sum runs across lanes, and a value is spread over all of them."""
    groups, about = width // GROUP, packed + width
    for block in range(first // LANES, (last + LANES - 1) // LANES):
        w, s = weights + block * groups * 256, scales + block * groups * 32
        sums = splat(_ZERO)
        for group in range(groups):
            x = packed + group * GROUP
            low = high = splat_word(0)
            prefetch_256(w)
            prefetch_64(s)
            for part in range(4):
                both = load_words(w + 64 * part)
                low = dot_bytes(low, low_nibbles(both), spread_word(x + 4 * part))
                high = dot_bytes(high, high_nibbles(both), spread_word(x + 4 * part + 16))
            product = add(as_floats(low), as_floats(high))
            product = add(product, splat(-get_f32(about + 8 * group + 4)))
            sums = fma(mul(product, spread_f32(about + 8 * group)), load_bf16(s), sums)
            w += 256
            s += 32
        store_f32(out + 64 * block, sums)


@compiled
def multiply(matrix, values, packed, out, first, last):
    """``out[first:last]`` = rows of ``matrix`` times ``values`` [W], scaled, and the bias added.

    ``first`` is a multiple of 16; ``out`` may be written up to the next one after ``last``. ``packed`` is what
    ``round_to_bytes`` made of the values, for int4.
    """
    if first >= last:
        return
    kind, width, weights, scales, bias = matrix[KIND], matrix[WIDTH], matrix[WEIGHTS], matrix[SCALES], matrix[BIAS]
    if kind == BFLOAT16:
        _bfloat16_rows(weights, width, values, out, first, last)
    elif kind == FLOAT32:
        _float32_rows(weights, width, values, out, first, last)
    elif kind == INT8:
        _int8_rows(weights, width, values, out, first, last)
        for row in range(first, last):
            put_f32(out + 4 * row, get_f32(out + 4 * row) * get_f32(scales + 4 * row))
    else:
        _int4_rows(weights, scales, width, packed, out, first, last)
    if bias != 0:
        for row in range(first, last):
            put_f32(out + 4 * row, get_f32(out + 4 * row) + get_f32(bias + 4 * row))
