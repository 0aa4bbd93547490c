"""The machine that interprets `dstc_isa` kernels: registers are values, allocated or not.

In: a `dstc_isa.kernel` and its parameter words. Out: its effects on global memory. All lanes of all
CTAs run at once, those that are furthest behind first, so that lanes that parted meet again; warps
wait at barriers. What an instruction computes is in `isa_ops.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase
from xdsl.ir import Block, Operation, SSAValue

from ...backend.isa.errors import DstcError
from ...backend.isa.table import WARP_SIZE, Kind
from ..dstc import int_values
from ..dstc_isa import (
    BranchOp,
    ExitOp,
    FenceOp,
    IsaOp,
    JumpOp,
    KernelOp,
    PredType,
    RegType,
    UndefOp,
    Use,
)
from .isa_ops import SEMANTICS, Operands
from .simt_memory import Array, Fault, Mask, Memory

_GARBAGE = np.uint32(0xFFFFFFFF)
"""What registers hold that nobody wrote: a NaN."""
_LIMIT = 1 << 20
"""Stretches of instructions that a launch may take."""


class IsaMachine:
    """One launch. Registers are u32 arrays that broadcast to (CTAs, warps, 32, group size),
    predicates bool arrays that broadcast to (CTAs, warps, 32)."""

    def __init__(self, kernel: KernelOp, memory: Memory, races: bool = False):
        self.kernel, self.memory = kernel, memory
        grid = cast("DenseArrayBase[Any]", kernel.attributes["grid"])
        self.ctas = int_values(grid)
        self.grid = (int(np.prod(self.ctas)), kernel.warps.value.data, WARP_SIZE)
        self.shared = Memory.shared(
            kernel.shared_bytes.value.data, self.grid[0], self.grid[1] if races else 0
        )
        tiles = kernel.acc_tiles.value.data
        self.acc = np.full((self.grid[0] * self.grid[1], tiles, 32, 32), np.nan, np.float32)
        self.parameters: tuple[int, ...] = ()
        self._values: dict[SSAValue, Array] = {}
        self._ops: list[Operation] = []
        self._start: dict[Block, int] = {}
        for block in kernel.body.blocks:
            self._start[block] = len(self._ops)
            self._ops.extend(block.ops)
        self._end = len(self._ops)
        self._at = np.zeros(self.grid, np.int64)
        """Where each lane is in `_ops`."""
        self._waits = np.zeros(self.grid, np.bool_)

    def run(self, parameters: Sequence[int]) -> None:
        """Run the kernel on its parameter words."""
        self.parameters = tuple(parameters)
        with np.errstate(all="ignore"):
            for _ in range(_LIMIT):
                ready = (self._at < self._end) & ~self._waits
                if ready.any():
                    at = int(self._at[ready].min())
                    self._stretch(at, ready & (self._at == at))
                elif self._waits.any():
                    self.shared.synchronize(np.asarray(self._waits.any(axis=(1, 2))))
                    self._waits[:] = False
                else:
                    return
        raise DstcError(f"kernel {self.kernel.sym_name.data}: does not end")

    def _stretch(self, at: int, lanes: Mask) -> None:
        """Run `lanes` from `at` to the end of the block or a barrier."""
        mask = None if lanes.all() else lanes
        while True:
            op = self._ops[at]
            match op:
                case JumpOp():
                    self._go(op.target, op.values, lanes)
                    return
                case BranchOp():
                    holds = np.broadcast_to(self._values[op.predicate], self.grid)
                    taken = holds != (op.negated is not None)
                    self._go(op.taken, op.taken_values, lanes & taken)
                    self._go(op.other, op.other_values, lanes & ~taken)
                    return
                case ExitOp():
                    self._at[lanes] = self._end
                    return
                case UndefOp():
                    self._undefined(op)
                case FenceOp():
                    pass
                case IsaOp() if op.ROW.mnemonic == "BAR":
                    self._at[lanes] = at + 1
                    self._waits[lanes] = True
                    return
                case IsaOp():
                    self._instruction(op, mask)
                case _:
                    raise self.error(op, "the interpreter does not know this op")
            at += 1

    def _go(self, block: Block, values: Sequence[SSAValue], lanes: Mask) -> None:
        if not lanes.any():
            return
        given = [self._values[v] for v in values]
        for arg, value in zip(block.args, given, strict=True):
            self._assign(arg, value, None if lanes.all() else lanes)
        self._at[lanes] = self._start[block]

    def _assign(self, target: SSAValue, value: Array, mask: Mask | None) -> None:
        if mask is not None:
            old = self._values.get(target)
            if old is None:
                old = np.zeros((), value.dtype) if value.dtype == np.bool_ else _GARBAGE
            value = np.where(mask if value.dtype == np.bool_ else mask[..., None], value, old)
        self._values[target] = value

    def _undefined(self, op: UndefOp) -> None:
        type_ = op.out.type
        if isinstance(type_, RegType):
            self._values[op.out] = np.full((1, 1, 1, type_.registers), _GARBAGE)
        else:
            assert isinstance(type_, PredType)
            self._values[op.out] = np.zeros((1, 1, 1), np.bool_)

    # Instructions

    def _instruction(self, op: IsaOp, mask: Mask | None) -> None:
        uses, row = op.uses, op.ROW
        runs = mask
        if "guard" in uses:
            guard = self._predicate(uses["guard"])
            runs = np.broadcast_to(guard if mask is None else guard & mask, self.grid)
        operands = Operands(
            {o.role: self._operand(op, o.role, o.kind, uses) for o in row.operands
             if not o.write and o.kind in _REGISTERS},
            op.modifier_choices,
            op.immediate_values,
            op.operand_registers("into") if op.result_operand is not None else 0,
        )  # fmt: skip
        try:
            result = SEMANTICS[row.mnemonic](self, op, operands, runs)
        except Fault as fault:
            where = np.broadcast_to(fault.lanes, self.grid)
            cta, warp, lane = (int(i) for i in np.unravel_index(np.argmax(where), self.grid))
            address = int(np.broadcast_to(fault.addresses, self.grid)[cta, warp, lane])
            raise self.error(
                op, f"CTA {cta}, warp {warp}, lane {lane}: address {address:#x}: {fault.reason}"
            ) from None
        if result is None:
            return
        if result.dtype == np.float32:
            result = result.view(np.uint32)
        if "into" in uses:
            result = self._part_of(uses["into"], result, runs)
            runs = mask
        elif runs is not mask:
            garbage = np.zeros((), np.bool_) if result.dtype == np.bool_ else _GARBAGE
            result = _where(runs, result, garbage)
        self._assign(op.results[0], result, mask)

    def _part_of(self, into: Use, result: Array, runs: Mask | None) -> Array:
        """The value of `into` with `result` in the lanes that ran, in the registers written."""
        old = self._values[into.value]
        if result.dtype == np.bool_:
            return result if runs is None else np.where(runs, result, old)
        first, count = into.sub, result.shape[-1]
        kept = old[..., first : first + count]
        new = result if runs is None else _where(runs, result, kept)
        shape = np.broadcast_shapes(old.shape[:-1], new.shape[:-1])
        whole = np.array(np.broadcast_to(old, (*shape, old.shape[-1])))
        whole[..., first : first + count] = new
        return whole

    def _predicate(self, use: Use) -> Array:
        value = self._values[use.value]
        return ~value if use.negated else value

    def _operand(self, op: IsaOp, role: str, kind: Kind, uses: dict[str, Use]) -> Array:
        if kind == Kind.PRED:
            return self._predicate(uses[role]) if role in uses else np.ones((1, 1, 1), np.bool_)
        if role in uses:
            use = uses[role]
            count = op.operand_registers(role)
            return self._values[use.value][..., use.sub : use.sub + count]
        immediates = op.immediate_values
        word = 0
        if kind == Kind.FLEX:
            parameter = immediates.get("param")
            word = immediates.get("b", 0)
            if isinstance(parameter, int):
                word = self.parameters[parameter]
            assert isinstance(word, int)
        return np.full((1, 1, 1, op.operand_registers(role)), word & 0xFFFFFFFF, np.uint32)

    def error(self, op: Operation, what: str) -> DstcError:
        """`what` is wrong with `op`."""
        text = " ".join(str(op).split())
        return DstcError(f"kernel {self.kernel.sym_name.data}: {text}: {what}")


_REGISTERS = (Kind.REG, Kind.PRED, Kind.FLEX, Kind.ADDR)


def _where(runs: Mask | None, new: Array, old: Array | np.generic) -> Array:
    if runs is None:
        return new
    return np.where(runs if new.dtype == np.bool_ else runs[..., None], new, old)
