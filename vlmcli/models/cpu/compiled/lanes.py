"""What compiled code computes with: sixteen float32 at once, plain memory by its address, and waiting for each other.

Sixteen lanes are one AVX-512 register, two of AVX2, four of NEON: LLVM splits them as the processor needs, so that one
source serves all. Loops over lanes are written out here instead of left to the auto-vectoriser, which takes 256 bits of
512 at best and none where it cannot prove that two arrays do not overlap.

Addresses are plain int64: weights stay where torch has them, and one table of numbers describes all layers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import numba
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16

BITS = {name: ir.IntType(bits) for name, bits in {"i8": 8, "i16": 16, "i32": 32, "i64": 64}.items()}
F32 = ir.FloatType()
VEC = ir.VectorType(F32, LANES)
INTS = ir.VectorType(BITS["i32"], LANES)

# Reordering sums is safe here; flags that assume away NaN and infinity are not, for they would hide broken weights.
_FAST = {"reassoc", "contract", "arcp", "nsz"}
compiled = partial(numba.njit, fastmath=_FAST, error_model="numpy", nogil=True)


class Lanes(types.Type):
    """Sixteen float32, by value."""

    def __init__(self) -> None:
        super().__init__("Lanes")


class Words(types.Type):
    """Sixteen int32, by value."""

    def __init__(self) -> None:
        super().__init__("Words")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend: Any) -> None:
        super().__init__(manager, frontend, VEC)


@register_model(Words)
class _WordsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend: Any) -> None:
        super().__init__(manager, frontend, INTS)


lanes_t, words_t, f32_t, i64_t = Lanes(), Words(), types.float32, types.int64


def operation(result: Any, *kinds: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make ``emit(builder, *values)``, which writes LLVM instructions, a function of compiled code."""

    def declare(emit: Callable[..., Any]) -> Any:
        def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            made = emit(builder, *values)
            return context.get_dummy_value() if result is types.void else made

        def typing(*_: Any) -> Any:
            return result(*kinds), lower

        names = ["context", *(f"a{i}" for i in range(len(kinds)))]
        typing.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in names])  # type: ignore[attr-defined]
        return intrinsic(typing)

    return declare


def call(builder: Any, name: str, result: Any, values: Any, fastmath: Any = ()) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [value.type for value in values]), name
    )
    return builder.call(function, values, fastmath=fastmath)


def constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def read(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def write(builder: Any, address: Any, value: Any, align: int) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)


def spread(builder: Any, value: Any) -> Any:
    kind = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, BITS["i32"](0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), constant(INTS, 0))


# --- memory: scalars


def read_f32(builder: Any, address: Any) -> Any:
    return read(builder, address, F32, 4)


get_f32 = operation(f32_t, i64_t)(read_f32)


@operation(types.void, i64_t, f32_t)
def put_f32(builder: Any, address: Any, value: Any) -> None:
    write(builder, address, value, 4)


def read_bf16(builder: Any, address: Any) -> Any:
    """bfloat16 is the upper half of a float32."""
    word = builder.zext(read(builder, address, BITS["i16"], 2), BITS["i32"])
    return builder.bitcast(builder.shl(word, BITS["i32"](16)), F32)


@operation(types.void, i64_t, f32_t)
def put_bf16(builder: Any, address: Any, value: Any) -> None:
    """Rounded to the nearest, ties to even; of a NaN only that it is one is kept."""
    word = builder.bitcast(value, BITS["i32"])
    odd = builder.and_(builder.lshr(word, BITS["i32"](16)), BITS["i32"](1))
    rounded = builder.add(builder.add(word, odd), BITS["i32"](0x7FFF))
    rounded = builder.select(builder.fcmp_unordered("uno", value, value), BITS["i32"](0x7FC00000), rounded)
    write(builder, address, builder.trunc(builder.lshr(rounded, BITS["i32"](16)), BITS["i16"]), 2)


def read_i8(builder: Any, address: Any) -> Any:
    return builder.sitofp(builder.sext(read(builder, address, BITS["i8"], 1), BITS["i32"]), F32)


# --- memory: sixteen in a row


def read_f32s(builder: Any, address: Any) -> Any:
    return read(builder, address, VEC, 4)


