"""The dialect `tensor`, and constants of arith, as ONNX operators.

In: an operation and its operands. Out: a `Value`. All offsets and sizes must be numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    Signedness,
    TensorType,
)
from xdsl.dialects.tensor import YieldOp
from xdsl.ir import Attribute, Operation, SSAValue

from ...backend.isa.errors import DstcError
from .mlir_emit import FLOAT, INTEGER, TRUTH, Emit, Value, known

Known = Mapping[SSAValue, Value]
_DYNAMIC = -(1 << 63)
_FLOATS = {
    Float16Type: "float16",
    BFloat16Type: "bfloat16",
    Float32Type: "float32",
    Float64Type: "float64",
}


def element(type_: Attribute) -> str:
    """The numpy name of an element type."""
    for kind, name in _FLOATS.items():
        if isinstance(type_, kind):
            return name
    if isinstance(type_, IndexType):
        return "int64"
    if isinstance(type_, IntegerType):
        width = cast("int", cast("Any", type_).width.data)
        unsigned = cast("Any", type_).signedness.data == Signedness.UNSIGNED
        if width == 1:
            return "bool"
        if width in (8, 16, 32, 64):
            return f"{'u' if unsigned else ''}int{width}"
    raise DstcError(f"elements of type {type_} are not supported")


def inner(type_: Attribute) -> str:
    """What stands for an element type in the model: f32, i64 or truth values."""
    name = element(type_)
    return TRUTH if name == "bool" else INTEGER if "int" in name else FLOAT


def shape_of(type_: Attribute) -> tuple[int, ...]:
    """The shape of a tensor, () of a scalar."""
    if not isinstance(type_, TensorType):
        element(type_)
        return ()
    shape = tuple(cast("TensorType[Attribute]", type_).get_shape())
    if any(d < 0 for d in shape):
        raise DstcError(f"{type_} has a dynamic dimension; export the model with fixed sizes")
    return shape


def decoded(data: bytes, type_: Attribute) -> NDArray[Any]:
    """The values of little-endian bytes; one of them may stand for all."""
    shape, name = shape_of(type_), element(cast("Any", type_).element_type)
    if name == "bool":
        array: NDArray[Any] = np.frombuffer(data, np.uint8) != 0
    elif name == "bfloat16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(data, np.dtype(name).newbyteorder("<"))
    if array.size not in (1, math.prod(shape)):
        raise DstcError(f"{len(data)} bytes of data do not make a {type_}")
    return np.broadcast_to(array, shape) if array.size == 1 else array.reshape(shape)


def constant(attr: Attribute, resources: Mapping[str, bytes]) -> Value:
    """A constant's value."""
    if isinstance(attr, DenseIntOrFPElementsAttr):
        data = cast("DenseIntOrFPElementsAttr[Any]", attr)
        return known(decoded(data.data.data, cast("Attribute", data.type)))
    if isinstance(attr, DenseResourceAttr):
        name = attr.resource_handle.data
        if name not in resources:
            raise DstcError(
                f"the data of dense_resource<{name}> is not in the file; print it whole "
                "(without --mlir-elide-elementsattrs-if-larger)"
            )
        return known(decoded(resources[name], cast("Attribute", attr.type)))
    if isinstance(attr, IntegerAttr | FloatAttr):
        number = cast("Any", attr)
        return known(np.array(number.value.data, inner(number.type)))
    raise DstcError(f"constant {attr} is not supported")


def _filled(op: Operation, name: str, scalars: Sequence[Value]) -> list[int]:
    """Numbers of which some are operands, which must be constants."""
    values = [int(v) for v in cast("DenseArrayBase[Any]", op.properties[name]).iter_values()]
    rest = iter(scalars)
    found: list[int] = []
    for v in values:
        if v == _DYNAMIC:
            number = next(rest).number
            if number is None:
                raise DstcError(f"{op.name} with computed sizes is not supported")
            v = int(number)
        found.append(v)
    return found


