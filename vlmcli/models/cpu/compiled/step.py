"""One token through all layers, as one member of a team of threads runs it.

Shapes: D width, H heads, K heads of keys and values, e width of a head, E the same padded to 16, I width of the
feed-forward layer, V vocabulary, L layers.

Each member keeps the residual stream and the norms for itself, for they cost less than waiting would; what is shared is
what a matrix product of all members makes. They wait for each other five times a layer and once at the end. Everything
that differs between families is a number in ``shape``, ``reals`` or ``layers``.
"""

from __future__ import annotations

import math

import numpy as np

from vlmcli.models.cpu.compiled.attention import attend, cap, keep, merge, tanh
from vlmcli.models.cpu.compiled.lanes import (
    LANES,
    add,
    arrive,
    compiled,
    count_of,
    div,
    exp,
    fma,
    get_f32,
    give_way,
    load_f32,
    mul,
    negative,
    put_f32,
    relax,
    splat,
    store_f32,
    total,
)
from vlmcli.models.cpu.compiled.products import INT4, multiply, round_to_bytes
from vlmcli.models.cpu.tables import KEYS, KIND, ROWS, VALUES, WIDTH

# The matrices of a layer, in the order of the table.
QUERY, KEY, VALUE, OUT, GATE, UP, DOWN = range(7)

# shape: int64
(
    N_LAYERS,
    D,
    HEADS,
    KV_HEADS,
    HEAD_WIDTH,
    PADDED,
    INNER,
    VOCABULARY,
    ROTATED,  # half of the part of a head that rope turns
    ROPES,
    ACTIVATION,
    CACHE_IS_BF16,
    ROOM,
    POSITION,
    ROPE_POSITION,
    TEAM,
) = range(16)
SILU, GELU_TANH = range(2)

# reals: float32
EPSILON, SCALE, SCORE_CAP, LOGIT_CAP = range(4)

# layers: int64. Norms are addresses of float32 [D] or [e], 0 where the family has none.
(
    NORM_IN,
    NORM_ATTENDED,  # behind attention, before it is added to the stream
    NORM_FEED,
    NORM_FED,  # the same behind the feed-forward layer
    NORM_QUERY,
    NORM_KEY,
) = range(6)
WINDOW, ROPE = 8, 9  # positions a layer looks at, its own among them (0: all); which rotary embedding it has

# Where things lie: float32 offsets in shared and private memory, in the order in which ``memory`` lists them.
S_QKV, S_PARTS, S_ABOUT, S_OUT, S_GATE, S_UP = range(6)
P_STREAM, P_NORMED, P_QUERIES, P_KEY, P_SCORES, P_TURNS, P_PACKED = range(7)

_ZERO, _ONE = np.float32(0), np.float32(1)
_WAITS = 5
SPINS = 2000


def waits_of(layers: int) -> int:
    """How often a member waits for the others in one step."""
    return _WAITS * layers + 1


@compiled
def _wait(sync, goal):
    """Until all have come as far; False where the step was given up. Spins for a moment, then lets others run."""
    arrive(sync)
    spins = 0
    while count_of(sync) < goal:
        if count_of(sync + 64) != 0:
            return False
        spins += 1
        if spins < SPINS:
            relax()
        else:
            give_way()
    return True


@compiled
def _share(rows, member, team):
    """The rows of a member: whole sixteens, as even as they go."""
    blocks = (rows + LANES - 1) // LANES
    first, last = blocks * member // team * LANES, blocks * (member + 1) // team * LANES
    return min(first, rows), min(last, rows)


@compiled
def _norm(values, weights, width, epsilon, out):
    """RMS norm (arXiv 1910.07467); ``values`` and ``weights`` are padded with zeros to whole lanes."""
    squares = splat(_ZERO)
    for i in range(0, width, LANES):
        v = load_f32(values + 4 * i)
        squares = fma(v, v, squares)
    by = splat(_ONE / np.sqrt(total(squares) / np.float32(width) + epsilon))
    for i in range(0, width, LANES):
        store_f32(out + 4 * i, mul(mul(load_f32(values + 4 * i), by), load_f32(weights + 4 * i)))


