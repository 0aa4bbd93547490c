"""`arith` on lanes: i32 wraps, f32 rounds to nearest even, as the instructions of the ISA do.

In: arrays of lanes (see `simt`). Out: `ARITH`, handlers by operation. Where MLIR leaves a result
undefined (shifts by 32 and more, conversions out of range), it is what the instruction gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr
from xdsl.ir import Operation

from .simt import Handler, Simt, dtype_of, is_vector, merge, signed, unsigned
from .simt_memory import Array

Unary = Callable[[Array], Array]
Binary = Callable[[Array, Array], Array]


def _key(a: Array) -> Array:
    """i32 that orders as the f32 do, -0 before +0."""
    bits = a.view(np.int32)
    return bits ^ ((bits >> 31).view(np.uint32) >> 1).view(np.int32)


def _larger(a: Array, b: Array) -> Array:
    return np.where(_key(a) > _key(b), a, b)


def _smaller(a: Array, b: Array) -> Array:
    return np.where(_key(a) < _key(b), a, b)


def _of_numbers(choose: Binary) -> Binary:
    """The other operand where one is NaN."""
    return lambda a, b: np.where(np.isnan(a), b, np.where(np.isnan(b), a, choose(a, b)))


def _or_nan(choose: Binary) -> Binary:
    """NaN where an operand is NaN."""
    return lambda a, b: np.where(np.isnan(a) | np.isnan(b), a + b, choose(a, b))


maximum = _or_nan(_larger)
"""FMNMX.MAX.NAN."""
minimum = _or_nan(_smaller)
"""FMNMX.MIN.NAN."""


def _shift(function: Binary) -> Binary:
    return lambda a, b: np.where(b < 32, function(a, np.minimum(b, 31)), np.uint32(0))


def _shift_signed(a: Array, b: Array) -> Array:
    return (signed(a) >> np.minimum(b, 31).view(np.int32)).view(np.uint32)


def _as_signed(function: Binary) -> Binary:
    return lambda a, b: function(signed(a), signed(b)).view(np.uint32)


def _to_integer(low: int, high: int) -> Unary:
    """Towards zero, saturating, NaN to 0; as u32."""

    def convert(a: Array) -> Array:
        number = np.nan_to_num(a.astype(np.float64), nan=0.0, posinf=high, neginf=low)
        return np.clip(np.trunc(number), low, high).astype(np.int64).astype(np.uint32)

    return convert


to_signed = _to_integer(-(2**31), 2**31 - 1)
"""F2I.S32, as u32."""
to_unsigned = _to_integer(0, 2**32 - 1)
"""F2I.U32."""

_WORD_OPS: dict[type[Operation], Binary] = {
    arith.AddiOp: np.add,
    arith.SubiOp: np.subtract,
    arith.MuliOp: np.multiply,
    arith.MinUIOp: np.minimum,
    arith.MaxUIOp: np.maximum,
    arith.MinSIOp: _as_signed(np.minimum),
    arith.MaxSIOp: _as_signed(np.maximum),
    arith.ShLIOp: _shift(np.left_shift),
    arith.ShRUIOp: _shift(np.right_shift),
    arith.ShRSIOp: _shift_signed,
}
"""On i32 alone."""

_BINARY: dict[type[Operation], Binary] = {
    arith.AndIOp: np.bitwise_and,
    arith.OrIOp: np.bitwise_or,
    arith.XOrIOp: np.bitwise_xor,
    arith.AddfOp: np.add,
    arith.SubfOp: np.subtract,
    arith.MulfOp: np.multiply,
    arith.DivfOp: np.divide,
    arith.MaxnumfOp: _of_numbers(_larger),
    arith.MinnumfOp: _of_numbers(_smaller),
    arith.MaximumfOp: maximum,
    arith.MinimumfOp: minimum,
}

_UNARY: dict[type[Operation], Unary] = {
    arith.NegfOp: np.negative,
    arith.SIToFPOp: lambda a: signed(a).astype(np.float32),
    arith.UIToFPOp: lambda a: a.astype(np.float32),
    arith.FPToSIOp: to_signed,
    arith.FPToUIOp: to_unsigned,
    arith.ExtUIOp: unsigned,
    arith.ExtSIOp: lambda a: signed(a).view(np.uint32),
    arith.TruncIOp: lambda a: (a & 1).astype(np.bool_),
    arith.IndexCastOp: unsigned,
}

_COMPARISONS: tuple[Binary, ...] = (
    np.equal,
    np.not_equal,
    lambda a, b: signed(a) < signed(b),
    lambda a, b: signed(a) <= signed(b),
    lambda a, b: signed(a) > signed(b),
    lambda a, b: signed(a) >= signed(b),
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
)
"""By the predicate's number: eq, ne, slt, sle, sgt, sge, ult, ule, ugt, uge."""


