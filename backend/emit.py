"""Emission: kernels of allocated `dstc_isa` to machine code.

In: a `dstc_isa.kernel` after register allocation. Out: a `Kernel` of 128-bit words, with blocks
placed so that loops are contiguous and most jumps fall through, and a source text an instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from ..dialects.dstc_isa import (
    BranchOp,
    ExitOp,
    FenceOp,
    IsaOp,
    JumpOp,
    KernelOp,
    PredType,
    RegType,
    UndefOp,
)
from .cfg import Flow, remove_unreachable
from .isa.encoding import ALWAYS, Imm, Inst, Param, Reg, Value, encode
from .isa.errors import DstcError
from .isa.program import Kernel
from .isa.table import RZ, SPECIAL_REGISTERS, Kind, Operand


def emit_module(module: ModuleOp) -> dict[str, Kernel]:
    """Machine code of all kernels in `module`, by name. Errors as `emit_kernel`'s."""
    kernels: dict[str, Kernel] = {}
    for op in module.walk():
        if isinstance(op, KernelOp):
            kernels[op.sym_name.data] = emit_kernel(op)
    return kernels


def emit_kernel(kernel: KernelOp) -> Kernel:
    """Machine code of `kernel`; `DstcError` if its registers are not allocated."""
    name = kernel.sym_name.data
    if kernel.registers is None:
        raise DstcError(f"kernel {name}: registers are not allocated; run allocate-registers first")
    remove_unreachable(kernel)
    order = place_blocks(Flow.of(kernel))
    lines: list[_Line] = []
    start: dict[Block, int] = {}
    for block, following in zip(order, (*order[1:], None), strict=True):
        start[block] = len(lines)
        for op in block.ops:
            lines.extend(_lines(op, following))
    words = [encode(line.resolved(start)) for line in lines]
    return Kernel(
        name=name,
        code=np.array(words, dtype=np.uint64).reshape(-1, 2),
        registers=kernel.registers.value.data,
        warps=kernel.warps.value.data,
        shared_bytes=kernel.shared_bytes.value.data,
        acc_tiles=kernel.acc_tiles.value.data,
        params=tuple(param.data for param in kernel.params.data),
        sources=tuple(source_text(kernel, line.op) for line in lines),
    )


def emitted_ops(kernel: KernelOp) -> list[Operation]:
    """The op that each instruction of `emit_kernel` comes from, in their order."""
    remove_unreachable(kernel)
    order = place_blocks(Flow.of(kernel))
    found: list[Operation] = []
    for block, following in zip(order, (*order[1:], None), strict=True):
        for op in block.ops:
            found.extend([op] * len(_lines(op, following)))
    return found


def place_blocks(flow: Flow) -> tuple[Block, ...]:
    """The order of the blocks in the code: the entry first, each loop's blocks together.

    A loop that is left at its header and closed by a jump has its header last, so that a turn
    takes one branch instead of two.
    """
    return tuple(flow.blocks[i] for i in _place(flow, 0, frozenset(range(len(flow.blocks)))))


def _place(flow: Flow, header: int, body: frozenset[int]) -> list[int]:
    order: list[int] = []
    placed: set[int] = set()
    for block in sorted(body):
        if block in placed:
            continue
        inner = flow.loops.get(block, frozenset[int]())
        part = _place_loop(flow, block, inner) if block != header and inner else [block]
        order.extend(part)
        placed.update(part)
    return order


def _place_loop(flow: Flow, header: int, body: frozenset[int]) -> list[int]:
    order = _place(flow, header, body)
    leaves = any(target not in body for target in flow.successors[header])
    last = flow.blocks[order[-1]].last_op
    closed = isinstance(last, JumpOp) and last.target is flow.blocks[header]
    return order[1:] + order[:1] if leaves and closed and len(order) > 1 else order


@dataclass(frozen=True)
class _Line:
    """An instruction that may still name a block, and the op that it is made from."""

    op: Operation
    inst: Inst
    target: Block | None = None

    def resolved(self, start: dict[Block, int]) -> Inst:
        """The instruction, with the block's position for the branch target."""
        if self.target is None:
            return self.inst
        return Inst(self.inst.mnemonic, {"target": start[self.target]}, guard=self.inst.guard)


def _lines(op: Operation, following: Block | None) -> list[_Line]:
    match op:
        case IsaOp():
            return [_Line(op, instruction(op))]
        case UndefOp() | FenceOp():
            return []
        case ExitOp():
            return [_Line(op, Inst("EXIT"))]
        case JumpOp():
            return _jump(op, op.target, following)
        case BranchOp():
            return _branch(op, following)
        case _:
            raise DstcError(f"{op.name} is no instruction; lower it to dstc_isa first")


