"""Instructions of loops and branches: blocks, reconvergence regions. Not a pass.

In: `scf` ops of a kernel, and those that are no code. Out: `HANDLERS`.
"""

from __future__ import annotations

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Block, Operation

from ..dialects import dstc_isa as isa
from ..dialects import dstc_tile as tile
from ..dialects.dstc_isa import Use
from .isa_builder import (
    Constant,
    Handler,
    KernelConverter,
    signed_constant,
)


def _for(c: KernelConverter, op: scf.ForOp) -> None:
    bounds = [c.word(v) for v in (op.lb, op.ub, op.step)]
    if isinstance(bounds[2], Constant) and not 0 < bounds[2].bits < 1 << 31:
        raise c.error("the step of an scf.for must be positive")
    counted = all(isinstance(w, Constant) for w in bounds)
    lower, upper = (signed_constant(w) if isinstance(w, Constant) else 0 for w in bounds[:2])
    if counted and lower >= upper:
        for value, result in zip(op.iter_args, op.results, strict=True):
            c.check_carried(value)
            c.words[result] = c.all_words(value)
        return
    # Bounds in registers may differ from lane to lane.
    uniform = "uniform" in op.attributes or not any(isinstance(w, Use) for w in bounds)
    inits = [piece for v in op.iter_args for piece in c.pieces(v)]
    start = c.group([bounds[0]], 1)
    loop, after = Block(), Block()
    c.region.add_block(loop)
    for arg in op.body.block.args:
        c.bind(arg, loop)
    for result in op.results:
        c.bind(result, after)
    if not uniform:
        c.emit("BSSY")
    if counted:
        c.block.add_op(isa.JumpOp(loop, [start, *inits]))
    else:
        enter = c.less(Use(start), bounds[1])
        c.block.add_op(isa.BranchOp(enter.value, loop, [start, *inits], after, inits))
    c.block = loop
    body = op.body.block
    c.convert_block(body)
    c.origin, c.location = StringAttr(op.name), op.location
    yielded = body.last_op
    assert isinstance(yielded, scf.YieldOp)
    carried = [piece for v in yielded.arguments for piece in c.pieces(v)]
    (counter,) = c.words[body.args[0]]
    following = c.add3(counter, bounds[2], Constant(0))
    again = c.less(following, bounds[1])
    c.block.add_op(isa.BranchOp(again.value, loop, [following.value, *carried], after, carried))
    c.region.add_block(after)
    c.block = after
    if not uniform:
        c.emit("BSYNC")


def _while(c: KernelConverter, op: scf.WhileOp) -> None:
    uniform = "uniform" in op.attributes
    before, body = op.before_region.block, op.after_region.block
    inits = [piece for v in op.arguments for piece in c.pieces(v)]
    loop, further, after = Block(), Block(), Block()
    c.region.add_block(loop)
    for arg in before.args:
        c.bind(arg, loop)
    for arg in body.args:
        c.bind(arg, further)
    for result in op.results:
        c.bind(result, after)
    if not uniform:
        c.emit("BSSY")
    c.block.add_op(isa.JumpOp(loop, inits))
    c.block = loop
    c.convert_block(before)
    c.origin, c.location = StringAttr(op.name), op.location
    condition = before.last_op
    assert isinstance(condition, scf.ConditionOp)
    passed = [piece for v in condition.args for piece in c.pieces(v)]
    again = c.predicate(condition.condition)
    if again is None:
        raise c.error("the condition of an scf.while must not be constant")
    c.block.add_op(isa.BranchOp(again.value, further, passed, after, passed, negated=again.negated))
    c.region.add_block(further)
    c.block = further
    c.convert_block(body)
    yielded = body.last_op
    assert isinstance(yielded, scf.YieldOp)
    c.block.add_op(isa.JumpOp(loop, [piece for v in yielded.arguments for piece in c.pieces(v)]))
    c.region.add_block(after)
    c.block = after
    if not uniform:
        c.emit("BSYNC")


def _if(c: KernelConverter, op: scf.IfOp) -> None:
    condition = c.predicate(op.cond)
    if condition is None:
        taken = op.true_region.block
        c.convert_block(taken)
        assert isinstance(taken.last_op, scf.YieldOp)
        for result, value in zip(op.results, taken.last_op.arguments, strict=True):
            c.check_carried(result)
            c.words[result] = c.all_words(value)
        return
    uniform = "uniform" in op.attributes
    blocks = [r.block for r in (op.true_region, op.false_region) if r.blocks]
    after = Block()
    for result in op.results:
        c.bind(result, after)
    sides = [Block() for _ in blocks]
    if not uniform:
        c.emit("BSSY")
    other = sides[1] if len(sides) > 1 else after
    c.block.add_op(
        isa.BranchOp(condition.value, sides[0], [], other, [], negated=condition.negated)
    )
    for side, block in zip(sides, blocks, strict=True):
        c.region.add_block(side)
        c.block = side
        c.convert_block(block)
        yielded = block.last_op
        assert isinstance(yielded, scf.YieldOp)
        carried = [piece for v in yielded.arguments for piece in c.pieces(v)]
        c.block.add_op(isa.JumpOp(after, carried))
    c.region.add_block(after)
    c.block = after
    if not uniform:
        c.origin, c.location = StringAttr(op.name), op.location
        c.emit("BSYNC")


def _nothing(c: KernelConverter, op: Operation) -> None:
    del c, op


HANDLERS: dict[type[Operation], Handler] = {
    arith.CmpiOp: _nothing,
    scf.ForOp: _for,
    scf.IfOp: _if,
    scf.WhileOp: _while,
    scf.ConditionOp: _nothing,
    scf.YieldOp: _nothing,
    tile.ReturnOp: _nothing,
}
"""Handlers by op."""
