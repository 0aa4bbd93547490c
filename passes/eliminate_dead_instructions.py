"""eliminate-dead-instructions: drop what no store, barrier, accumulation or branch depends on.

In: `dstc_isa` kernels on virtual registers. Out: the same without dead instructions and dead block
arguments, those that only feed themselves round a loop included.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from ..backend.cfg import edges, remove_unreachable
from ..backend.isa.table import Unit
from ..dialects.dstc_isa import BranchOp, IsaOp, JumpOp, KernelOp
from ..dialects.provenance import locate


def _acts(op: Operation) -> bool:
    """The op does more than make its result."""
    if isinstance(op, BranchOp):
        return True
    if not isinstance(op, IsaOp):
        return False
    row = op.ROW
    return "store" in row.tags or not op.outs or row.unit in (Unit.BRANCH, Unit.BARRIER)


def eliminate(kernel: KernelOp) -> None:
    """Remove dead instructions and block arguments of `kernel`, in place."""
    remove_unreachable(kernel)
    blocks = list(kernel.body.blocks)
    arriving: dict[BlockArgument, list[SSAValue]] = {}
    for block in blocks:
        for target, values in edges(block):
            for arg, value in zip(target.args, values, strict=True):
                arriving.setdefault(arg, []).append(value)
    live: set[SSAValue] = set()
    pending: list[SSAValue] = []
    for block in blocks:
        for op in block.ops:
            if isinstance(op, BranchOp):
                pending.append(op.predicate)
            elif _acts(op):
                pending.extend(op.operands)
    while pending:
        value = pending.pop()
        if value in live:
            continue
        live.add(value)
        if isinstance(value, BlockArgument):
            pending.extend(arriving.get(value, ()))
        elif isinstance(value.owner, Operation):
            pending.extend(value.owner.operands)
    for block in blocks:
        _pass_only_live(block, live)
    for block in blocks:
        for op in reversed(list(block.ops)):
            if op.results and not _acts(op) and op.results[0] not in live:
                block.erase_op(op, safe_erase=False)
    for block in blocks:
        for arg in reversed(block.args):
            if arg not in live:
                block.erase_arg(arg)


def _pass_only_live(block: Block, live: set[SSAValue]) -> None:
    """Let the terminator pass values for live arguments only."""
    last = block.last_op
    kept = [
        [v for arg, v in zip(target.args, values, strict=True) if arg in live]
        for target, values in edges(block)
    ]
    if isinstance(last, JumpOp):
        new = JumpOp(last.target, kept[0])
    elif isinstance(last, BranchOp):
        new = BranchOp(
            last.predicate, last.taken, kept[0], last.other, kept[1],
            negated=last.negated is not None,
        )  # fmt: skip
    else:
        return
    if len(new.operands) == len(last.operands):
        new.erase()
        return
    new.attributes = dict(last.attributes)
    locate(new, last)
    block.erase_op(last)
    block.add_op(new)


@dataclass(frozen=True)
class EliminateDeadInstructions(ModulePass):
    """Remove instructions and block arguments whose results nothing needs."""

    name = "eliminate-dead-instructions"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                eliminate(kernel)
