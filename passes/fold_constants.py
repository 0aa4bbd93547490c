"""Reshaped, transposed and cast constants become constants.

In: any IR with `dstc.constant` and its pool. Out: the same IR with the rearranged arrays in the
pool, under names that say what was done; unused constants are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..dialects import dstc
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.interpreters.dstc import rounded

Movement = dstc.ReshapeOp | dstc.TransposeOp | dstc.CastOp


def _suffix(op: Movement) -> str:
    if isinstance(op, dstc.TransposeOp):
        return "t"
    if isinstance(op, dstc.CastOp):
        return str(getattr(op.result.type, "element_type", op.result.type))
    return "x".join(str(d) for d in dstc.matrix_shape(op.result.type))


def fold(op: Movement, source: dstc.ConstantOp, pool: ConstantPool) -> dstc.ConstantOp:
    """The constant that `op` makes of `source`, its array put into the pool."""
    name = source.constant.data
    array = pool[name]
    if isinstance(op, dstc.TransposeOp):
        array = array.transpose(dstc.int_values(op.perm))
    array = rounded(array.reshape(dstc.matrix_shape(op.result.type)), op.result.type)
    folded = dstc.ConstantOp(pool.add(f"{name}.{_suffix(op)}", array), op.result.type)
    folded.density = source.density
    dstc.copy_source(folded, source, op)
    return folded


@dataclass
class FoldMovement(RewritePattern):
    """movement(constant) -> constant."""

    pool: ConstantPool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Movement, rewriter: PatternRewriter) -> None:
        source = op.x.owner
        if not isinstance(source, dstc.ConstantOp):
            return
        folded = fold(op, source, self.pool)
        rewriter.replace(op, folded)
        if not source.result.uses:
            rewriter.erase(source)


@dataclass(frozen=True)
class FoldConstants(ModulePass):
    """Fold reshape, transpose and cast of constants into constants."""

    name = "fold-constants"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(FoldMovement(constants_of(ctx))).rewrite_module(op)
