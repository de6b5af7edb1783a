"""The loops where the time goes, written as LLVM instructions: products of matrices, attention's scores and values.

They keep several sums in registers at once, as many as there are rows or heads; a loop over those while it is written
says in a few lines, and compiles in a moment, what would be a page for each number of them.

Shapes: R rows and W width of a matrix; G heads that share keys and values, E their width, a multiple of 16, T
positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from vlmcli.models.cpu.compiled.lanes import (
    BITS,
    F32,
    LANES,
    VEC,
    constant,
    multiply_add,
    operation,
    prefetch,
    read_bf16,
    read_bf16s,
    read_f32,
    read_f32s,
    read_i8,
    read_i8s,
    read_spread,
    sum_of,
    write,
)

Read = Callable[[Any, Any], Any]
"""Sixteen float32 from an address, or one."""

_ZERO = constant(VEC, 0.0)
_COUNT = types.int64


def _kernel(name: str, *kinds: Any) -> Callable[[Callable[..., None]], Any]:
    """An operation that is a function of its own, never written into its callers: else each of them is compiled anew
    with all of it, and a minute goes by."""

    def declare(emit: Callable[..., None]) -> Any:
        def call_it(builder: Any, *values: Any) -> None:
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            function = cgutils.get_or_insert_function(builder.module, kind, f"vlm_{name}")
            if function.is_declaration:
                function.linkage = "linkonce_odr"
                function.attributes.add("noinline")
                own = ir.IRBuilder(function.append_basic_block())
                emit(own, *function.args)
                own.ret_void()
            builder.call(function, values)

        return operation(types.void, *kinds)(call_it)

    return declare


class _Sums:
    """Vectors that a loop adds products to: LLVM keeps them in registers."""

    def __init__(self, builder: Any, count: int) -> None:
        self._builder = builder
        self._slots = [cgutils.alloca_once(builder, VEC) for _ in range(count)]
        for slot in self._slots:
            builder.store(_ZERO, slot)

    def add_product(self, index: int, a: Any, b: Any) -> None:
        slot = self._slots[index]
        self._builder.store(multiply_add(self._builder, a, b, self._builder.load(slot)), slot)

    def together(self, indices: Sequence[int]) -> Any:
        first, *others = (self._builder.load(self._slots[i]) for i in indices)
        for other in others:
            first = self._builder.fadd(first, other)
        return first


class _Address:
    """Arithmetic with addresses, in int64."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder, self.value = builder, value

    def __add__(self, bytes_: Any) -> _Address:
        more = BITS["i64"](bytes_) if isinstance(bytes_, int) else bytes_
        return _Address(self._builder, self._builder.add(self.value, more))

    def at(self, index: Any, size: int) -> _Address:
        """The address of an element of ``size`` bytes."""
        return self + self._builder.mul(index, BITS["i64"](size))


