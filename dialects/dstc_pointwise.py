"""Ops of the `dstc` dialect that are no products: by element, by index, along rows, and fused.

In: xDSL's irdl, the table of functions. Out: `POINTWISE_OPS`, which the dialect takes in. Tensors
are f16 and f32 (computed in f32) and i32; a truth value is an i32, 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import (
    I64,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    TensorType,
    f64,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure

from .checks import TENSOR, broadcast, dims, expect, int_values, ints, same_shape, shape_of
from .functions import FUNCTIONS

REDUCTIONS = ("sum", "mean", "max", "min", "prod", "argmax", "argmin")
"""Kinds of `dstc.reduce`."""
PLACES = {"argmax": "max", "argmin": "min"}
"""Those that say where a row's extreme is, and the extreme."""
MOST_PLACES = 1 << 24
"""Elements of such a row: f32 tells so many numbers apart."""

_VALUE_OPTIONS = (ParsePropInAttrDict(),)


def is_integer(type_: Attribute) -> bool:
    """The tensor's elements are integers."""
    return isinstance(element_of(type_), IntegerType)


def element_of(type_: Attribute) -> Attribute:
    """Element type of a tensor."""
    return cast("TensorType[Attribute]", type_).element_type


@irdl_op_definition
class ElementwiseOp(IRDLOperation):
    """A function of the table `functions.FUNCTIONS` by element, with numpy's broadcasting.

    Floats are computed in f32 and rounded to the result's type; integers in i32.
    """

    name = "dstc.elementwise"
    function = prop_def(StringAttr)
    inputs = var_operand_def(TENSOR)
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$function `(` $inputs `)` attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, function: str, inputs: Sequence[SSAValue], result_type: Attribute):
        super().__init__(
            operands=[inputs],
            properties={"function": StringAttr(function)},
            result_types=[result_type],
        )

    def verify_(self) -> None:
        name = self.function.data
        function = FUNCTIONS.get(name)
        if function is None:
            expect(False, f"there is no function {name}; there are {', '.join(FUNCTIONS)}")
            return
        count = len(self.inputs)
        expect(count == function.operands, f"{name} takes {function.operands} operands")
        want = broadcast(*(shape_of(v.type) for v in self.inputs))
        got = shape_of(self.result.type)
        expect(got == want, f"result must be {dims(want)}, not {dims(got)}")
        types = [v.type for v in self.inputs]
        if function.condition:
            expect(is_integer(types[0]), f"the condition of {name} must be integers (0 or 1)")
            types = types[1:]
        whole = {is_integer(t) for t in types}
        expect(len(whole) == 1, f"operands of {name} must be floats or integers, not both")
        body = function.integers if whole == {True} else function.floats
        what = "integers" if whole == {True} else "floats"
        expect(body is not None, f"{name} is not for {what}")
        integer = function.truth or whole == {True}
        fits = is_integer(self.result.type) == integer
        expect(fits, f"the result of {name} must be {'integers' if integer else 'floats'}")


@irdl_op_definition
class FillOp(IRDLOperation):
    """A tensor of equal values; in a kernel, an immediate."""

    name = "dstc.fill"
    value = prop_def(FloatAttr)
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, value: float, result_type: Attribute):
        super().__init__(properties={"value": FloatAttr(value, f64)}, result_types=[result_type])


@irdl_op_definition
class SliceOp(IRDLOperation):
    """Result element i along a dimension is x's element starts + i * steps; a step may be < 0."""

    name = "dstc.slice"
    x = operand_def(TENSOR)
    starts: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    steps: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self, x: SSAValue, result_type: Attribute, *, starts: Sequence[int], steps: Sequence[int]
    ):
        super().__init__(
            operands=[x],
            properties={"starts": ints(starts), "steps": ints(steps)},
            result_types=[result_type],
        )

    def verify_(self) -> None:
        xs, rs = shape_of(self.x.type), shape_of(self.result.type)
        starts, steps = int_values(self.starts), int_values(self.steps)
        sizes = {len(xs), len(rs), len(starts), len(steps)}
        expect(len(sizes) == 1, "starts, steps, operand and result must have one rank")
        for extent, count, start, step in zip(xs, rs, starts, steps, strict=True):
            last = start + (count - 1) * step
            expect(
                0 <= start < extent and 0 <= last < extent,
                f"elements {start} to {last} are not all among the operand's {extent}",
            )


