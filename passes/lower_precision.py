"""f16 storage: operands of products and values between ops in half precision.

In: level-1 IR (f32). Out: arguments, weights and intermediate results in f16; biases, what feeds a
softmax and results of @main that were f32 stay so. `dstc.cast` stands only where an op cannot
change types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import (
    AnyFloat,
    ArrayAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    f16,
    f32,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from ..backend.isa.errors import DstcError
from ..dialects import dstc
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.dstc_pointwise import FusedOp, ReduceOp

_HALF_OPERANDS: dict[type[Operation], int] = {dstc.MatmulOp: 2, dstc.Conv2dOp: 2, dstc.Im2colOp: 1}
"""How many leading operands of an op must be f16."""

_BIAS = 2
"""Which operand of a product is its bias, if it has one, which is f32."""

_SAME_TYPE = dstc.ReshapeOp
"""Ops that move values without touching them: operand and result have one type."""

_NAMES: dict[Attribute, str] = {f16: "float16", f32: "float32"}


def _element(type_: Attribute) -> AnyFloat:
    """A tensor's element type; of what is no tensor the type itself."""
    if isinstance(type_, TensorType):
        return cast("TensorType[AnyFloat]", type_).element_type
    return cast("AnyFloat", type_)


def _is_f32_tensor(value: SSAValue) -> bool:
    type_: Attribute = value.type
    return isinstance(type_, TensorType) and _element(value.type) == f32


def _as(value: SSAValue, element: AnyFloat) -> TensorType[AnyFloat]:
    return dstc.tensor(dstc.matrix_shape(value.type), element)


def round_to_f16(pool: ConstantPool, name: str) -> str:
    """The pool's name of constant `name` in f16; `DstcError` if a finite value overflows."""
    array = pool[name]
    if array.dtype == np.float16:
        return name
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if bool((np.isinf(half) & np.isfinite(array)).any()):
        largest = float(np.abs(array[np.isfinite(array)]).max())
        raise DstcError(
            f"constant {name!r}: {largest:g} does not fit f16 (largest 65504); scale the weights"
        )
    return pool.add(f"{name}.f16", half)


def _has(op: Operation, kind: type[Operation]) -> bool:
    """The op is of a kind, or a fused op with one in it."""
    return isinstance(op, kind) or (
        isinstance(op, FusedOp) and any(isinstance(o, kind) for o in op.operations)
    )


def _only_products(value: SSAValue) -> bool:
    """Only products read the value: it is f16 there."""
    return all(isinstance(u.operation, tuple(_HALF_OPERANDS)) for u in value.uses)


def _fit_body(op: FusedOp) -> None:
    """The body's arguments have the inputs' types, what it gives the result's."""
    for arg, value in zip(op.body.block.args, op.inputs, strict=True):
        if arg.type != value.type:
            Rewriter.replace_value_with_new_type(arg, value.type)
    if op.yielded.type != op.result.type:
        Rewriter.replace_value_with_new_type(op.yielded, op.result.type)


@dataclass
class _Lowering:
    main: FuncOp
    pool: ConstantPool

    def run(self) -> None:
        keep = self._kept_f32()
        self._record_types()
        for arg in self.main.body.block.args:
            self._retype(arg)
        for op in self._ops():
            if not isinstance(op, dstc.ConstantOp):
                for result in op.results:
                    if result not in keep:
                        self._retype(result)
        for op in self._ops():
            self._fit_operands(op)
            if isinstance(op, FusedOp):
                _fit_body(op)
        for op in self._ops():
            if isinstance(op, dstc.ConstantOp) and not op.result.uses:
                op.detach()
                op.erase()
        self.main.update_function_type()

    def _ops(self) -> list[Operation]:
        """Ops of the function; what is within a fused one is never stored, so it stays f32."""
        return [op for block in self.main.body.blocks for op in block.ops]

    def _kept_f32(self) -> set[SSAValue]:
        """Results of the function, operands of softmax, sums and biases, back through reshapes."""
        keep: set[SSAValue] = set()
        for op in self._ops():
            values = (
                tuple(op.operands) if isinstance(op, ReturnOp) or _has(op, dstc.SoftmaxOp) else ()
            )
            if _has(op, ReduceOp) and not _only_products(op.results[0]):
                keep.update(op.results)
            if isinstance(op, dstc.MatmulOp | dstc.Conv2dOp) and op.bias is not None:
                values = (op.bias,)
            for value in values:
                keep.add(value)
                while isinstance(owner := value.owner, _SAME_TYPE):
                    value = owner.x
                    keep.add(value)
        return keep

    def _record_types(self) -> None:
        """Keep the model's own element types, if no front end has recorded them."""
        signature = self.main.function_type
        for key, types in (
            ("dstc.input_types", signature.inputs),
            ("dstc.output_types", signature.outputs),
        ):
            names = [StringAttr(_NAMES.get(_element(t), "float32")) for t in types]
            self.main.attributes.setdefault(key, ArrayAttr(names))

    def _retype(self, value: SSAValue) -> None:
        if _is_f32_tensor(value):
            Rewriter.replace_value_with_new_type(value, _as(value, f16))

    def _fit_operands(self, op: Operation) -> None:
        for i, value in enumerate(op.operands):
            element = self._wanted(op, i)
            if element is not None and _element(value.type) != element:
                op.operands[i] = self._converted(op, value, element)

    def _wanted(self, op: Operation, index: int) -> AnyFloat | None:
        if isinstance(op, ReturnOp):
            if not isinstance(op.operands[index].type, TensorType):
                return None
            return _element(self.main.function_type.outputs.data[index])
        if isinstance(op, _SAME_TYPE):
            return _element(op.result.type)
        if isinstance(op, dstc.MatmulOp | dstc.Conv2dOp) and index == _BIAS:
            return f32 if op.bias is not None else None
        if index < _HALF_OPERANDS.get(type(op), 0) and _is_f32_tensor(op.operands[index]):
            return f16
        return None

    def _converted(self, op: Operation, value: SSAValue, element: AnyFloat) -> SSAValue:
        source = value.owner
        if isinstance(source, dstc.ConstantOp) and element == f16:
            name = round_to_f16(self.pool, source.constant.data)
            new: dstc.ConstantOp | dstc.CastOp = dstc.ConstantOp(name, _as(value, f16))
            at = source
        else:
            new, at = dstc.CastOp(value, _as(value, element)), op
        dstc.copy_source(new, op)
        Rewriter.insert_op(new, InsertPoint.before(at))
        new.result.name_hint = value.name_hint
        return new.result


@dataclass(frozen=True)
class LowerPrecision(ModulePass):
    """Store operands and intermediate values in f16, accumulate in f32."""

    name = "lower-precision"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for main in [f for f in op.walk() if isinstance(f, FuncOp)]:
            if main.body.blocks:
                _Lowering(main, constants_of(ctx)).run()