def _shaped(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    return e.reshape(v[0], shape_of(op.results[0].type))


def _empty(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    type_ = op.results[0].type
    zero = np.zeros((), inner(cast("Any", type_).element_type))
    return Value(shape_of(type_), zero.dtype.name, array=np.broadcast_to(zero, shape_of(type_)))


def _groups(op: Operation, v: list[Value]) -> tuple[list[int], list[int], list[int]]:
    """Offsets, sizes and strides of a slice."""
    cast_op = cast("Any", op)
    counts = [len(cast_op.offsets), len(cast_op.sizes), len(cast_op.strides)]
    rest = v[len(v) - sum(counts) :]
    first, second = counts[0], counts[0] + counts[1]
    return (
        _filled(op, "static_offsets", rest[:first]),
        _filled(op, "static_sizes", rest[first:second]),
        _filled(op, "static_strides", rest[second:]),
    )


def _extract(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    starts, counts, steps = _groups(op, v)
    return e.reshape(e.slice(v[0], starts, counts, steps), shape_of(op.results[0].type))


def _insert(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    starts, counts, steps = _groups(op, v)
    if any(s != 1 for s in steps):
        raise DstcError("tensor.insert_slice with strides is not supported")
    return _put(e, e.reshape(v[0], counts), v[1], starts, 0)


def _put(e: Emit, source: Value, target: Value, starts: Sequence[int], axis: int) -> Value:
    """`target` with `source` in it from `starts` on; they agree before `axis`."""
    if axis == len(starts):
        return source
    rank, start, count = len(starts), starts[axis], source.shape[axis]

    def part(first: int, size: int) -> Value:
        lows = [first if d == axis else 0 for d in range(rank)]
        sizes = [size if d == axis else n for d, n in enumerate(target.shape)]
        return e.slice(target, lows, sizes, [1] * rank)

    behind = target.shape[axis] - start - count
    around = [part(0, start)] if start else []
    middle = _put(e, source, part(start, count), starts, axis + 1)
    return e.concat([*around, middle, *([part(start + count, behind)] if behind else [])], axis)


def _concat(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    return e.concat(v, int(cast("Any", op).dim.value.data))


def _pad(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    cast_op = cast("Any", op)
    low, high = v[1 : 1 + len(cast_op.low)], v[1 + len(cast_op.low) :]
    end = cast_op.region.block.last_op
    assert isinstance(end, YieldOp)
    fill = known_.get(end.operands[0])
    if fill is None:
        raise DstcError("pads that depend on the place are not supported")
    return e.pad(v[0], _filled(op, "static_low", low), _filled(op, "static_high", high), fill)


def _dim(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    at = v[1].number
    if at is None:
        raise DstcError("tensor.dim of a computed dimension is not supported")
    return known(np.array(v[0].shape[int(at)], np.int64))


def _splat(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    shape = shape_of(op.results[0].type)
    return e.expand(e.reshape(v[0], (1,) * len(shape)), shape)


def _from_elements(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    joined = e.concat([e.reshape(x, (1,)) for x in v], 0)
    return e.reshape(joined, shape_of(op.results[0].type))


def _element(e: Emit, op: Operation, v: list[Value], known_: Known) -> Value:
    at = [x.number for x in v[1:]]
    if None in at:
        raise DstcError("tensor.extract at computed places is not supported here")
    starts = [int(cast("float", x)) for x in at]
    ones = [1] * len(starts)
    return e.reshape(e.slice(v[0], starts, ones, ones), ())


TENSOR: dict[str, Callable[[Emit, Operation, list[Value], Known], Value]] = {
    "tensor.cast": _shaped, "tensor.collapse_shape": _shaped, "tensor.expand_shape": _shaped,
    "tensor.reshape": _shaped, "tensor.concat": _concat, "tensor.dim": _dim,
    "tensor.empty": _empty, "tensor.extract": _element, "tensor.extract_slice": _extract,
    "tensor.from_elements": _from_elements, "tensor.insert_slice": _insert, "tensor.pad": _pad,
    "tensor.splat": _splat,
}  # fmt: skip
"""Operations of the dialect `tensor`."""
