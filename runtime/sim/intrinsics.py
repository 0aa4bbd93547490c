"""Building blocks that numba does not have: bit casts, bit counts, vector kernels.

In: scalars, or offsets into the flat register file. Out: LLVM instructions in the caller. The two
vector kernels (a HMMA step, one row of an outer product) and the f16 widening are written as
LLVM vectors, since the simulator's speed hangs on them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types

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


_STEP_LANES = {
    (register, lane): (row, column)
    for row in range(8)
    for column in range(8)
    for lane, register in [hmma_d_position(0, row, column)]
}


def _hmma_masks(layouts: tuple[str, str], step: int) -> tuple[list[Any], list[Any]]:
    """Shuffles of the widened {low halves, high halves} of A and B: [k] and [k][register]."""

    def of(register: int, lane: int, k: int, side: int) -> int:
        row, column = _STEP_LANES[register, lane]
        if side == 0:
            at, half = hmma_a_position(layouts[0], 8 * (step // 2) + row, k)
        else:
            at, half = hmma_b_position(layouts[1], k, 8 * (step % 2) + column)
        return at + WARP_SIZE * half

    lanes = range(WARP_SIZE)
    a = [[[of(r, i, k, 0) for i in lanes] for r in range(2)] for k in range(4)]
    b = [[[of(r, i, k, 1) for i in lanes] for r in range(2)] for k in range(4)]
    return a, b


@intrinsic
def hmma(
    _context: Any, regs: Any, _d: Any, _a: Any, _b: Any, _c: Any, _la: Any, _lb: Any, _step: Any
) -> Any:
    """hmma(regs, d, a, b, c, layout_a, layout_b, step): one HMMA.884 on register offsets.

    `regs` is the flat uint32 register file; d, a, b, c are element offsets of registers (d and c
    of two). acc = f32(acc + a * b) for ascending k; f16 products are exact in f32.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, array = signature.args[0], args[0]

        def at(offset: Any, vector: Any) -> Any:
            return pointer(context, builder, kind, array, offset, vector)

        row = ir.Constant(args[1].type, WARP_SIZE)
        a = _widen_both(builder, load(builder, at(args[2], V32I)))
        b = _widen_both(builder, load(builder, at(args[3], V32I)))
        c = [
            load(builder, at(args[4], V32F)),
            load(builder, at(builder.add(args[4], row), V32F)),
        ]
        out = [at(args[1], V32F), at(builder.add(args[1], row), V32F)]
        two = ir.Constant(args[5].type, 2)
        four = ir.Constant(args[5].type, 4)
        case = builder.add(builder.mul(builder.add(builder.mul(args[5], two), args[6]), four),
                           args[7])  # fmt: skip
        done = builder.append_basic_block("hmma.done")
        switch = builder.switch(case, done)
        index_vector = ir.VectorType(I32, WARP_SIZE)
        for number in range(16):
            layouts = (("AROW", "ACOL")[number >> 3], ("BROW", "BCOL")[number >> 2 & 1])
            masks_a, masks_b = _hmma_masks(layouts, number & 3)
            block = builder.append_basic_block(f"hmma.{number}")
            switch.add_case(ir.Constant(args[5].type, number), block)
            with builder.goto_block(block):
                for register in range(2):
                    total = c[register]
                    for k in range(4):
                        left = builder.shuffle_vector(
                            *a, ir.Constant(index_vector, masks_a[k][register])
                        )
                        right = builder.shuffle_vector(
                            *b, ir.Constant(index_vector, masks_b[k][register])
                        )
                        total = builder.fadd(total, builder.fmul(left, right))
                    builder.store(total, out[register], align=4)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    at = types.intp
    return types.void(regs, at, at, at, at, at, at, at), codegen


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
