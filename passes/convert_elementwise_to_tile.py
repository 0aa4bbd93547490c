"""convert-elementwise-to-tile: what is no product becomes kernels, a group of ops each.

In: `dstc.fused`, and single ops by element, by index, along rows or over windows. Out: a
`dstc_tile.kernel` with lanes an output element (`map_kernel`), or a row (`row_kernel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from ..dialects import dstc_tile as tile
from ..dialects.dstc import ReshapeOp
from ..dialects.dstc_pointwise import ElementwiseOp, FusedOp
from ..dialects.rows import row_op
from .device_tensor import DeviceTensor
from .kernel_names import KernelNames
from .map_kernel import map_kernel
from .pull import HANDLERS
from .row_kernel import row_kernel


def is_alias(op: ReshapeOp) -> bool:
    """Both shapes lie in device memory in the same way: nothing needs to move."""
    return DeviceTensor.of(op.x.type).layout.covers(DeviceTensor.of(op.result.type).layout)


def group_kernel(
    name: str, root: SSAValue, operations: Sequence[Operation], inputs: Sequence[SSAValue]
) -> tile.KernelOp:
    """The kernel of a group of ops that give `root`; at most one of them is row-wise."""
    for op in operations:
        row = row_op(op)
        if row is not None:
            return row_kernel(name, root, op, row, inputs)
    return map_kernel(name, root, inputs)


def _kernel_of(op: Operation, name: str) -> tile.KernelOp:
    if isinstance(op, FusedOp):
        return group_kernel(name, op.yielded, op.operations, op.body.block.args)
    return group_kernel(name, op.results[0], [op], _inputs(op))


def _inputs(op: Operation) -> list[SSAValue]:
    """What a kernel is given: a value that is an operand twice, once."""
    return list(op.operands) if isinstance(op, FusedOp) else list(dict.fromkeys(op.operands))


def group_name(op: Operation) -> str:
    """What reports call the kernel: the ops in it, each once, in order."""
    ops = op.operations if isinstance(op, FusedOp) else [op]
    names = (o.function.data if isinstance(o, ElementwiseOp) else o.name for o in ops)
    short = [n.removeprefix("dstc.") for n in names]
    kept = [n for n in dict.fromkeys(short) if n not in _SILENT] or short[-1:]
    return "_".join(kept[:MOST_NAMES])


MOST_NAMES = 4
"""Ops that a kernel's name names."""
_SILENT = ("fill", "reshape", "cast", "expand", "encode")
"""Ops that are not worth a name beside others."""


class _ConvertGroup(RewritePattern):
    def __init__(self, names: KernelNames):
        self.names = names

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if isinstance(op.parent_op(), FusedOp):
            return
        if not isinstance(op, FusedOp) and type(op) not in HANDLERS and row_op(op) is None:
            return
        if isinstance(op, ReshapeOp) and is_alias(op):
            return
        what = group_name(op)
        name = self.names.fresh(op, what)
        launch = tile.LaunchOp(name, _inputs(op), [op.results[0].type], op=what)
        self.names.replace(op, rewriter, _kernel_of(op, name), launch)


@dataclass(frozen=True)
class ConvertElementwiseToTile(ModulePass):
    """Turn ops by element, by index, along rows and over windows into kernels and launches."""

    name = "convert-elementwise-to-tile"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(
            _ConvertGroup(KernelNames(op)), apply_recursively=False
        ).rewrite_module(op)