def _jump(op: Operation, target: Block, following: Block | None) -> list[_Line]:
    return [] if target is following else [_Line(op, Inst("BRA"), target)]


def _branch(op: BranchOp, following: Block | None) -> list[_Line]:
    if op.taken is op.other:
        return _jump(op, op.taken, following)
    index, negated = _predicate(op.predicate), op.negated is not None
    taken, other = op.taken, op.other
    if taken is following:
        taken, other, negated = other, taken, not negated
    branch = _Line(op, Inst("BRA", guard=(index, negated)), taken)
    return [branch, *_jump(op, other, following)]


def _register(value: SSAValue, sub: int) -> int:
    type_ = value.type
    if not isinstance(type_, RegType) or type_.assigned is None:
        raise DstcError("a value has no register; run allocate-registers first")
    return RZ if type_.assigned == RZ else type_.assigned + sub


def _predicate(value: SSAValue) -> int:
    type_ = value.type
    if not isinstance(type_, PredType) or type_.assigned is None:
        raise DstcError("a value has no predicate; run allocate-registers first")
    return type_.assigned


def instruction(op: IsaOp) -> Inst:
    """The instruction that `op` is; `DstcError` if an operand has no register."""
    uses = op.uses
    operands: dict[str, Value] = {}
    for operand in op.ROW.operands:
        value = _destination(op) if operand.write else _OPERANDS[operand.kind](op, operand)
        if value is not None:
            operands[operand.role] = value
    guard = uses.get("guard")
    return Inst(
        op.ROW.mnemonic,
        operands,
        op.modifier_choices,
        ALWAYS if guard is None else (_predicate(guard.value), guard.negated),
    )


def _destination(op: IsaOp) -> Value:
    out = op.outs[0]
    if isinstance(out.type, PredType):
        return _predicate(out), False
    into = op.uses.get("into")
    return _register(out, 0 if into is None else into.sub)


def _reg(op: IsaOp, operand: Operand) -> Value:
    use = op.uses.get(operand.role)
    return RZ if use is None else _register(use.value, use.sub)


def _pred(op: IsaOp, operand: Operand) -> Value | None:
    use = op.uses.get(operand.role)
    return None if use is None else (_predicate(use.value), use.negated)


def _integer(op: IsaOp, role: str) -> int:
    value = op.immediate_values.get(role, 0)
    if not isinstance(value, int) or not -(1 << 31) <= value < 1 << 32:
        raise DstcError(f"{op.name}: immediate {role} = {value} does not fit 32 bits")
    return value


def _flex(op: IsaOp, operand: Operand) -> Value:
    if operand.role in op.uses:
        use = op.uses[operand.role]
        return Reg(_register(use.value, use.sub))
    if "param" in op.immediate_values:
        return Param(4 * _integer(op, "param"))
    return Imm(_integer(op, operand.role) & 0xFFFFFFFF)


def _addr(op: IsaOp, operand: Operand) -> Value:
    register = _reg(op, operand)
    assert isinstance(register, int)
    return register, _integer(op, "offset")


def _acc(op: IsaOp, operand: Operand) -> Value:
    return _integer(op, operand.role)


def _sreg(op: IsaOp, operand: Operand) -> Value:
    return SPECIAL_REGISTERS.index(str(op.immediate_values[operand.role]))


_OPERANDS: dict[Kind, Callable[[IsaOp, Operand], Value | None]] = {
    Kind.REG: _reg,
    Kind.PRED: _pred,
    Kind.FLEX: _flex,
    Kind.ADDR: _addr,
    Kind.ACC: _acc,
    Kind.SREG: _sreg,
}


def source_text(kernel: KernelOp, op: Operation) -> str:
    """What traps and profiles say an instruction is from: model nodes / kernel / tile op."""
    nodes = _names(op.attributes.get("dstc.source") or kernel.attributes.get("dstc.source"))
    tile = _names(op.attributes.get("dstc_isa.tile"))
    parts = (", ".join(nodes), kernel.sym_name.data, ", ".join(tile))
    return " / ".join(part for part in parts if part)


def _names(attr: Attribute | None) -> Sequence[str]:
    if isinstance(attr, StringAttr):
        return (attr.data,)
    if isinstance(attr, ArrayAttr):
        items = cast("ArrayAttr[Attribute]", attr).data
        return tuple(a.data if isinstance(a, StringAttr) else str(a) for a in items)
    return ()