@irdl_op_definition
class PadOp(IRDLOperation):
    """`value` around x: `low[d]` elements before it, as many behind as the result has room for."""

    name = "dstc.pad"
    x = operand_def(TENSOR)
    low: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    value = prop_def(FloatAttr)
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self, x: SSAValue, result_type: Attribute, *, low: Sequence[int], value: float = 0.0
    ):
        super().__init__(
            operands=[x],
            properties={"low": ints(low), "value": FloatAttr(value, f64)},
            result_types=[result_type],
        )

    def verify_(self) -> None:
        xs, rs, low = shape_of(self.x.type), shape_of(self.result.type), int_values(self.low)
        expect(len(xs) == len(rs) == len(low), "low, operand and result must have one rank")
        fits = all(b >= 0 and b + x <= r for x, r, b in zip(xs, rs, low, strict=True))
        expect(fits, f"{dims(xs)} behind {dims(low)} does not fit {dims(rs)}")


@irdl_op_definition
class ExpandOp(IRDLOperation):
    """x repeated along dimensions of one element, as numpy broadcasts it."""

    name = "dstc.expand"
    x = operand_def(TENSOR)
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, result_type: Attribute):
        super().__init__(operands=[x], result_types=[result_type])

    def verify_(self) -> None:
        xs, rs = shape_of(self.x.type), shape_of(self.result.type)
        expect(broadcast(xs, rs) == rs, f"{dims(xs)} does not expand to {dims(rs)}")


@irdl_op_definition
class ConcatOp(IRDLOperation):
    """Tensors one behind the other along `axis`."""

    name = "dstc.concat"
    inputs = var_operand_def(TENSOR)
    axis = prop_def(IntegerAttr[I64])
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "$inputs attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, inputs: Sequence[SSAValue], axis: int, result_type: Attribute):
        super().__init__(
            operands=[inputs], properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result_type],
        )  # fmt: skip

    def verify_(self) -> None:
        shapes = [shape_of(v.type) for v in self.inputs]
        got, axis = shape_of(self.result.type), self.axis.value.data
        expect(bool(shapes) and 0 <= axis < len(got), "axis is none of the dimensions")
        for s in shapes:
            alike = (
                len(s) == len(got) and s[:axis] == got[:axis] and s[axis + 1 :] == got[axis + 1 :]
            )
            expect(alike, f"{dims(s)} is no part of {dims(got)} along dimension {axis}")
        total = sum(s[axis] for s in shapes)
        expect(total == got[axis], f"the parts have {total} along {axis}, not {got[axis]}")


@irdl_op_definition
class GatherOp(IRDLOperation):
    """Slices of x along `axis`, by indices (i32; from the end if negative).

    Result: x's dimensions with `axis` replaced by those of `indices`. An index outside the
    dimension takes the nearest element: ONNX leaves it undefined.
    """

    name = "dstc.gather"
    x = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    axis = prop_def(IntegerAttr[I64])
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "$x `,` $indices attr-dict `:` type($x) `,` type($indices) `->` type($result)"

    def __init__(self, x: SSAValue, indices: SSAValue, axis: int, result_type: Attribute):
        super().__init__(
            operands=[x, indices], properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result_type],
        )  # fmt: skip

    def verify_(self) -> None:
        xs, axis = shape_of(self.x.type), self.axis.value.data
        expect(0 <= axis < len(xs), f"axis must be 0 to {len(xs) - 1}")
        expect(is_integer(self.indices.type), "indices must be i32")
        want = (*xs[:axis], *shape_of(self.indices.type), *xs[axis + 1 :])
        got = shape_of(self.result.type)
        expect(got == want, f"result must be {dims(want)}, not {dims(got)}")


@irdl_op_definition
class ReduceOp(IRDLOperation):
    """Sum, mean, maximum, minimum or product over `axes`, in f32.

    The order of additions is that of `rows.RowPlan`. The result may keep the axes with one element.
    argmax and argmin: where the first of the largest (smallest) elements is, a NaN being larger
    (smaller) than all, as an f32.
    """

    name = "dstc.reduce"
    x = operand_def(TENSOR)
    kind = prop_def(StringAttr)
    axes: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "$kind $x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, result_type: Attribute, *, kind: str, axes: Sequence[int]):
        super().__init__(
            operands=[x],
            properties={"kind": StringAttr(kind), "axes": ints(axes)},
            result_types=[result_type],
        )

    def verify_(self) -> None:
        xs, axes = shape_of(self.x.type), int_values(self.axes)
        expect(self.kind.data in REDUCTIONS, f"kind must be one of {', '.join(REDUCTIONS)}")
        known = bool(axes) and list(axes) == sorted(set(axes)) and set(axes) <= set(range(len(xs)))
        expect(known, f"axes must be ascending dimensions of {dims(xs)}")
        kept = math.prod(d for i, d in enumerate(xs) if i not in axes)
        got = shape_of(self.result.type)
        expect(math.prod(got) == kept, f"result must have {kept} elements, not {dims(got)}")
        expect(not is_integer(self.x.type), "only floats are reduced")
        few = self.kind.data not in PLACES or math.prod(xs) <= MOST_PLACES * kept
        expect(few, f"a place is one of {MOST_PLACES} at most")


