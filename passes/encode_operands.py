"""encode-operands: products on the dual-side engine get bitmap operands.

In: `dstc.matmul` whose schedule names the dual engine, with dense operands. Out: the same on
`!dstc.bitmap` operands; an im2col encodes as it goes, anything else goes through `dstc.encode` (a
constant ahead of time).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import Float16Type, TensorType
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.utils.hints import isa

from ..backend.isa.errors import DstcError
from ..dialects.dstc import (
    BitmapType,
    EncodeOp,
    Engine,
    Im2colOp,
    MatmulOp,
    Side,
    TransposeOp,
    copy_source,
    matrix_shape,
    source_of,
    tensor,
)


def _encoded(
    value: SSAValue, side: Side, transposed: bool, op: MatmulOp, rewriter: PatternRewriter
) -> SSAValue:
    """`value` as bitmap: encoded already, made so by its im2col, or by a new `dstc.encode`.

    A transposed operand is turned over first.
    """
    if isinstance(value.type, BitmapType):
        return value
    if not isa(value.type, TensorType[Float16Type]):
        source = source_of(op)
        raise DstcError(
            f"{f'node {source[0]!r}' if source else op.name}: operands must be f16, not "
            f"{value.type}; run lower-precision first"
        )
    if transposed:
        rows, columns = matrix_shape(value.type)
        flipped = TransposeOp(value, [1, 0], tensor((columns, rows), value.type.element_type))
        copy_source(flipped, op)
        rewriter.insert(flipped)
        value = flipped.result
    rows, columns = matrix_shape(value.type)
    assert op.schedule is not None
    type_ = BitmapType.of(rows, columns, side, op.schedule.vectors)
    owner = value.owner
    if isinstance(owner, Im2colOp) and side == Side.B and value.has_one_use():
        kernel, strides, pads, dilations = owner.window
        new = Im2colOp(
            owner.x, type_, kernel=kernel, strides=strides, pads=pads, dilations=dilations
        )
        copy_source(new, owner)
        new.result.name_hint = value.name_hint
        rewriter.replace(owner, new)
        return new.result
    for use in value.uses:
        other = use.operation
        if (
            isinstance(other, EncodeOp)
            and other.result.type == type_
            and other.parent is op.parent
            and other.is_before_in_block(op)
        ):
            return other.result
    encode = EncodeOp(value, type_)
    copy_source(encode, op)
    rewriter.insert(encode)
    return encode.result


class _EncodeOperands(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        if op.schedule is None or op.schedule.engine.data != Engine.DUAL:
            return
        if all(isinstance(v.type, BitmapType) for v in (op.lhs, op.rhs)):
            return
        lhs = _encoded(op.lhs, Side.A, op.transposed[0], op, rewriter)
        rhs = _encoded(op.rhs, Side.B, op.transposed[1], op, rewriter)
        new = MatmulOp.create(
            operands=[lhs, rhs, *op.operands[2:]],
            result_types=[op.result.type],
            properties={k: v for k, v in op.properties.items() if not k.startswith("trans_")},
            attributes=dict(op.attributes),
        )
        new.result.name_hint = op.result.name_hint
        rewriter.replace(op, new)


@dataclass(frozen=True)
class EncodeOperands(ModulePass):
    """Give products on the dual-side engine bitmap operands."""

    name = "encode-operands"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(_EncodeOperands()).rewrite_module(op)
