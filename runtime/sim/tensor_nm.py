"""The weight-only n:m extension: HMMA.SP on register offsets.

In: four values a line of the sparse operand, the k that they belong to, the other operand whole.
Out: an updated 8x8 quadrant, by f32 additions in ascending k.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ...backend.isa.layout import (
    NM_BLOCK_K,
    nm_dense_position,
    nm_index_position,
    nm_value_position,
)
from ...backend.isa.table import NM_SHAPES, NM_VALUES
from .compiled import inline
from .constants import D
from .intrinsics import F32, intrinsic, load, pointer, widen_register

_WHOLE, _SPARSE, _TABLE = 0, 256, 320
"""Where an SM's scratch holds the widened registers of b and of a, and b as [k][line]."""
_SUM = _TABLE + 16 * 8
SCRATCH = _SUM + 64
"""Elements of scratch that `hmma_sp` needs; _SUM: the quadrant as [sparse line][other line]."""
_EIGHT = ir.VectorType(F32, 8)
_PERIODS = tuple(m for _, m in NM_SHAPES.values())
_SHORT, _LONG = (NM_VALUES * m // n for n, m in NM_SHAPES.values())


def _check_layout() -> None:
    """The positions that the code below computes are those of the layout."""
    for line in range(16):
        for value in range(NM_VALUES):
            assert nm_value_position(line, value) == (2 * line + value // 2, value % 2)
        for depth, bits in ((_SHORT, 2), (_LONG, 4)):
            for part in range(NM_BLOCK_K // depth):
                lane, shift = nm_index_position(depth, line, part, 0)
                assert lane == 2 * line + part * depth // 32
                assert shift == part * depth % 32 * NM_VALUES * bits // depth
            for k in range(depth):
                across = nm_dense_position("ACROSS", depth, k, line)
                assert across == (8 * (k % 4) + line // 2, k // 4, line % 2)
                half = depth // 2
                along = nm_dense_position("ALONG", depth, k, line)
                assert along == (2 * line + k // half, k % half // 2, k % 2)


_check_layout()


@intrinsic
def line_update(
    _context: Any, table: Any, _to: Any, _v0: Any, _v1: Any, _v2: Any, _v3: Any, _x0: Any, _x1: Any,
    _x2: Any, _x3: Any,
) -> Any:  # fmt: skip
    """line_update(table, to, v0..v3, x0..x3): table[to : to + 8] += v * table[x : x + 8].

    One v after the other, each rounded to f32; a v that is zero is left out.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(offset: Any) -> Any:
            return pointer(context, builder, signature.args[0], args[0], offset, _EIGHT)

        total = load(builder, at(args[1]))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
        for value, source in zip(args[2:6], args[6:10], strict=True):
            seed = builder.insert_element(
                ir.Constant(_EIGHT, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
            )
            whole = builder.shuffle_vector(seed, seed, lanes)
            more = builder.fadd(total, builder.fmul(whole, load(builder, at(source))))
            counts = builder.fcmp_unordered("une", value, ir.Constant(F32, 0.0))
            total = builder.select(counts, more, total)
        builder.store(total, at(args[1]), align=4)
        return context.get_dummy_value()

    at, value = types.intp, types.float32
    return types.void(table, at, value, value, value, value, at, at, at, at), codegen


@inline
def hmma_sp(
    row: Any, regs: Any, fregs: Any, d: int, a: int, b: int, c: int, e: int, wide: Any, scratch: int
) -> None:
    """One HMMA.SP: d (2 registers) = c + the quadrant's products."""
    long, sparse_b, across = row[D.M0] == 1, row[D.M0 + 1] == 1, row[D.M0 + 2] == 1
    step, part = row[D.M0 + 3], row[D.M0 + 4]
    first, other = 8 * (step >> 1), 8 * (step & 1)
    if sparse_b:
        first, other = other, first
    depth = _LONG if long else _SHORT
    half = depth >> 1
    table, total = scratch + _TABLE, scratch + _SUM
    for register in range(depth >> 2):
        widen_register(wide, scratch + _WHOLE + 64 * register, regs, b + 32 * register)
    widen_register(wide, scratch + _SPARSE, regs, a)
    for k in range(depth):
        for i in range(8):
            line = other + i
            if across:
                at = 64 * (k >> 2) + 32 * (line & 1) + 8 * (k & 3) + (line >> 1)
            else:
                far = 1 if k >= half else 0
                at = 32 * ((k - far * half) & ~1) + 32 * (k & 1) + 2 * line + far
            wide[table + 8 * k + i] = wide[scratch + _WHOLE + at]
    for i in range(8):
        for j in range(8):
            at = 32 * (i & 1) + 4 * j + (i >> 1) if sparse_b else 32 * (j & 1) + 4 * i + (j >> 1)
            wide[total + 8 * i + j] = fregs[c + at]
    part = part & 3 if long else part
    for i in range(8):
        line = first + i
        values = scratch + _SPARSE + 2 * line
        if long:
            found = regs[e + 2 * line + (part >> 1)] >> (16 * (part & 1))
            k0, k1 = found & 15, (found >> 4) & 15
            k2, k3 = (found >> 8) & 15, (found >> 12) & 15
        else:
            found = regs[e + 2 * line + (part >> 2)] >> (8 * (part & 3))
            k0, k1 = found & 3, (found >> 2) & 3
            k2, k3 = 4 + ((found >> 4) & 3), 4 + ((found >> 6) & 3)
        line_update(
            wide, total + 8 * i, wide[values], wide[values + 32], wide[values + 1],
            wide[values + 33], table + 8 * k0, table + 8 * k1, table + 8 * k2, table + 8 * k3,
        )  # fmt: skip
    for i in range(8):
        for j in range(8):
            at = 32 * (i & 1) + 4 * j + (i >> 1) if sparse_b else 32 * (j & 1) + 4 * i + (j >> 1)
            fregs[d + at] = wide[total + 8 * i + j]
