"""Lowered matrices of convolutions in memory, for products that do not form windows themselves.

In: `dstc.matmul` with `window` and a schedule. Out: the same on the result of a `dstc.im2col`,
where the schedule's engine has no kernel on windows, or everywhere with `lowering` explicit.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f16
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..backend.isa.errors import DstcError
from ..dialects import dstc

IMPLICIT, EXPLICIT = "implicit", "explicit"
LOWERINGS = (IMPLICIT, EXPLICIT)
"""Windows formed by the product's kernel, or a lowered matrix in memory."""

FORMS_WINDOWS: dict[dstc.Engine, bool] = {
    dstc.Engine.DENSE: True,
    dstc.Engine.NM: True,
    dstc.Engine.DUAL: False,
}
"""Engine -> its kernel forms windows of an image itself."""


@dataclass
class _Materialize(RewritePattern):
    lowering: str

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.MatmulOp, rewriter: PatternRewriter) -> None:
        if op.window is None or op.schedule is None:
            return
        if FORMS_WINDOWS[dstc.Engine(op.schedule.engine.data)] and self.lowering == IMPLICIT:
            return
        if op.group_count > 1:
            source = dstc.source_of(op)
            raise DstcError(
                f"{f'node {source[0]!r}' if source else op.name}: groups have no lowered matrix; "
                "use --engine dense and --lowering implicit"
            )
        _, n, k = op.sizes
        lowered = dstc.Im2colOp(op.rhs, dstc.tensor((k, n), f16), window=op.window.window)
        dstc.copy_source(lowered, op)
        lowered.result.name_hint = "columns"
        rewriter.insert(lowered)
        op.operands[1] = lowered.result
        del op.properties["window"]
        rewriter.notify_op_modified(op)


@dataclass(frozen=True)
class MaterializeIm2col(ModulePass):
    """Put the lowered matrix of a convolution into memory where its kernel needs it there."""

    name = "materialize-im2col"

    lowering: str = IMPLICIT
    """implicit, or explicit: for every convolution."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.lowering not in LOWERINGS:
            raise DstcError(f"lowering {self.lowering!r} is not known; use implicit or explicit")
        PatternRewriteWalker(_Materialize(self.lowering)).rewrite_module(op)
