"""schedule-instructions: order the instructions of each block to hide latency.

In: `dstc_isa` kernels on virtual registers. Out: the same, ops reordered within blocks.
Options: latencies in cycles and `pressure`, the live registers above which nothing is hoisted.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..backend.scheduler import Latencies, schedule
from ..dialects.dstc_isa import KernelOp


@dataclass(frozen=True)
class ScheduleInstructions(ModulePass):
    """Reorder instructions within blocks so that latencies overlap."""

    name = "schedule-instructions"
    alu: int = Latencies.alu
    fma: int = Latencies.fma
    mufu: int = Latencies.mufu
    shared: int = Latencies.shared
    shuffle: int = Latencies.shuffle
    global_memory: int = Latencies.global_memory
    tensor: int = Latencies.tensor
    accumulate: int = Latencies.accumulate
    pressure: int = Latencies.pressure

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        values = {name: getattr(self, name) for name in Latencies.__dataclass_fields__}
        for name, value in values.items():
            if value < 0:
                raise DstcError(f"{name} must not be negative, unlike {value}")
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                if kernel.registers is not None:
                    raise DstcError(
                        f"kernel {kernel.sym_name.data}: registers are allocated already; "
                        f"run {self.name} before allocate-registers"
                    )
                schedule(kernel, Latencies(**values))