@compiled
def _add_to(stream, values, width):
    for i in range(0, width, LANES):
        store_f32(stream + 4 * i, add(load_f32(stream + 4 * i), load_f32(values + 4 * i)))


@compiled
def _product(matrix, values, packed, out, member, team):
    first, last = _share(matrix[ROWS], member, team)
    multiply(matrix, values, packed, out, first, last)


@compiled
def _pack(matrix, values, packed):
    if matrix[KIND] == INT4:
        round_to_bytes(values, matrix[WIDTH], packed)


@compiled
def _head(source, norm, width, epsilon, turns, rotated, out):
    """A query's or key's head: normed where the family does, and turned (rope, arXiv 2104.09864)."""
    for i in range(width):
        put_f32(out + 4 * i, get_f32(source + 4 * i))
    if norm != 0:
        _norm(out, norm, width, epsilon, out)
    for i in range(rotated):
        a, b = out + 4 * i, out + 4 * (i + rotated)
        x, y, cos, sin = get_f32(a), get_f32(b), get_f32(turns + 8 * i), get_f32(turns + 8 * i + 4)
        put_f32(a, x * cos - y * sin)
        put_f32(b, y * cos + x * sin)


@compiled
def _activate(gate, up, kind, first, last):
    """gate = activation(gate) * up, in whole lanes."""
    one, half, c, b = (
        splat(_ONE),
        splat(np.float32(0.5)),
        splat(np.float32(math.sqrt(2 / math.pi))),
        splat(np.float32(0.044715)),
    )
    for i in range(first, last, LANES):
        g = load_f32(gate + 4 * i)
        if kind == SILU:
            a = div(g, add(one, exp(negative(g))))
        else:
            a = mul(mul(half, g), add(one, tanh(mul(c, fma(mul(mul(g, g), g), b, g)))))
        store_f32(gate + 4 * i, mul(a, load_f32(up + 4 * i)))


@compiled
def _attention(member, shape, reals, layer, qkv, private, parts, about):
    """This member's part of the positions, of every head; who has the last of them also keeps the new key and value."""
    heads, kv_heads, e, width, rotated = shape[HEADS], shape[KV_HEADS], shape[HEAD_WIDTH], shape[PADDED], shape[ROTATED]
    position, team, room, is_bf16 = shape[POSITION], shape[TEAM], shape[ROOM], shape[CACHE_IS_BF16] != 0
    queries, key, scores = private[P_QUERIES], private[P_KEY], private[P_SCORES]
    turns = private[P_TURNS] + 8 * rotated * layer[ROPE]
    size, shared = 2 if is_bf16 else 4, heads // kv_heads
    start = max(position + 1 - layer[WINDOW], 0) if layer[WINDOW] > 0 else 0
    begin = start // LANES * LANES
    first, last = _share(position + 1 - begin, member, team)
    first, last = max(begin + first, start), begin + last
    for head in range(heads):
        _head(qkv + 4 * head * e, layer[NORM_QUERY], e, reals[EPSILON], turns, rotated, queries + 4 * head * width)
    for head in range(kv_heads):
        keys = layer[KEYS] + head * room * width * size
        values = layer[VALUES] + head * room * width * size
        if first <= position < last:
            _head(qkv + 4 * (heads + head) * e, layer[NORM_KEY], e, reals[EPSILON], turns, rotated, key)
            value = qkv + 4 * (heads + kv_heads + head) * e
            keep(is_bf16, keys, values, room, width, e, position, key, value)
        at = member * heads + head * shared
        attend(
            is_bf16,
            keys,
            values,
            queries + 4 * head * shared * width,
            shared,
            width,
            first,
            last,
            reals[SCALE],
            reals[SCORE_CAP],
            scores,
            parts + 4 * at * width,
            about + 8 * at,
        )