load_f32 = operation(lanes_t, i64_t)(read_f32s)


@operation(types.void, i64_t, lanes_t)
def store_f32(builder: Any, address: Any, value: Any) -> None:
    write(builder, address, value, 4)


def read_bf16s(builder: Any, address: Any) -> Any:
    words = builder.zext(read(builder, address, ir.VectorType(BITS["i16"], LANES), 2), INTS)
    return builder.bitcast(builder.shl(words, constant(INTS, 16)), VEC)


load_bf16 = operation(lanes_t, i64_t)(read_bf16s)


def read_i8s(builder: Any, address: Any) -> Any:
    return builder.sitofp(builder.sext(read(builder, address, ir.VectorType(BITS["i8"], LANES), 1), INTS), VEC)


@operation(words_t, i64_t)
def load_words(builder: Any, address: Any) -> Any:
    return read(builder, address, INTS, 4)


def read_spread(builder: Any, address: Any) -> Any:
    """One float32 in all lanes."""
    return spread(builder, read(builder, address, F32, 4))


spread_f32 = operation(lanes_t, i64_t)(read_spread)


@operation(words_t, i64_t)
def spread_word(builder: Any, address: Any) -> Any:
    """Four bytes in all lanes."""
    return spread(builder, read(builder, address, BITS["i32"], 4))


# --- memory: what is read next

AHEAD = 8192
"""Bytes between what is read and what is asked for, so that sums go on while memory answers. The processor guesses by
itself what comes next, but not across the end of a page, and hardly where several rows are read in turn."""


def prefetch(builder: Any, address: Any, reads: int, ahead: int = AHEAD) -> None:
    """Ask for what lies ``ahead`` of an address, where a loop goes on by ``reads`` bytes; memory need not be there."""
    to_read, near, data = (BITS["i32"](hint) for hint in (0, 3, 1))
    for line in range(ahead, ahead + reads, 64):
        pointer = builder.inttoptr(builder.add(address, BITS["i64"](line)), BITS["i8"].as_pointer())
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, to_read, near, data])


@operation(types.void, i64_t)
def prefetch_256(builder: Any, address: Any) -> None:
    prefetch(builder, address, 256)


@operation(types.void, i64_t)
def prefetch_64(builder: Any, address: Any) -> None:
    prefetch(builder, address, 64)


# --- arithmetic


@operation(lanes_t, f32_t)
def splat(builder: Any, value: Any) -> Any:
    return spread(builder, value)


@operation(words_t, i64_t)
def splat_word(builder: Any, value: Any) -> Any:
    return spread(builder, builder.trunc(value, BITS["i32"]))


