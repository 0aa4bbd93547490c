"""Control flow of a kernel: blocks in reverse postorder, predecessors, loops; edge surgery.

In: a `dstc_isa.kernel`. Out: a `Flow` of its reachable blocks; and, in place, kernels with split
edges, without unreachable blocks, and without blocks that only jump on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Block, SSAValue

from ..dialects.dstc_isa import BranchOp, JumpOp, KernelOp
from ..dialects.provenance import locate


def edges(block: Block) -> list[tuple[Block, Sequence[SSAValue]]]:
    """Successors of `block` with the values passed to their arguments; `taken` comes first."""
    last = block.last_op
    if isinstance(last, JumpOp):
        return [(last.target, last.values)]
    if isinstance(last, BranchOp):
        return [(last.taken, last.taken_values), (last.other, last.other_values)]
    return []


@dataclass(frozen=True)
class Flow:
    """Reachable blocks in reverse postorder, and by their index there: edges, dominators, loops."""

    blocks: tuple[Block, ...]
    index: dict[Block, int]
    successors: tuple[tuple[int, ...], ...]
    predecessors: tuple[tuple[int, ...], ...]
    dominator: tuple[int, ...]
    """Immediate dominator; the entry's is itself."""
    loops: dict[int, frozenset[int]]
    """Natural loops: header -> blocks. Loops that share a header are one."""
    depth: tuple[int, ...]
    """Number of loops around each block."""

    @staticmethod
    def of(kernel: KernelOp) -> Flow:
        """Control flow of `kernel`."""
        blocks = _reverse_postorder(kernel.body.blocks[0])
        index = {block: i for i, block in enumerate(blocks)}
        successors = tuple(
            tuple(dict.fromkeys(index[target] for target, _ in edges(block))) for block in blocks
        )
        incoming: list[list[int]] = [[] for _ in blocks]
        for i, targets in enumerate(successors):
            for target in targets:
                incoming[target].append(i)
        predecessors = tuple(tuple(p) for p in incoming)
        dominator = _dominators(predecessors)
        loops = _loops(successors, predecessors, dominator)
        depth = tuple(sum(i in body for body in loops.values()) for i in range(len(blocks)))
        return Flow(tuple(blocks), index, successors, predecessors, dominator, loops, depth)

    def dominates(self, a: int, b: int) -> bool:
        """Every way from the entry to block `b` passes block `a`."""
        return _dominates(self.dominator, a, b)


def _reverse_postorder(entry: Block) -> list[Block]:
    order: list[Block] = []
    seen = {entry}
    stack = [(entry, iter([target for target, _ in edges(entry)]))]
    while stack:
        block, pending = stack[-1]
        target = next(pending, None)
        if target is None:
            order.append(block)
            stack.pop()
        elif target not in seen:
            seen.add(target)
            stack.append((target, iter([t for t, _ in edges(target)])))
    return order[::-1]


def _dominators(predecessors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Cooper, Harvey, Kennedy, 'A simple, fast dominance algorithm' (2001)."""
    dominator = [0] + [-1] * (len(predecessors) - 1)
    changed = True
    while changed:
        changed = False
        for block in range(1, len(predecessors)):
            known = [p for p in predecessors[block] if dominator[p] >= 0]
            new = known[0]
            for other in known[1:]:
                a, b = new, other
                while a != b:
                    if a > b:
                        a = dominator[a]
                    else:
                        b = dominator[b]
                new = a
            if dominator[block] != new:
                dominator[block] = new
                changed = True
    return tuple(dominator)


def _dominates(dominator: Sequence[int], a: int, b: int) -> bool:
    while b > a:
        b = dominator[b]
    return a == b


def _loops(
    successors: Sequence[Sequence[int]],
    predecessors: Sequence[Sequence[int]],
    dominator: Sequence[int],
) -> dict[int, frozenset[int]]:
    loops: dict[int, set[int]] = {}
    for latch, targets in enumerate(successors):
        for header in targets:
            if not _dominates(dominator, header, latch):
                continue
            body = loops.setdefault(header, {header})
            pending = [latch]
            while pending:
                block = pending.pop()
                if block not in body:
                    body.add(block)
                    pending.extend(predecessors[block])
    return {header: frozenset(body) for header, body in loops.items()}


def remove_unreachable(kernel: KernelOp) -> None:
    """Erase the blocks that control cannot reach."""
    reachable = set(_reverse_postorder(kernel.body.blocks[0]))
    dead = [block for block in kernel.body.blocks if block not in reachable]
    for block in dead:
        for op in reversed(list(block.ops)):
            block.erase_op(op, safe_erase=False)
    for block in dead:
        kernel.body.erase_block(block, safe_erase=False)


def split_edges(kernel: KernelOp) -> None:
    """Give each branch edge that passes values a block of its own, so that copies can stand there.

    Afterwards only jumps pass values.
    """
    for block in list(kernel.body.blocks):
        branch = block.last_op
        if not isinstance(branch, BranchOp):
            continue
        if not branch.taken_values and not branch.other_values:
            continue
        targets: list[Block] = []
        for target, values in edges(block):
            if values:
                jump = JumpOp(target, list(values))
                jump.attributes = dict(branch.attributes)
                locate(jump, branch)
                middle = Block([jump])
                kernel.body.insert_block_after(middle, block)
                target = middle
            targets.append(target)
        _replace_branch(block, branch, targets[0], (), targets[1], ())


def _replace_branch(
    block: Block,
    branch: BranchOp,
    taken: Block,
    taken_values: Sequence[SSAValue],
    other: Block,
    other_values: Sequence[SSAValue],
) -> None:
    new = BranchOp(
        branch.predicate, taken, taken_values, other, other_values,
        negated=branch.negated is not None,
    )  # fmt: skip
    new.attributes = dict(branch.attributes)
    locate(new, branch)
    block.erase_op(branch)
    block.add_op(new)


def fold_jumps(kernel: KernelOp) -> None:
    """Send what comes to a block that only jumps on straight to where that block goes."""
    entry = kernel.body.blocks[0]
    changed = True
    while changed:
        changed = False
        hops = {
            block: only
            for block in kernel.body.blocks
            if isinstance(only := block.first_op, JumpOp)
            and not block.args
            and block is not entry
            and only.target is not block
        }
        for block in kernel.body.blocks:
            last = block.last_op
            if isinstance(last, JumpOp) and last.target in hops:
                hop = hops[last.target]
                new = JumpOp(hop.target, list(hop.values))
                new.attributes = dict(last.attributes)
                locate(new, last)
                block.erase_op(last)
                block.add_op(new)
                changed = True
            elif isinstance(last, BranchOp) and (last.taken in hops or last.other in hops):
                ends: list[tuple[Block, Sequence[SSAValue]]] = []
                for target, values in edges(block):
                    hop = hops.get(target)
                    ends.append((target, values) if hop is None else (hop.target, hop.values))
                _replace_branch(block, last, *ends[0], *ends[1])
                changed = True
            if changed:
                break  # `hops` may hold erased jumps now
        remove_unreachable(kernel)