@contextmanager
def _loop(builder: Any, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
    """for index in range(start, stop, step)"""
    start = BITS["i64"](start) if isinstance(start, int) else start
    with cgutils.for_range_slice(builder, start, stop, BITS["i64"](step), BITS["i64"], inc=True) as (index, _):
        yield index


def _whole(builder: Any, count: Any, of: int) -> Any:
    """The largest multiple of a power of two that is not above ``count``."""
    return builder.and_(count, BITS["i64"](-of))


def _product_of_rows(read_many: Read, read_one: Read, size: int, rows: int, streams: int = 2) -> Any:
    """``rows`` rows of [R, W] weights of ``size`` bytes times values [W] -> as many float32 at ``out``.

    A value is used ``rows`` times once it is loaded; a row has ``streams`` sums, so that none waits for the one before.
    """

    @_kernel(f"rows_{size}_{rows}", *[_COUNT] * 4)
    def product(builder: Any, weights: Any, width: Any, values: Any, out: Any) -> None:
        step = builder.mul(width, BITS["i64"](size))
        lines = [_Address(builder, weights)]
        for _ in range(1, rows):
            lines.append(lines[-1] + step)
        x, o = _Address(builder, values), _Address(builder, out)
        sums = _Sums(builder, rows * streams)

        def add(k: Any, stream: int) -> None:
            value = read_f32s(builder, (x.at(k, 4) + 64 * stream).value)
            for row, line in enumerate(lines):
                weight = read_many(builder, (line.at(k, size) + size * LANES * stream).value)
                sums.add_product(row * streams + stream, weight, value)

        wide, whole = _whole(builder, width, streams * LANES), _whole(builder, width, LANES)
        with _loop(builder, 0, wide, streams * LANES) as k:
            prefetch(builder, lines[0].at(k, rows * size).value, rows * size * streams * LANES)
            for stream in range(streams):
                add(k, stream)
        with _loop(builder, wide, whole, LANES) as k:
            add(k, 0)
        for row, line in enumerate(lines):
            result = cgutils.alloca_once(builder, F32)
            builder.store(sum_of(builder, sums.together(range(row * streams, (row + 1) * streams))), result)
            with _loop(builder, whole, width) as k:
                product = builder.fmul(read_one(builder, line.at(k, size).value), read_f32(builder, x.at(k, 4).value))
                builder.store(builder.fadd(builder.load(result), product), result)
            write(builder, (o + 4 * row).value, builder.load(result), 4)

    return product


def _scores_of(read_many: Read, size: int, heads: int) -> Any:
    """queries [heads, E] x keys [blocks, E, 16] -> ``out`` [heads, 16 blocks]; heads lie ``…_stride`` bytes apart.

    ``values`` of the same positions are asked for meanwhile: they are read next.
    """

    @_kernel(f"scores_{size}_{heads}", *[_COUNT] * 8)
    def scores(
        builder: Any,
        keys: Any,
        values: Any,
        queries: Any,
        in_stride: Any,
        width: Any,
        out: Any,
        out_stride: Any,
        blocks: Any,
    ) -> None:
        with _loop(builder, 0, blocks) as block:
            start = builder.mul(builder.mul(block, width), BITS["i64"](LANES * size))
            k, v = _Address(builder, keys) + start, _Address(builder, values) + start
            sums = _Sums(builder, 2 * heads)
            with _loop(builder, 0, width, 2) as i:
                prefetch(builder, v.at(i, LANES * size).value, 2 * LANES * size, ahead=0)
                q = _Address(builder, queries).at(i, 4)
                pair = [read_many(builder, (k.at(i, LANES * size) + LANES * size * j).value) for j in range(2)]
                for head in range(heads):
                    for j, key in enumerate(pair):
                        sums.add_product(2 * head + j, read_spread(builder, (q + 4 * j).value), key)
                    q += in_stride
            o = _Address(builder, out).at(block, 4 * LANES)
            for head in range(heads):
                write(builder, o.value, sums.together((2 * head, 2 * head + 1)), 4)
                o += out_stride

    return scores


def _values_of(read_many: Read, size: int, heads: int) -> Any:
    """weights [heads, T] x values [T, E], added to ``out`` [heads, E]; heads lie ``…_stride`` bytes apart.

    As many bytes of ``keys`` are asked for meanwhile: those of the next positions.
    """

    @_kernel(f"values_{size}_{heads}", *[_COUNT] * 8)
    def weighted(
        builder: Any,
        values: Any,
        keys: Any,
        weights: Any,
        in_stride: Any,
        width: Any,
        out: Any,
        out_stride: Any,
        positions: Any,
    ) -> None:
        one_row = builder.mul(width, BITS["i64"](size))
        with _loop(builder, 0, width, LANES) as i:
            sums = _Sums(builder, 2 * heads)
            k = _Address(builder, keys).at(builder.mul(i, positions), size)

            def add(t: Any, count: int, i: Any = i, k: _Address = k, sums: _Sums = sums) -> None:
                prefetch(builder, k.at(t, LANES * size).value, count * LANES * size, ahead=0)
                v = _Address(builder, values).at(i, size) + builder.mul(t, one_row)
                w = _Address(builder, weights).at(t, 4)
                rows = [read_many(builder, v.value)]
                if count == 2:
                    rows.append(read_many(builder, (v + one_row).value))
                for head in range(heads):
                    for j, row in enumerate(rows):
                        sums.add_product(2 * head + j, read_spread(builder, (w + 4 * j).value), row)
                    w += in_stride

            even = _whole(builder, positions, 2)
            with _loop(builder, 0, even, 2) as t:
                add(t, 2)
            with _loop(builder, even, positions) as t:
                add(t, 1)
            o = _Address(builder, out).at(i, 4)
            for head in range(heads):
                total = builder.fadd(read_f32s(builder, o.value), sums.together((2 * head, 2 * head + 1)))
                write(builder, o.value, total, 4)
                o += out_stride

    return weighted


ROWS_AT_ONCE = 4
float32_rows, float32_row = (_product_of_rows(read_f32s, read_f32, 4, rows) for rows in (ROWS_AT_ONCE, 1))
bfloat16_rows, bfloat16_row = (_product_of_rows(read_bf16s, read_bf16, 2, rows) for rows in (ROWS_AT_ONCE, 1))
int8_rows, int8_row = (_product_of_rows(read_i8s, read_i8, 1, rows) for rows in (ROWS_AT_ONCE, 1))

HEADS_AT_ONCE = 4
_FORMS = ((read_f32s, 4), (read_bf16s, 2))
float32_scores, bfloat16_scores = ([_scores_of(read, size, n) for n in range(1, 5)] for read, size in _FORMS)
float32_values, bfloat16_values = ([_values_of(read, size, n) for n in range(1, 5)] for read, size in _FORMS)
