"""What the ops of `dstc_pointwise` mean: numpy implementations for xDSL's interpreter.

In: arrays of the operands' element types (i32 as int32). Out: arrays of the results' types, bit by
bit what a kernel computes: the same functions, the same order of additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import Float16Type, Float32Type, IntegerType, TensorType
from xdsl.interpreter import Interpreter, InterpreterFunctions, impl, register_impls
from xdsl.ir import Attribute, Operation
from xdsl.utils.exceptions import InterpretationError

from .. import dstc_pointwise as dstc
from ..checks import int_values, shape_of
from ..functions import FUNCTIONS
from ..rows import NEUTRAL, Map, RowPlan, combine, row_op
from .numpy_arithmetic import NUMPY

Array = NDArray[Any]
Arrays = tuple[Any, ...]

_DTYPES: dict[type[Attribute], type[np.number[Any]]] = {
    Float16Type: np.float16,
    Float32Type: np.float32,
    IntegerType: np.int32,
}


def tensor_dtype(type_: Attribute) -> type[np.number[Any]]:
    """The numpy type of a tensor's elements."""
    if isinstance(type_, TensorType):
        dtype = _DTYPES.get(type(cast("TensorType[Attribute]", type_).element_type))
        if dtype is not None:
            return dtype
    raise InterpretationError(
        f"values of type {type_} have no numpy form; use tensors of f16, f32 or i32"
    )


def _as(array: Array, type_: Attribute) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array).astype(tensor_dtype(type_))


def _f32(array: Array) -> Array:
    """Floats as f32; integers, which a kernel gives as u32, as i32."""
    return array.astype(np.int32 if array.dtype.kind in "iu" else np.float32)


def apply_function(name: str, args: Sequence[Array]) -> Array:
    """A function of the table, on f32 or i32 arrays that broadcast."""
    function = FUNCTIONS[name]
    values = [_f32(np.asarray(a)) for a in args]
    body = function.integers if values[-1].dtype == np.int32 else function.floats
    assert body is not None
    with np.errstate(all="ignore"):
        return np.asarray(body(NUMPY, *values))


def reduced(values: Array, plan: RowPlan, kind: str) -> Array:
    """Rows x columns combined to rows, in the plan's order."""
    places = plan.turns * plan.lanes * plan.width
    padded = np.full((plan.rows, places), NEUTRAL[kind], np.float32)
    padded[:, : plan.columns] = values
    dealt = padded.reshape(plan.rows, plan.turns, plan.lanes, plan.width)
    acc = np.full((plan.rows, plan.lanes), NEUTRAL[kind], np.float32)
    for turn in range(plan.turns):
        for e in range(plan.width):
            acc = combine(NUMPY, kind, acc, dealt[:, turn, :, e])
    lanes = np.arange(plan.lanes)
    step = plan.lanes // 2
    while step:
        acc = combine(NUMPY, kind, acc, acc[:, lanes ^ step])
        step //= 2
    return acc[:, 0]


def run_rows(op: Operation, x: Array) -> Array:
    """A row-wise op (`rows.ROW_OPS`) of an array, in f32."""
    row = row_op(op)
    assert row is not None
    kept = [d for d in range(x.ndim) if d not in row.axes]
    order = [*kept, *row.axes]
    turned = x.astype(np.float32).transpose(order)
    values = turned.reshape(row.plan.rows, row.plan.columns)
    stats: list[Array] = []
    with np.errstate(all="ignore"):
        for step in row.steps:
            columns = [s[:, None] for s in stats]
            if isinstance(step, Map):
                values = np.asarray(step.to(NUMPY, values, columns))
                continue
            numbers = partial(np.arange, row.plan.columns, dtype=np.float32)
            of = np.asarray(step.term(NUMPY, values, columns, numbers))
            found = reduced(of, row.plan, step.kind)
            stats.append(found if step.then is None else np.asarray(step.then(NUMPY, found)))
    if not row.elements:
        return stats[-1]
    return values.reshape(turned.shape).transpose(np.argsort(order))