def _elementwise(function: Callable[..., Array], *, word_only: bool = False) -> Handler:
    def run(simt: Simt, op: Operation, operands: tuple[Array, ...]) -> tuple[Array]:
        if any(dtype_of(v.type) is None for v in (*op.operands, *op.results)):
            raise simt.error(op, "kernels compute on i32, i1 and f32 only")
        if word_only and any(a.dtype == np.bool_ for a in operands):
            raise simt.error(op, "not for i1; use andi, ori or xori")
        return (function(*operands),)

    return run


def _divide(function: Binary) -> Handler:
    def run(simt: Simt, op: Operation, operands: tuple[Array, ...]) -> tuple[Array]:
        a, b = operands
        zero = simt.live(b == 0)
        if zero.any():
            raise simt.lane_error(op, zero, "division by zero")
        return (function(a, np.maximum(b, 1)),)

    return run


def _constant(simt: Simt, op: arith.ConstantOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del operands
    type_ = op.result.type
    dtype = dtype_of(type_)
    match op.value:
        case IntegerAttr() | FloatAttr():
            values: Sequence[Any] = [op.value.value.data]
        case DenseIntOrFPElementsAttr() if is_vector(type_):
            values = cast("Sequence[Any]", op.value.get_values())
        case _:
            raise simt.error(op, "kernels know constants of i32, i1, f32 and vectors of them")
    if dtype is None:
        raise simt.error(op, "kernels compute on i32, i1 and f32 only")
    if dtype.kind != "f":
        values = [int(v) & (1 if dtype.kind == "b" else 0xFFFFFFFF) for v in values]
    return (np.array(values, dtype).reshape(1, 1, 1, *([-1] if is_vector(type_) else [])),)


def _compare_integers(simt: Simt, op: arith.CmpiOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt
    return (_COMPARISONS[op.predicate.value.data](*operands),)


_FLOAT_CASES = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 8, 15)
"""By the predicate's number (false, oeq, ogt ... ord, ueq ... une, uno, true) the cases that
satisfy it: 1 equal, 2 greater, 4 less, 8 unordered."""


def _compare_floats(simt: Simt, op: arith.CmpfOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt
    a, b = operands
    cases: tuple[Array, ...] = (a == b, a > b, a < b, np.isnan(a) | np.isnan(b))
    satisfied = _FLOAT_CASES[op.predicate.value.data]
    result = np.zeros_like(cases[0])
    for bit, case in enumerate(cases):
        if satisfied >> bit & 1:
            result |= case
    return (result,)


def _select(simt: Simt, op: arith.SelectOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt, op
    condition, yes, no = operands
    return (merge(condition, yes, no),)


def _bitcast(simt: Simt, op: arith.BitcastOp, operands: tuple[Array, ...]) -> tuple[Array]:
    dtype: np.dtype[Any] | None = dtype_of(op.result.type)
    if dtype is None or dtype.itemsize != operands[0].dtype.itemsize:
        raise simt.error(op, "bitcast is between i32 and f32")
    return (operands[0].view(dtype),)


ARITH: dict[type[Operation], Handler] = {
    **{op: _elementwise(function) for op, function in _UNARY.items()},
    **{op: _elementwise(function) for op, function in _BINARY.items()},
    **{op: _elementwise(function, word_only=True) for op, function in _WORD_OPS.items()},
    arith.DivUIOp: _divide(np.floor_divide),
    arith.RemUIOp: _divide(np.remainder),
    arith.CmpiOp: _compare_integers,
    arith.CmpfOp: _compare_floats,
    arith.ConstantOp: _constant,
    arith.SelectOp: _select,
    arith.BitcastOp: _bitcast,
}
"""Handlers of the `arith` ops that a kernel may use."""