@compiled
def _turns(shape, frequencies, scales, turns):
    """Cosine and sine of each frequency at this position [ropes, rotated, 2]; the angle in float32 as transformers'."""
    rotated = shape[ROTATED]
    for rope in range(shape[ROPES]):
        for i in range(rotated):
            angle = np.float32(shape[ROPE_POSITION]) * frequencies[rope, i]
            at = turns + 8 * (rope * rotated + i)
            put_f32(at, np.float32(math.cos(np.float64(angle))) * scales[rope])
            put_f32(at + 4, np.float32(math.sin(np.float64(angle))) * scales[rope])


def step(
    member,
    goal,
    sync,
    shape,
    reals,
    table,
    head,
    layers,
    last_norm,
    ropes,
    rope_scales,
    shared,
    privates,
    embedding,
    logits,
):
    """Run ``member``'s part of a step; ``goal`` is what ``sync`` counts before it. Returns whether it was finished.

    table: int64 [L, 7, FIELDS]; head: int64 [FIELDS]; layers: int64 [L, LAYER_FIELDS]; ropes: float32 [ropes, e / 2].
    embedding: float32 [D padded]; logits: float32 [V padded].
    """
    d, heads, kv_heads, e, team = shape[D], shape[HEADS], shape[KV_HEADS], shape[HEAD_WIDTH], shape[TEAM]
    private = privates[member]
    stream, normed, packed, epsilon = private[P_STREAM], private[P_NORMED], private[P_PACKED], reals[EPSILON]
    qkv, out, gate, up = shared[S_QKV], shared[S_OUT], shared[S_GATE], shared[S_UP]
    _turns(shape, ropes, rope_scales, private[P_TURNS])
    for i in range(0, d, LANES):
        store_f32(stream + 4 * i, load_f32(embedding + 4 * i))
    for index in range(shape[N_LAYERS]):
        matrices, layer = table[index], layers[index]
        _norm(stream, layer[NORM_IN], d, epsilon, normed)
        _pack(matrices[QUERY], normed, packed)
        _product(matrices[QUERY], normed, packed, qkv, member, team)
        _product(matrices[KEY], normed, packed, qkv + 4 * heads * e, member, team)
        _product(matrices[VALUE], normed, packed, qkv + 4 * (heads + kv_heads) * e, member, team)
        goal += team
        if not _wait(sync, goal):
            return False
        _attention(member, shape, reals, layer, qkv, private, shared[S_PARTS], shared[S_ABOUT])
        goal += team
        if not _wait(sync, goal):
            return False
        merge(shared[S_PARTS], shared[S_ABOUT], team, heads, shape[PADDED], e, normed)
        _pack(matrices[OUT], normed, packed)
        _product(matrices[OUT], normed, packed, out, member, team)
        goal += team
        if not _wait(sync, goal):
            return False
        if layer[NORM_ATTENDED] != 0:
            _norm(out, layer[NORM_ATTENDED], d, epsilon, normed)
            _add_to(stream, normed, d)
        else:
            _add_to(stream, out, d)
        _norm(stream, layer[NORM_FEED], d, epsilon, normed)
        _pack(matrices[GATE], normed, packed)
        _product(matrices[GATE], normed, packed, gate, member, team)
        _product(matrices[UP], normed, packed, up, member, team)
        first, last = _share(shape[INNER], member, team)
        _activate(gate, up, shape[ACTIVATION], first, last)
        goal += team
        if not _wait(sync, goal):
            return False
        _pack(matrices[DOWN], gate, packed)
        _product(matrices[DOWN], gate, packed, out, member, team)
        goal += team
        if not _wait(sync, goal):
            return False
        if layer[NORM_FED] != 0:
            _norm(out, layer[NORM_FED], d, epsilon, normed)
            _add_to(stream, normed, d)
        else:
            _add_to(stream, out, d)
    _norm(stream, last_norm, d, epsilon, normed)
    _pack(head, normed, packed)
    _product(head, normed, packed, logits, member, team)
    if reals[LOGIT_CAP] != _ZERO:
        first, last = _share(shape[VOCABULARY], member, team)
        for i in range(first, last, LANES):
            store_f32(logits + 4 * i, cap(load_f32(logits + 4 * i), reals[LOGIT_CAP]))
    return _wait(sync, goal + team)