@operation(lanes_t, lanes_t, lanes_t)
def add(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


@operation(types.void, i64_t, lanes_t)
def store_bytes(builder: Any, address: Any, value: Any) -> None:
    """Whole numbers between -128 and 127, a byte each."""
    write(builder, address, builder.trunc(builder.fptosi(value, INTS), ir.VectorType(BITS["i8"], LANES)), 1)


@operation(lanes_t, lanes_t)
def rounded(builder: Any, value: Any) -> Any:
    """To the nearest whole number, ties to even."""
    return call(builder, "llvm.nearbyint.v16f32", VEC, [value])


@operation(lanes_t, lanes_t)
def negative(builder: Any, value: Any) -> Any:
    return builder.fneg(value)


@operation(lanes_t, lanes_t, lanes_t)
def sub(builder: Any, a: Any, b: Any) -> Any:
    return builder.fsub(a, b)


@operation(lanes_t, lanes_t, lanes_t)
def mul(builder: Any, a: Any, b: Any) -> Any:
    return builder.fmul(a, b)


@operation(lanes_t, lanes_t, lanes_t)
def div(builder: Any, a: Any, b: Any) -> Any:
    return builder.fdiv(a, b)


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``; on a processor without it a product and a sum."""
    return call(builder, "llvm.fmuladd.v16f32", VEC, [a, b, c])


fma = operation(lanes_t, lanes_t, lanes_t, lanes_t)(multiply_add)


@operation(lanes_t, lanes_t, lanes_t)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of two; ``b`` where ``a`` is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def sum_of(builder: Any, value: Any) -> Any:
    return call(builder, "llvm.vector.reduce.fadd.v16f32", F32, [ir.Constant(F32, 0.0), value], ("reassoc",))


total = operation(f32_t, lanes_t)(sum_of)


@operation(f32_t, lanes_t)
def largest(builder: Any, value: Any) -> Any:
    return call(builder, "llvm.vector.reduce.fmax.v16f32", F32, [value])


@operation(lanes_t, lanes_t)
def exp(builder: Any, value: Any) -> Any:
    """e^x within 2 ulp between -87 and 88, and their values beyond; NaN stays NaN. Cephes' expf without branches."""
    for sign, bound in (("<", -87.0), (">", 88.0)):
        limit = constant(VEC, bound)
        value = builder.select(builder.fcmp_ordered(sign, value, limit), limit, value)
    halves = builder.fmul(value, constant(VEC, 1.44269504088896341))
    power = call(builder, "llvm.nearbyint.v16f32", VEC, [halves])
    rest = multiply_add(builder, power, constant(VEC, -0.693359375), value)
    rest = multiply_add(builder, power, constant(VEC, 2.12194440e-4), rest)
    series = constant(VEC, 1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        series = multiply_add(builder, series, rest, constant(VEC, factor))
    series = multiply_add(builder, builder.fmul(rest, rest), series, builder.fadd(rest, constant(VEC, 1.0)))
    exponent = builder.shl(builder.add(builder.fptosi(power, INTS), constant(INTS, 127)), constant(INTS, 23))
    return builder.fmul(series, builder.bitcast(exponent, VEC))


@operation(lanes_t, words_t)
def as_floats(builder: Any, value: Any) -> Any:
    return builder.sitofp(value, VEC)


# --- products of bytes, for int4


def _has_vnni() -> bool:
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512vnni") and features.get("avx512f"))


VNNI = _has_vnni()


@operation(words_t, words_t)
def low_nibbles(builder: Any, value: Any) -> Any:
    return builder.and_(value, constant(INTS, 0x0F0F0F0F))


@operation(words_t, words_t)
def high_nibbles(builder: Any, value: Any) -> Any:
    return builder.and_(builder.lshr(value, constant(INTS, 4)), constant(INTS, 0x0F0F0F0F))


@operation(words_t, words_t, words_t, words_t)
def dot_bytes(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """In each lane the sum, and four products of an unsigned byte (at most 15) and a signed one."""
    if VNNI:
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", INTS, [total, unsigned, signed])
    halves = ir.VectorType(BITS["i16"], 2 * LANES)
    eight, low = constant(halves, 8), constant(halves, 0x00FF)
    weights, values = builder.bitcast(unsigned, halves), builder.bitcast(signed, halves)
    even = builder.mul(builder.and_(weights, low), builder.ashr(builder.shl(values, eight), eight))
    odd = builder.mul(builder.lshr(weights, eight), builder.ashr(values, eight))
    pairs = builder.bitcast(builder.add(even, odd), INTS)  # at most 2 x 15 x 127: int16 holds it
    sixteen = constant(INTS, 16)
    both = builder.add(builder.ashr(builder.shl(pairs, sixteen), sixteen), builder.ashr(pairs, sixteen))
    return builder.add(total, both)


# --- several threads


@operation(types.void, i64_t)
def arrive(builder: Any, counter: Any) -> None:
    pointer = builder.inttoptr(counter, BITS["i64"].as_pointer())
    builder.atomic_rmw("add", pointer, BITS["i64"](1), "seq_cst")


@operation(i64_t, i64_t)
def count_of(builder: Any, counter: Any) -> Any:
    return builder.load_atomic(builder.inttoptr(counter, BITS["i64"].as_pointer()), "seq_cst", 8)


@operation(types.void)
def relax(builder: Any) -> None:
    """Tell the processor that this is a waiting loop."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])


@operation(types.void)
def give_way(builder: Any) -> None:
    """Let the operating system run another thread on this core."""
    if platform.system() == "Windows":
        call(builder, "SwitchToThread", BITS["i32"], [])
    else:
        call(builder, "sched_yield", BITS["i32"], [])
