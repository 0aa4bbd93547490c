"""A kernel shaped like a dense GEMM's main loop, to measure register allocation on.

In: sizes. Out: a `dstc_isa.kernel` whose loop carries `accumulators` pairs of registers through
HMMAs and keeps fragments of two buffers.
"""

from __future__ import annotations

from dstc.dialects.dstc_isa import (
    BranchOp,
    ExitOp,
    IsaOp,
    JumpOp,
    KernelOp,
    RegType,
    UndefOp,
    Use,
)
from xdsl.ir import Block, Region, SSAValue


def gemm_like(accumulators: int = 64, steps: int = 8, fragments: int = 8) -> KernelOp:
    """`steps` k-steps a turn, each of 4 HMMAs an accumulator pair."""
    entry, loop, done = Block(), Block(), Block()

    def add(block: Block, mnemonic: str, uses: dict | None = None, **kw: object) -> SSAValue:
        op = IsaOp.build(mnemonic, uses, **kw)  # pyright: ignore[reportArgumentType]
        block.add_op(op)
        return op.outs[0]

    lane = add(entry, "S2R", immediates={"sr": "SR_LANE"})
    pointer = add(entry, "IMAD", {"a": lane}, modifiers=["LO"], immediates={"b": 16})
    zero = add(entry, "MOV", immediates={"b": 0})
    init: list[SSAValue] = [zero, pointer]
    for _ in range(accumulators):
        undef = UndefOp(RegType.of(2))
        entry.add_op(undef)
        low = add(entry, "MOV", {"into": Use(undef.out, 0)}, immediates={"b": 0})
        init.append(add(entry, "MOV", {"into": Use(low, 1)}, immediates={"b": 0}))
    first = [
        add(entry, "LDS", {"a": pointer}, modifiers=["128"], immediates={"offset": 512 * i})
        for i in range(fragments)
    ]
    init.extend(first)
    for value in init:
        loop.insert_arg(value.type, len(loop.args))
    entry.add_op(JumpOp(loop, init))
    count, address = loop.args[0], loop.args[1]
    accs = list(loop.args[2 : 2 + accumulators])
    frags = list(loop.args[2 + accumulators :])
    for step in range(steps):
        loads = [
            add(loop, "LDS", {"a": address}, modifiers=["128"],
                immediates={"offset": 512 * (i + fragments * step)})
            for i in range(fragments)
        ]  # fmt: skip
        for i in range(accumulators):
            for part in range(4):
                a, b = frags[i % (fragments // 2)], frags[fragments // 2 + i // 8 % 4]
                accs[i] = add(
                    loop, "HMMA", {"a": Use(a, part), "b": Use(b, part), "c": accs[i]},
                    modifiers=["884", "AROW", "BCOL", f"STEP{i % 4}"],
                )  # fmt: skip
        frags = loads
    next_address = add(loop, "IADD3", {"a": address}, immediates={"b": 4096})
    following = add(loop, "IADD3", {"a": count}, immediates={"b": 1})
    more = add(loop, "ISETP", {"a": following}, modifiers=["LT", "U32"], immediates={"b": 64})
    loop.add_op(BranchOp(more, loop, [following, next_address, *accs, *frags], done, []))
    for i, acc in enumerate(accs):
        store = IsaOp.build(
            "STG", {"a": pointer, "b": acc}, modifiers=["64"], immediates={"offset": 8 * i}
        )
        done.add_op(store)
    done.add_op(ExitOp())
    return KernelOp(
        "gemm_like", ["a"], Region([entry, loop, done]), warps=4, shared_bytes=0, acc_tiles=0
    )
