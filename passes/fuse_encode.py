"""Products whose result is only encoded write it encoded.

In: `dstc.encode` of the result of a `dstc.matmul` on the dual engine that nothing else reads. Out:
the product with the bitmap as its result: its epilogue writes bitmaps, headers and values itself,
and the launch of an encoding kernel is saved. Images are not matrices: they are not fused.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import Float16Type, TensorType
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.utils.hints import isa

from ..dialects.dstc import BitmapType, EncodeOp, Engine, MatmulOp, copy_source


class _FuseEncode(RewritePattern):
    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: EncodeOp, rewriter: PatternRewriter) -> None:
        product = op.input.owner
        if (
            not isinstance(product, MatmulOp)
            or not op.input.has_one_use()
            or product.image is not None
            or product.schedule is None
            or product.schedule.engine.data != Engine.DUAL
            or not isinstance(op.result.type, BitmapType)
            or not product.schedule.encodes(op.result.type)
            or not isa(op.input.type, TensorType[Float16Type])
            or product.parent is not op.parent
        ):
            return
        new = MatmulOp.create(
            operands=product.operands,
            result_types=[op.result.type],
            properties=product.properties.copy(),
            attributes=product.attributes.copy(),
        )
        copy_source(new, product, op)
        new.result.name_hint = op.result.name_hint or product.result.name_hint
        rewriter.replace(op, new)
        rewriter.erase(product)


@dataclass(frozen=True)
class FuseEncode(ModulePass):
    """Let products on the dual engine encode their own result."""

    name = "fuse-encode"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(_FuseEncode()).rewrite_module(op)
