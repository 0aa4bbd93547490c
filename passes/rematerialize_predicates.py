"""rematerialize-predicates: where too many conditions are live at once, compute them again.

In: scheduled `dstc_isa` kernels on virtual registers. Out: the same, but conditions that are live
where there are more than predicate registers stand right before the instructions that need them.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from ..backend.cfg import Flow
from ..backend.isa.table import NUM_PREDICATES
from ..backend.liveness import Liveness
from ..dialects.dstc_isa import IsaOp, KernelOp, PredType

_NEAR = 6
"""Instructions up to which a condition computed again serves the next reader too."""


def _is_predicate(value: SSAValue) -> bool:
    return isinstance(value.type, PredType)


def _again(op: object) -> bool:
    """The op makes a predicate from its operands alone."""
    return (
        isinstance(op, IsaOp)
        and len(op.outs) == 1
        and _is_predicate(op.outs[0])
        and op.ROW.mnemonic in ("ISETP", "FSETP", "PLOP")
        and not {"guard", "into"} & set(op.uses)
    )


def _crowded(kernel: KernelOp) -> set[SSAValue]:
    """Predicates live where there are more than registers."""
    flow = Flow.of(kernel)
    liveness = Liveness.of(flow)
    predicates = [v for v in liveness.values if _is_predicate(v)]
    found: set[SSAValue] = set()
    for index, block in enumerate(flow.blocks):
        live = {v for v in predicates if liveness.live_out[index] >> liveness.number[v] & 1}
        for op in reversed(list(block.ops)):
            if len(live | {r for r in op.results if _is_predicate(r)}) > NUM_PREDICATES:
                found |= live
            live.difference_update(op.results)
            live.update(v for v in op.operands if _is_predicate(v))
            if len(live) > NUM_PREDICATES:
                found |= live
    return found


def _positions(kernel: KernelOp) -> dict[Operation, int]:
    return {op: i for i, op in enumerate(op for block in kernel.body.blocks for op in block.ops)}


def _recompute(value: SSAValue, positions: dict[Operation, int]) -> bool:
    """Give each reader of `value` that is not near the one before a copy; whether one was made."""
    source = value.owner
    assert isinstance(source, IsaOp)
    uses = sorted(value.uses, key=lambda use: positions[use.operation])
    last: tuple[SSAValue, Block | None, int] = value, source.parent_block(), positions[source]
    made = False
    for use in uses:
        reader = use.operation
        block, at = reader.parent_block(), positions[reader]
        if block is not last[1] or at - last[2] > _NEAR:
            copy = source.clone()
            assert block is not None
            block.insert_op_before(copy, reader)
            positions[copy] = at  # as good as the reader's own
            last = copy.results[0], block, at
            made = True
        reader.operands[use.index] = last[0]
    if not value.uses:
        block = source.parent_block()
        assert block is not None
        block.erase_op(source)
    return made


def rematerialize(kernel: KernelOp) -> None:
    """Recompute conditions of `kernel` until they fit the predicate registers, if they can."""
    while crowded := _crowded(kernel):
        positions = _positions(kernel)
        order = sorted(
            (v for v in crowded if _again(v.owner)),
            key=lambda v: -positions[v.owner] if isinstance(v.owner, Operation) else 0,
        )
        # readers first: what a copy needs is then copied for the copy
        if not any([_recompute(value, positions) for value in order]):
            return


@dataclass(frozen=True)
class RematerializePredicates(ModulePass):
    """Compute conditions again where more are live than there are predicate registers."""

    name = "rematerialize-predicates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                rematerialize(kernel)
