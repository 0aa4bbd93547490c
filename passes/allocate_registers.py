"""allocate-registers: give every value of each kernel its registers.

In: `dstc_isa` kernels on virtual registers. Out: the same on R0.. and P0.., copies explicit.
Options: `max-registers`. Not enough registers are an error (there is no spilling).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from ..backend.allocator import allocate
from ..backend.isa.table import NUM_REGISTERS
from ..dialects.dstc_isa import KernelOp


@dataclass(frozen=True)
class AllocateRegisters(ModulePass):
    """Assign registers and predicates to the values of each kernel."""

    name = "allocate-registers"
    max_registers: int = NUM_REGISTERS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                allocate(kernel, self.max_registers)
