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
from ..backend.isa.table import TILE_M
from ..dialects import dstc
from ..runtime.machine import Machine
from .cost_windows import Windows
from .target_machine import DEFAULT_MACHINE, machine_of

IMPLICIT, EXPLICIT = "implicit", "explicit"
LOWERINGS = (IMPLICIT, EXPLICIT)
"""Windows formed by the product's kernel, or a lowered matrix in memory."""


def forms_windows(op: dstc.MatmulOp, schedule: dstc.ScheduleAttr, machine: Machine) -> bool:
    """Whether the schedule's kernel takes the image of a product on windows.

    Windows are the n:m kernel's dense operand, never its sparse one. The dual-side kernel takes
    images that can be encoded, and no schedule whose CTAs take turns or skip steps; of windows of a
    single element the lowered matrix has every element once, and is as good.
    """
    engine = dstc.Engine(schedule.engine.data)
    if engine == dstc.Engine.NM:
        return not schedule.swapped
    if engine == dstc.Engine.DUAL:
        windows = Windows.of(op)
        plain = schedule.vectors == TILE_M and not (schedule.persistent or schedule.skips)
        return windows is not None and plain and windows.encodable(machine, op.group_count)
    return True


@dataclass
class _Materialize(RewritePattern):
    lowering: str
    machine: Machine

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.MatmulOp, rewriter: PatternRewriter) -> None:
        if op.window is None or op.schedule is None:
            return
        if self.lowering == IMPLICIT and forms_windows(op, op.schedule, self.machine):
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
    machine: str = DEFAULT_MACHINE
    """which may have what forming windows takes, or not."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.lowering not in LOWERINGS:
            raise DstcError(f"lowering {self.lowering!r} is not known; use implicit or explicit")
        machine = machine_of(ctx, self.machine)
        PatternRewriteWalker(_Materialize(self.lowering, machine)).rewrite_module(op)