@irdl_op_definition
class NormalizeOp(IRDLOperation):
    """(x - mean) / sqrt(variance + epsilon) over the dimensions from `axis` on, in f32.

    With `centred = false` the mean is taken for 0: x / sqrt(mean of squares + epsilon).
    """

    name = "dstc.normalize"
    x = operand_def(TENSOR)
    axis = prop_def(IntegerAttr[I64])
    epsilon = prop_def(FloatAttr)
    centred = opt_prop_def(BoolAttr)
    result = result_def(TENSOR)
    traits = traits_def(Pure())
    irdl_options = _VALUE_OPTIONS
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self,
        x: SSAValue,
        result_type: Attribute,
        *,
        axis: int,
        epsilon: float,
        centred: bool = True,
    ):
        super().__init__(
            operands=[x],
            properties={
                "axis": IntegerAttr(axis, i64),
                "epsilon": FloatAttr(epsilon, f64),
                "centred": None if centred else BoolAttr.from_bool(False),
            },
            result_types=[result_type],
        )

    @property
    def subtracts_mean(self) -> bool:
        """The mean is taken off."""
        return self.centred is None or bool(self.centred.value.data)

    def verify_(self) -> None:
        same_shape(self.x.type, self.result.type)
        rank = len(shape_of(self.x.type))
        expect(0 <= self.axis.value.data < rank, f"axis must be 0 to {rank - 1}")


@irdl_op_definition
class YieldOp(IRDLOperation):
    """What a fused op gives."""

    name = "dstc.yield"
    value = operand_def()
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "$value attr-dict `:` type($value)"

    def __init__(self, value: SSAValue):
        super().__init__(operands=[value])


@irdl_op_definition
class FusedOp(IRDLOperation):
    """Ops that one kernel computes together; what is between them is never stored.

    The body's arguments are the inputs. A value of f32 within it is not rounded. The last op may be
    a `dstc.encode`: the result is then stored encoded.
    """

    name = "dstc.fused"
    inputs = var_operand_def(TENSOR)
    body = region_def("single_block")
    result = result_def()
    traits = traits_def(Pure(), IsolatedFromAbove())
    assembly_format = (
        "`(` $inputs `)` attr-dict-with-keyword `:` functional-type($inputs, $result) $body"
    )

    def __init__(self, inputs: Sequence[SSAValue], body: Region, result_type: Attribute):
        super().__init__(operands=[inputs], regions=[body], result_types=[result_type])

    @property
    def yielded(self) -> SSAValue:
        """The value that the body gives."""
        last = self.body.block.last_op
        assert isinstance(last, YieldOp)
        return last.value

    @property
    def operations(self) -> list[Operation]:
        """The body's ops but the yield."""
        return [op for op in self.body.block.ops if not isinstance(op, YieldOp)]

    @staticmethod
    def block_for(inputs: Sequence[SSAValue]) -> Block:
        """An empty body for these inputs."""
        return Block(arg_types=[v.type for v in inputs])

    def verify_(self) -> None:
        args = self.body.block.args
        types = [v.type for v in self.inputs]
        expect([a.type for a in args] == types, "the body's arguments must have the inputs' types")
        expect(isinstance(self.body.block.last_op, YieldOp), "the body must end in dstc.yield")
        same = self.yielded.type == self.result.type
        expect(same, f"the body gives {self.yielded.type}, the op {self.result.type}")


INTEGER = i32
"""Element type of integers and truth values."""

POINTWISE_OPS = (
    ElementwiseOp, FillOp, SliceOp, PadOp, ExpandOp, ConcatOp, GatherOp, ReduceOp, NormalizeOp,
    FusedOp, YieldOp,
)  # fmt: skip
"""What the dialect takes in."""
