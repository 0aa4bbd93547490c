"""What is only encoded is written encoded by the kernel that computes it.

In: `dstc.encode` of a value that nothing else reads: of a product, or of ops by element, by index
or over windows. Out: the product with the encoded operand as its result, whose epilogue writes it;
a `dstc.fused` that ends in the encoding. The launch of an encoding kernel is saved, and the dense
form is in no memory. `dstc.encode` of a `dstc.decode` of the same type is what that was given.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import Float16Type, TensorType
from xdsl.ir import Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.utils.hints import isa

from ..dialects.dstc import (
    SOURCE,
    BitmapType,
    ConstantOp,
    DecodeOp,
    EncodeOp,
    Engine,
    ImageType,
    MatmulOp,
    Pool2dOp,
    ReshapeOp,
    ScheduleAttr,
    copy_source,
)
from ..dialects.dstc_pointwise import FusedOp, YieldOp
from ..dialects.rows import row_op
from .fuse_pointwise import MOVE, POINT
from .matmul_encode_image import writes_image


def writes_encoded(
    op: MatmulOp, type_: BitmapType | ImageType, schedule: ScheduleAttr | None = None
) -> bool:
    """Whether the kernel of a product can write its result as `type_`, with its schedule or one
    that it may get."""
    schedule = schedule or op.schedule
    if schedule is None:
        return False
    if isinstance(type_, ImageType):
        return writes_image(op, schedule, type_.layout)
    dual = schedule.engine.data == Engine.DUAL
    return dual and op.image is None and schedule.encodes(type_)


def group_of(value: SSAValue) -> list[Operation] | None:
    """The ops, the last one first, whose kernel can encode `value`; None if there is none."""
    found: list[Operation] = []
    while value.has_one_use():
        op = value.owner
        if not isinstance(op, Operation) or any(
            isinstance(v.owner, ConstantOp) for v in op.operands[:1]
        ):
            return None
        found.append(op)
        if isinstance(op, ReshapeOp):  # what moves nothing goes along with what is before it
            value = op.x
            continue
        inner = op.operations if isinstance(op, FusedOp) else [op]
        known = isinstance(op, (FusedOp, Pool2dOp, *POINT, *MOVE))
        return found if known and not any(row_op(o) is not None for o in inner) else None
    return None


class _FuseProduct(RewritePattern):
    """Into the epilogue of a product."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: EncodeOp, rewriter: PatternRewriter) -> None:
        product, type_ = op.input.owner, op.result.type
        if (
            not isinstance(product, MatmulOp)
            or not op.input.has_one_use()
            or not isinstance(type_, BitmapType | ImageType)
            or not isa(op.input.type, TensorType[Float16Type])
            or product.parent is not op.parent
            or not writes_encoded(product, type_)
        ):
            return
        new = MatmulOp.create(
            operands=product.operands,
            result_types=[type_],
            properties=product.properties.copy(),
            attributes=product.attributes.copy(),
        )
        copy_source(new, product, op)
        new.result.name_hint = op.result.name_hint or product.result.name_hint
        rewriter.replace(op, new)
        rewriter.erase(product)


class _FuseGroup(RewritePattern):
    """Into a group of ops that one kernel computes."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: EncodeOp, rewriter: PatternRewriter) -> None:
        if not isinstance(op.result.type, BitmapType | ImageType):
            return
        ops = group_of(op.input)
        if ops is None or isinstance(op.parent_op(), FusedOp):
            return
        root = ops[-1]
        inputs = list(dict.fromkeys(root.operands))
        body = FusedOp.block_for(inputs)
        inside: dict[SSAValue, SSAValue] = dict(zip(inputs, body.args, strict=True))
        for value, arg in inside.items():
            arg.name_hint = value.name_hint
        if isinstance(root, FusedOp):
            own: dict[SSAValue, SSAValue] = dict(zip(root.body.block.args, body.args, strict=True))
            for inner in root.operations:
                body.add_op(inner.clone(value_mapper=own))
            inside[root.result] = own[root.yielded]
            ops = ops[:-1]
        for each in (*reversed(ops), op):
            copy = each.clone(value_mapper=inside)
            copy.attributes.pop(SOURCE, None)
            body.add_op(copy)
        body.add_op(YieldOp(inside[op.result]))
        fused = FusedOp(inputs, Region(body), op.result.type)
        copy_source(fused, root)
        fused.result.name_hint = op.result.name_hint
        old = [*ops, *([root] if isinstance(root, FusedOp) else [])]
        rewriter.replace(op, fused)
        for each in old:
            rewriter.erase(each)


class _EncodeOfDecode(RewritePattern):
    """Encoding what was decoded from the same type."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: EncodeOp, rewriter: PatternRewriter) -> None:
        decode = op.input.owner
        if not isinstance(decode, DecodeOp) or decode.input.type != op.result.type:
            return
        rewriter.replace(op, [], [decode.input])
        if not decode.result.uses:
            rewriter.erase(decode)


@dataclass(frozen=True)
class FuseEncode(ModulePass):
    """Let kernels write encoded what is only read so."""

    name = "fuse-encode"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(
            GreedyRewritePatternApplier([_EncodeOfDecode(), _FuseProduct(), _FuseGroup()])
        ).rewrite_module(op)
