"""Building blocks that numba does not have: bit casts, bit counts, vector kernels.

In: scalars, or offsets into the flat register file. Out: LLVM instructions in the caller. The two
vector kernels (a HMMA step, one row of an outer product) and the f16 widening are written as
LLVM vectors, since the simulator's speed hangs on them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import config, extending, types

from ...backend.isa.layout import hmma_a_position, hmma_b_position, hmma_d_position
from ...backend.isa.table import WARP_SIZE

intrinsic: Any = extending.intrinsic
I1, I32, F32 = ir.IntType(1), ir.IntType(32), ir.FloatType()
V32I, V32F = ir.VectorType(I32, WARP_SIZE), ir.VectorType(F32, WARP_SIZE)
_HALF_SCALE = 2.0**112
"""f16 bits moved to the f32 field positions read as the value times 2^-112."""


def _unary(name: str, result: types.Type, operand: types.Type, emit: Any) -> Any:
    """An intrinsic of one scalar."""

    def typing(_context: Any, _x: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return emit(builder, args[0])

        return result(operand), codegen

    typing.__name__ = name
    return intrinsic(typing)


float_of_bits = _unary("float_of_bits", types.float32, types.uint32, lambda b, x: b.bitcast(x, F32))
"""The f32 with the given 32 bits."""
bits_of_float = _unary("bits_of_float", types.uint32, types.float32, lambda b, x: b.bitcast(x, I32))
"""The 32 bits of an f32."""
popcount = _unary("popcount", types.uint32, types.uint32, lambda b, x: b.ctpop(x))
"""Number of ones in a 32-bit word."""
popcount64 = _unary("popcount64", types.uint64, types.uint64, lambda b, x: b.ctpop(x))
"""Number of ones in a 64-bit word."""
trailing_zeros = _unary(
    "trailing_zeros", types.uint32, types.uint32, lambda b, x: b.cttz(x, ir.Constant(I1, 0))
)
"""Zeros below the lowest one of a 32-bit word; 32 if it is 0."""


@intrinsic
def natural(_context: Any, x: Any) -> Any:
    """natural(x): x, less than 2^32 and not negative, as the compiler then knows.

    An index that may be negative costs a comparison with the array's size at every use.
    """

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.zext(builder.trunc(args[0], I32), ir.IntType(64))

    return types.int64(types.int64), codegen


def splat(value: float | int, kind: Any) -> Any:
    """A vector constant of one value."""
    return ir.Constant(kind, [value] * WARP_SIZE)


def pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Pointer to the LLVM `vector` at an element offset of a numba array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def load(builder: Any, pointer: Any) -> Any:
    """An element-aligned load."""
    return builder.load(pointer, align=4)


def widen(builder: Any, halves: Any) -> Any:
    """f32 vector of the f16s in the low 16 bits of an i32 vector; exact, infinities and NaN too."""
    magnitude = builder.shl(builder.and_(halves, splat(0x7FFF, V32I)), splat(13, V32I))
    value = builder.fmul(builder.bitcast(magnitude, V32F), splat(_HALF_SCALE, V32F))
    special = builder.icmp_unsigned(">=", magnitude, splat(0x7C00 << 13, V32I))
    exponent = builder.select(special, splat(0x7F800000, V32I), splat(0, V32I))
    sign = builder.shl(builder.and_(halves, splat(0x8000, V32I)), splat(16, V32I))
    bits = builder.or_(builder.bitcast(value, V32I), builder.or_(exponent, sign))
    return builder.bitcast(bits, V32F)


def _widen_both(builder: Any, words: Any) -> tuple[Any, Any]:
    return widen(builder, words), widen(builder, builder.lshr(words, splat(16, V32I)))


_BYTES, _CACHE_LINE = ir.IntType(8).as_pointer(), 64
_CHUNK = 16
"""Lanes of the vectors that a HMMA is computed in: half a register of its results."""


def hmma_form(layout_a: int, layout_b: int, step: int) -> int:
    """Number of a HMMA's variant in the vector kernel's switch."""
    return (layout_a * 2 + layout_b) * 4 + step


def _hmma_operands(layouts: tuple[str, str], step: int) -> tuple[list[int], list[int]]:
    """Where the 32 f16 of A and of B that a step takes lie among the operand's 64 (lane, half).

    A result chunk (register r, lanes 16 h ...) covers rows 4 h to 4 h + 3, one a group of four
    lanes, and columns r, r + 2 ... So A is ordered [k // 2][row % 4][k % 2, row // 4], B
    [k][column % 2][column // 2]: a chunk's operand is then one element of each group of four
    lanes of A spread over the group, and one group of B repeated.
    """
    a, b = [], []
    for number in range(32):
        k, row = number // 16 * 2 + number // 2 % 2, number // 4 % 4 + 4 * (number % 2)
        lane, half = hmma_a_position(layouts[0], 8 * (step // 2) + row, k)
        a.append(2 * lane + half)
        k, column = number // 8, 2 * (number % 4) + number // 4 % 2
        lane, half = hmma_b_position(layouts[1], k, 8 * (step % 2) + column)
        b.append(2 * lane + half)
    return a, b


def _check_results() -> None:
    """The order of results that `hmma` is written for is that of the layout."""
    for row in range(8):
        for column in range(8):
            assert hmma_d_position(0, row, column) == (4 * row + column // 2, column % 2)


_check_results()


def _mask(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(I32, len(places)), places)


def _has_half_conversion() -> bool:
    """Whether f16 to f32 is an instruction (else it would be a library call)."""
    features = getattr(config, "CPU_FEATURES", None)
    if features is not None:
        return "+f16c" in features
    host = binding.get_host_cpu_features()
    return host.get("f16c", "avx" not in host)


def _chosen(builder: Any, halves: Any, places: list[int]) -> Any:
    """<32 x float> of the 32 f16 at `places` of a <64 x i16>."""
    picked = builder.shuffle_vector(halves, halves, _mask(places))
    if _has_half_conversion():
        half = builder.bitcast(picked, ir.VectorType(ir.HalfType(), WARP_SIZE))
        return builder.fpext(half, V32F)
    return widen(builder, builder.zext(picked, V32I))


@intrinsic
def hmma(_context: Any, regs: Any, _form: Any, _d: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """hmma(regs, form, d, a, b, c): one HMMA.884 on register offsets.

    `regs` is the flat uint32 register file, `form` that of `hmma_form`; d, a, b, c are element
    offsets of registers (d and c of two). acc = f32(acc + a * b) for ascending k; f16 products are
    exact in f32.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, array = signature.args[0], args[0]
        chunk = ir.VectorType(F32, _CHUNK)
        words = ir.VectorType(ir.IntType(16), 2 * WARP_SIZE)

        def at(offset: Any, more: int, vector: Any) -> Any:
            place = builder.add(offset, ir.Constant(offset.type, more))
            return pointer(context, builder, kind, array, place, vector)

        halves = [load(builder, at(args[i], 0, words)) for i in (3, 4)]
        places = [_CHUNK * i for i in range(4)]  # register 0 lanes 0, 16; register 1 lanes 0, 16
        c = [load(builder, at(args[5], place, chunk)) for place in places]
        entry = builder.block
        done = builder.append_basic_block("hmma.done")
        switch = builder.switch(args[1], done)
        results: list[tuple[Any, list[Any]]] = [(entry, c)]
        for number in range(16):
            layouts = (("AROW", "ACOL")[number >> 3], ("BROW", "BCOL")[number >> 2 & 1])
            block = builder.append_basic_block(f"hmma.{number}")
            switch.add_case(ir.Constant(args[1].type, number), block)
            with builder.goto_block(block):
                operands = _hmma_operands(layouts, number & 3)
                a, b = (_chosen(builder, h, o) for h, o in zip(halves, operands, strict=True))
                totals = list(c)
                for k in range(4):
                    left = [
                        builder.shuffle_vector(
                            a,
                            a,
                            _mask([k // 2 * 16 + i // 4 * 4 + k % 2 * 2 + h for i in range(16)]),
                        )
                        for h in range(2)
                    ]
                    right = [
                        builder.shuffle_vector(
                            b, b, _mask([k * 8 + r * 4 + i % 4 for i in range(16)])
                        )
                        for r in range(2)
                    ]
                    for i in range(4):
                        product = builder.fmul(left[i % 2], right[i // 2])
                        totals[i] = builder.fadd(totals[i], product)
                results.append((builder.block, totals))
                builder.branch(done)
        builder.position_at_end(done)
        merged = [builder.phi(chunk) for _ in places]
        for i, (place, total) in enumerate(zip(places, merged, strict=True)):
            for block, totals in results:
                total.add_incoming(totals[i], block)
            builder.store(total, at(args[2], place, chunk), align=4)
        return context.get_dummy_value()

    at = types.intp
    return types.void(regs, at, at, at, at, at), codegen


def _lane_transfer(count: int, *, into_registers: bool) -> Any:
    """An intrinsic that moves `count` words between memory and a lane of as many registers."""

    def typing(_context: Any, regs: Any, _at: Any, words: Any, _from: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(I32, count)
            register = context.make_array(signature.args[0])(context, builder, args[0]).data
            memory = pointer(context, builder, signature.args[2], args[2], args[3], vector)
            lane = builder.gep(register, [args[1]])
            places = [
                builder.gep(lane, [ir.Constant(args[1].type, WARP_SIZE * i)]) for i in range(count)
            ]
            indices = [ir.Constant(I32, i) for i in range(count)]
            if into_registers:
                value = load(builder, memory)
                for place, i in zip(places, indices, strict=True):
                    builder.store(builder.extract_element(value, i), place)
            else:
                value = ir.Constant(vector, ir.Undefined)
                for place, i in zip(places, indices, strict=True):
                    value = builder.insert_element(value, builder.load(place), i)
                builder.store(value, memory, align=4)
            return context.get_dummy_value()

        return types.void(regs, types.intp, words, types.intp), codegen

    return intrinsic(typing)


load_1, load_2, load_4 = (_lane_transfer(n, into_registers=True) for n in (1, 2, 4))
"""load_n(regs, to, words, at): regs[to + 32 r] = words[at + r] for r < n; no index is negative."""
store_1, store_2, store_4 = (_lane_transfer(n, into_registers=False) for n in (1, 2, 4))
"""store_n(regs, source, words, at): words[at + r] = regs[source + 32 r] for r < n."""


def _prefetch(lines: int) -> Any:
    """An intrinsic that asks the host for `lines` cache lines of an array."""

    def typing(_context: Any, array: Any, _at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            first = builder.bitcast(builder.gep(data, [args[1]]), _BYTES)
            kind = ir.FunctionType(ir.VoidType(), [_BYTES, I32, I32, I32])
            hint = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
            for line in range(lines):
                place = builder.gep(first, [ir.Constant(I32, _CACHE_LINE * line)])
                builder.call(hint, [place, *(ir.Constant(I32, i) for i in (0, 3, 1))])
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    return intrinsic(typing)


prefetch_1, prefetch_2, prefetch_4 = (_prefetch(n) for n in (1, 2, 4))
"""prefetch_n(array, at): ask the host for n cache lines from element `at` on. Costs and gains
host time only; `array` is contiguous, `at` counts its elements as if it were flat."""


@intrinsic
def widen_register(_context: Any, target: Any, _to: Any, regs: Any, _from: Any) -> Any:
    """widen_register(target, to, regs, source): the f16 pairs of one register as f32.

    target[to : to + 32] gets the low halves, the next 32 the high halves.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load(builder, pointer(context, builder, signature.args[2], args[2], args[3], V32I))
        low, high = _widen_both(builder, words)
        row = ir.Constant(args[1].type, WARP_SIZE)
        for value, offset in ((low, args[1]), (high, builder.add(args[1], row))):
            to = pointer(context, builder, signature.args[0], args[0], offset, V32F)
            builder.store(value, to, align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, regs, types.intp), codegen


@intrinsic
def lanes_and_union(_context: Any, regs: Any, _at: Any) -> Any:
    """lanes_and_union(regs, at): of the register at `at`, the lanes that are not zero (bits 0 to
    31), and the union of all lanes' words (bits 32 to 63)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load(builder, pointer(context, builder, signature.args[0], args[0], args[1], V32I))
        there = builder.icmp_unsigned("!=", words, splat(0, V32I))
        union = words
        for half in (16, 8, 4, 2, 1):
            parts = [_mask(list(range(first, first + half))) for first in (0, half)]
            union = builder.or_(*(builder.shuffle_vector(union, union, part) for part in parts))
        I64 = ir.IntType(64)
        union = builder.zext(builder.extract_element(union, ir.Constant(I32, 0)), I64)
        lanes = builder.zext(builder.bitcast(there, I32), I64)
        return builder.or_(lanes, builder.shl(union, ir.Constant(I64, 32)))

    return types.uint64(regs, types.intp), codegen


@intrinsic
def row_update(_context: Any, acc: Any, _row: Any, values: Any, _at: Any, _a: Any, _w: Any) -> Any:
    """row_update(acc, row, values, at, a, mask): acc[row + j] += a * values[at + j] where bit j.

    Products of f16 values are exact in f32; positions whose mask bit is 0 are not touched.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to = pointer(context, builder, signature.args[0], args[0], args[1], V32F)
        b = load(builder, pointer(context, builder, signature.args[2], args[2], args[3], V32F))
        old = load(builder, to)
        zero = ir.Constant(I32, 0)
        seed = builder.insert_element(ir.Constant(V32F, ir.Undefined), args[4], zero)
        a = builder.shuffle_vector(seed, seed, splat(0, V32I))
        new = builder.fadd(old, builder.fmul(a, b))
        mask = builder.bitcast(args[5], ir.VectorType(I1, WARP_SIZE))
        builder.store(builder.select(mask, new, old), to, align=4)
        return context.get_dummy_value()

    at = types.intp
    return types.void(acc, at, values, at, types.float32, types.uint32), codegen