def gathered(x: Array, indices: Array, axis: int) -> Array:
    """Slices along an axis; indices count from the end if negative, and stay in the dimension."""
    extent = x.shape[axis]
    at = indices.astype(np.int32).astype(np.int64)
    return np.take(x, np.clip(np.where(at < 0, at + extent, at), 0, extent - 1), axis)


def sliced(x: Array, shape: Sequence[int], starts: Sequence[int], steps: Sequence[int]) -> Array:
    """starts + i * steps along each dimension."""
    at = [s + np.arange(n) * t for s, t, n in zip(starts, steps, shape, strict=True)]
    return x[np.ix_(*at)] if at else x


def padded(x: Array, shape: Sequence[int], low: Sequence[int], value: float) -> Array:
    """`value` around x, in an array of `shape`."""
    result = np.full(shape, value, x.dtype)
    result[tuple(slice(b, b + n) for b, n in zip(low, x.shape, strict=True))] = x
    return result


@register_impls
class PointwiseFunctions(InterpreterFunctions):
    """Implementations of the ops by element, by index, along rows, and of fused ones."""

    @impl(dstc.ElementwiseOp)
    def run_elementwise(self, _: Interpreter, op: dstc.ElementwiseOp, args: Arrays) -> Arrays:
        return (_as(apply_function(op.function.data, args), op.result.type),)

    @impl(dstc.FillOp)
    def run_fill(self, _: Interpreter, op: dstc.FillOp, args: Arrays) -> Arrays:
        value = float(op.value.value.data)
        return (_as(np.full(shape_of(op.result.type), value), op.result.type),)

    @impl(dstc.SliceOp)
    def run_slice(self, _: Interpreter, op: dstc.SliceOp, args: Arrays) -> Arrays:
        at = int_values(op.starts), int_values(op.steps)
        return (_as(sliced(args[0], shape_of(op.result.type), *at), op.result.type),)

    @impl(dstc.PadOp)
    def run_pad(self, _: Interpreter, op: dstc.PadOp, args: Arrays) -> Arrays:
        value = float(op.value.value.data)
        shape = shape_of(op.result.type)
        return (_as(padded(_f32(args[0]), shape, int_values(op.low), value), op.result.type),)

    @impl(dstc.ExpandOp)
    def run_expand(self, _: Interpreter, op: dstc.ExpandOp, args: Arrays) -> Arrays:
        return (_as(np.broadcast_to(args[0], shape_of(op.result.type)), op.result.type),)

    @impl(dstc.ConcatOp)
    def run_concat(self, _: Interpreter, op: dstc.ConcatOp, args: Arrays) -> Arrays:
        parts = [_f32(a) for a in args]
        return (_as(np.concatenate(parts, op.axis.value.data), op.result.type),)

    @impl(dstc.GatherOp)
    def run_gather(self, _: Interpreter, op: dstc.GatherOp, args: Arrays) -> Arrays:
        return (_as(gathered(args[0], args[1], op.axis.value.data), op.result.type),)

    @impl(dstc.ReduceOp)
    def run_reduce(self, _: Interpreter, op: dstc.ReduceOp, args: Arrays) -> Arrays:
        return (_as(run_rows(op, args[0]).reshape(shape_of(op.result.type)), op.result.type),)

    @impl(dstc.NormalizeOp)
    def run_normalize(self, _: Interpreter, op: dstc.NormalizeOp, args: Arrays) -> Arrays:
        return (_as(run_rows(op, args[0]), op.result.type),)

    @impl(dstc.FusedOp)
    def run_fused(self, interpreter: Interpreter, op: dstc.FusedOp, args: Arrays) -> Arrays:
        values: dict[Any, Array] = dict(zip(op.body.block.args, args, strict=True))
        for inner in op.operations:
            results = interpreter.run_op(inner, tuple(values[v] for v in inner.operands))
            values.update(zip(inner.results, results, strict=True))
        return (values[op.yielded],)
