"""One token's queries against all keys that are kept, and the values by the weights that come of it.

Shapes: H heads, K heads of keys and values, G = H / K heads that share them, E width of a head padded to 16 lanes, S
positions there is room for.

Keys lie as [K, S / 16, E, 16], so that sixteen positions are the lanes and no sum runs across them; values lie as
[K, S, E], where the lanes are the head's width. Both are float32 or bfloat16, as transformers' cache has them. Threads
share the positions, not the heads: each makes its own softmax over its part, and ``merge`` joins the parts as in
FlashAttention (arXiv 2205.14135), so that every head uses every thread and each key is read from memory once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlmcli.models.cpu.compiled.kernels import (
    HEADS_AT_ONCE,
    bfloat16_scores,
    bfloat16_values,
    float32_scores,
    float32_values,
)
from vlmcli.models.cpu.compiled.lanes import (
    LANES,
    add,
    compiled,
    div,
    exp,
    fma,
    get_f32,
    larger,
    largest,
    load_f32,
    mul,
    negative,
    put_bf16,
    put_f32,
    splat,
    store_f32,
    total,
)

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_NOTHING = np.float32(-np.inf)


@compiled
def tanh(value):
    """In all lanes; exact to float32 around 1, to 1e-7 around 0."""
    twice = exp(add(value, value))
    return add(splat(_ONE), negative(div(splat(_TWO), add(twice, splat(_ONE)))))


@compiled
def cap(value, limit):
    """Gemma's soft cap: ``limit * tanh(value / limit)``."""
    return mul(tanh(mul(value, splat(_ONE / limit))), splat(limit))


# Positions that are worked on at once: their keys, values and scores stay in the first-level cache between two heads.
_TILE = 128
_STRIDE = 4 * _TILE


def _for_heads(kernels: Sequence[Any]) -> Any:
    """A kernel for any number of heads: in fours, and what is left of them."""
    one, two, three, four = kernels

    @compiled
    def of_heads(read, next_read, x, x_stride, heads, width, out, out_stride, count):
        done = 0
        while done < heads:
            a, o, left = x + done * x_stride, out + done * out_stride, heads - done
            if left >= HEADS_AT_ONCE:
                four(read, next_read, a, x_stride, width, o, out_stride, count)
            elif left == 3:
                three(read, next_read, a, x_stride, width, o, out_stride, count)
            elif left == 2:
                two(read, next_read, a, x_stride, width, o, out_stride, count)
            else:
                one(read, next_read, a, x_stride, width, o, out_stride, count)
            done += HEADS_AT_ONCE

    return of_heads


_scores_f32, _scores_bf16 = _for_heads(float32_scores), _for_heads(bfloat16_scores)
_values_f32, _values_bf16 = _for_heads(float32_values), _for_heads(bfloat16_values)


@compiled
def keep(is_bf16, keys, values, room, width, head_width, position, key, value):
    """Write one head's key and value of ``position``; what pads them to E stays zero."""
    size = 2 if is_bf16 else 4
    k = keys + (position // LANES * width * LANES + position % LANES) * size
    v = values + position * width * size
    for i in range(head_width):
        if is_bf16:
            put_bf16(k + i * LANES * size, get_f32(key + 4 * i))
            put_bf16(v + i * size, get_f32(value + 4 * i))
        else:
            put_f32(k + i * LANES * size, get_f32(key + 4 * i))
            put_f32(v + i * size, get_f32(value + 4 * i))


@compiled
def attend(is_bf16, keys, values, queries, heads, width, first, last, scale, limit, scores, out, about):
    """Heads [G, E] that share keys and values, over positions ``first`` to ``last``.

    Writes the sums of values [G, E] without their division, and to ``about`` [G, 2] the largest score and what to
    divide by. ``scores`` is scratch of [G, 128].
    """
    size = 2 if is_bf16 else 4
    for head in range(heads):
        put_f32(about + 8 * head, _NOTHING)
        put_f32(about + 8 * head + 4, _ZERO)
        for i in range(0, width, LANES):
            store_f32(out + 4 * (head * width + i), splat(_ZERO))
    tile = first // LANES * LANES
    while tile < last:
        end = min(tile + _TILE, last)
        blocks = (end - tile + LANES - 1) // LANES
        k, v = keys + tile * width * size, values + tile * width * size
        if is_bf16:
            _scores_bf16(k, v, queries, 4 * width, heads, width, scores, _STRIDE, blocks)
        else:
            _scores_f32(k, v, queries, 4 * width, heads, width, scores, _STRIDE, blocks)
        for head in range(heads):
            row = scores + head * _STRIDE
            _scale(row, blocks, scale, limit)
            for t in range(tile, first):
                put_f32(row + 4 * (t - tile), _NOTHING)
            for t in range(end, tile + blocks * LANES):
                put_f32(row + 4 * (t - tile), _NOTHING)
            _soften(row, blocks, out + 4 * head * width, width, about + 8 * head)
        next_k = k + _TILE * width * size
        if is_bf16:
            _values_bf16(v, next_k, scores, _STRIDE, heads, width, out, 4 * width, end - tile)
        else:
            _values_f32(v, next_k, scores, _STRIDE, heads, width, out, 4 * width, end - tile)
        tile = end


@compiled
def _scale(scores, blocks, scale, limit):
    by = splat(scale)
    for block in range(blocks):
        at = scores + 64 * block
        store_f32(at, mul(load_f32(at), by))
        if limit != _ZERO:
            store_f32(at, cap(load_f32(at), limit))


@compiled
def _soften(scores, blocks, out, width, about):
    """Scores of a tile -> their exponentials relative to the largest so far; earlier sums are brought to it too."""
    top = load_f32(scores)
    for block in range(1, blocks):
        top = larger(load_f32(scores + 64 * block), top)
    before = get_f32(about)
    now = max(before, largest(top))
    if now > before:
        shrink = np.exp(before - now)
        for i in range(0, width, LANES):
            store_f32(out + 4 * i, mul(load_f32(out + 4 * i), splat(shrink)))
        put_f32(about, now)
        put_f32(about + 4, get_f32(about + 4) * shrink)
    sums, base = splat(_ZERO), splat(-now)
    for block in range(blocks):
        weights = exp(add(load_f32(scores + 64 * block), base))
        store_f32(scores + 64 * block, weights)
        sums = add(sums, weights)
    put_f32(about + 4, get_f32(about + 4) + total(sums))


@compiled
def merge(parts, about, team, heads, width, head_width, out):
    """The threads' parts [team, H, E] and what is known about them [team, H, 2] -> out [H, head_width]."""
    for head in range(heads):
        top = _NOTHING
        for member in range(team):
            top = max(top, get_f32(about + 8 * (member * heads + head)))
        divisor = _ZERO
        for i in range(0, width, LANES):
            store_f32(out + 4 * (head * head_width + i), splat(_ZERO))
        for member in range(team):
            state = about + 8 * (member * heads + head)
            if get_f32(state) == _NOTHING:
                continue
            share = np.exp(get_f32(state) - top)
            divisor += share * get_f32(state + 4)
            part = parts + 4 * (member * heads + head) * width
            for i in range(0, width, LANES):
                o = out + 4 * (head * head_width + i)
                store_f32(o, fma(load_f32(part + 4 * i), splat(share), load_f32(o)))
        for i in range(0, width, LANES):
            o = out + 4 * (head * head_width + i)
            store_f32(o, mul(load_f32(o), splat(_ONE / divisor)))
