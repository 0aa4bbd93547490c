"""encode-operands: products on the sparse engines get encoded operands.

In: `dstc.matmul` whose schedule names the dual or nm engine, with dense operands. Out: the same on
`!dstc.bitmap` operands, or with its one sparse operand as `!dstc.nm`; an im2col encodes a bitmap as
it goes, anything else goes through `dstc.encode` (a constant ahead of time).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import Float16Type, TensorType, f16
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
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.dstc import (
    BitmapType,
    ConstantOp,
    EncodeOp,
    Engine,
    Im2colOp,
    ImageType,
    MatmulOp,
    NmType,
    Side,
    TransposeOp,
    copy_source,
    matrix_shape,
    source_of,
    tensor,
)
from ..runtime.nm_format import Pattern


def _encoded(
    value: SSAValue, side: Side, transposed: bool, op: MatmulOp, rewriter: PatternRewriter,
    pattern: Pattern | None = None,
) -> SSAValue:  # fmt: skip
    """`value` as bitmap: encoded already, made so by its im2col, or by a new `dstc.encode`.

    A transposed operand is turned over first. With a `pattern` it becomes an n:m operand instead.
    """
    if isinstance(value.type, BitmapType | NmType | ImageType):
        return value
    if not isa(value.type, TensorType[Float16Type]):
        source = source_of(op)
        raise DstcError(
            f"{f'node {source[0]!r}' if source else op.name}: operands must be f16, not "
            f"{value.type}; run lower-precision first"
        )
    if op.window is not None and side == Side.B:
        return _encoded_as(
            value, ImageType.of(matrix_shape(value.type), op.window.window), op, rewriter
        )
    if transposed:
        rows, columns = matrix_shape(value.type)
        flipped = TransposeOp(value, [1, 0], tensor((columns, rows), value.type.element_type))
        copy_source(flipped, op)
        rewriter.insert(flipped)
        value = flipped.result
    rows, columns = matrix_shape(value.type)
    owner = value.owner
    if pattern is not None:
        type_ = NmType.of(rows, columns, pattern, side)
    else:
        assert op.schedule is not None
        type_ = BitmapType.of(rows, columns, side, op.schedule.vectors)
    if (
        isinstance(owner, Im2colOp)
        and isinstance(type_, BitmapType)
        and side == Side.B
        and value.has_one_use()
    ):
        new = Im2colOp(owner.x, type_, window=owner.window)
        copy_source(new, owner)
        new.result.name_hint = value.name_hint
        rewriter.replace(owner, new)
        return new.result
    return _encoded_as(value, type_, op, rewriter)


def _encoded_as(
    value: SSAValue, type_: BitmapType | NmType | ImageType, op: MatmulOp,
    rewriter: PatternRewriter,
) -> SSAValue:  # fmt: skip
    """`value` as `type_`, for `op`: by a `dstc.encode` that is there, or a new one."""
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


def _turned(value: SSAValue, pool: ConstantPool, rewriter: PatternRewriter) -> SSAValue:
    """A constant turned over; other values as they are."""
    owner = value.owner
    if not isinstance(owner, ConstantOp) or owner.constant.data not in pool:
        return value
    name = owner.constant.data
    array = np.ascontiguousarray(pool[name].T)
    rows, columns = matrix_shape(value.type)
    type_ = tensor((columns, rows), f16)
    new = ConstantOp(pool.add(f"{name}.t", array), type_)
    new.density = owner.density
    copy_source(new, owner)
    rewriter.insert(new)
    return new.result


def _encode_sparse(
    op: MatmulOp, right: bool, pool: ConstantPool, rewriter: PatternRewriter
) -> None:
    """Give a product on the nm engine its n:m operand."""
    which, side = (1, Side.B) if right else (0, Side.A)
    value = (op.lhs, op.rhs)[which]
    pattern = op.b_pattern if right else op.a_pattern
    if isinstance(value.type, NmType):
        return
    if pattern is None:
        source = source_of(op)
        raise DstcError(
            f"{f'node {source[0]!r}' if source else op.name}: the nm engine needs the n:m pattern "
            f"of its operand {side}; give {side}_pattern, as annotate-sparsity does"
        )
    parsed = Pattern.parse(pattern.data)
    turn = op.transposed[which]
    turned = _turned(value, pool, rewriter) if turn else value
    new = _encoded(turned, side, turn and turned is value, op, rewriter, parsed)
    op.operands[which] = new
    op.properties.pop(f"trans_{side}", None)
    rewriter.notify_op_modified(op)


class _EncodeOperands(RewritePattern):
    def __init__(self, pool: ConstantPool):
        self.pool = pool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        if op.schedule is None or op.schedule.engine.data == Engine.DENSE:
            return
        if op.schedule.engine.data == Engine.NM:
            _encode_sparse(op, op.schedule.swapped, self.pool, rewriter)
            return
        if all(isinstance(v.type, BitmapType | ImageType) for v in (op.lhs, op.rhs)):
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
    """Give products on the sparse engines encoded operands."""

    name = "encode-operands"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(_EncodeOperands(constants_of(ctx))).rewrite_module(op)
