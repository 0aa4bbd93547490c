"""Convolutions as matrix products on windows of their image.

In: `dstc.conv2d`. Out: the filter as K x CRS matrix (a constant if it was one) and `dstc.matmul`
with `window`, whose right operand is the image; it keeps densities, activation and source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import AnyFloat, ModuleOp, TensorType
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..dialects import dstc
from ..dialects.constants import ConstantPool, constants_of


def _element(value: SSAValue) -> AnyFloat:
    return cast("TensorType[AnyFloat]", value.type).element_type


@dataclass
class ConvToMatmul(RewritePattern):
    """conv2d -> reshape or constant, matmul on windows."""

    pool: ConstantPool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.Conv2dOp, rewriter: PatternRewriter) -> None:
        filters, *crs = dstc.matrix_shape(op.w.type)
        n, _, oh, ow = dstc.matrix_shape(op.result.type)
        weights = self._matrix(op.w, filters, math.prod(crs))
        product = dstc.MatmulOp(
            weights.result,
            op.x,
            op.bias,
            op.result.type,
            bias_along="m",
            activation=op.activation.data if op.activation is not None else dstc.Activation.NONE,
            image=(n, oh, ow),
            window=op.window,
            groups=op.group_count,
            a_density=op.a_density,
            b_density=op.b_density,
            residual=op.residual,
        )
        for new in (weights, product):
            dstc.copy_source(new, op)
        weights.result.name_hint = op.w.name_hint
        source = op.w.owner
        rewriter.replace(op, [weights, product])
        if isinstance(source, dstc.ConstantOp) and not source.result.uses:
            rewriter.erase(source)

    def _matrix(self, w: SSAValue, rows: int, columns: int) -> dstc.ConstantOp | dstc.ReshapeOp:
        """The filter as matrix; a constant whose values are at hand stays a constant."""
        type_ = dstc.tensor((rows, columns), _element(w))
        source = w.owner
        if not isinstance(source, dstc.ConstantOp) or source.constant.data not in self.pool:
            return dstc.ReshapeOp(w, type_)
        name = source.constant.data
        array = self.pool[name].reshape(rows, columns)
        folded = dstc.ConstantOp(self.pool.add(f"{name}.{rows}x{columns}", array), type_)
        folded.density = source.density
        return folded


@dataclass(frozen=True)
class LowerConv(ModulePass):
    """Lower convolutions to products on windows of their images."""

    name = "lower-conv"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(ConvToMatmul(constants_of(ctx))).rewrite_module(op)
