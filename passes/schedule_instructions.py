"""schedule-instructions: order the instructions of each block to hide latency.

In: `dstc_isa` kernels on virtual registers, the machine. Out: the same, ops reordered within
blocks. Options: the `machine`, latencies in cycles to be used instead of the machine's, and
`pressure`, the live registers above which nothing is hoisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..backend.isa.table import Unit
from ..backend.scheduler import PRESSURE, Latencies, schedule
from ..dialects.dstc_isa import KernelOp
from ..runtime.machine import Machine
from .target_machine import DEFAULT_MACHINE, machine_of

LATENCIES: Mapping[str, str] = {
    "alu": "alu.latency",
    "fma": "fma.latency",
    "mufu": "mufu.latency",
    "predicate": "predicate.latency",
    "shared": "shared.latency",
    "shuffle": "shared.shuffle_latency",
    "global_memory": "dram.latency",
    "tensor": "hmma.latency",
    "accumulate": "hmma.accumulate_latency",
}
"""Field of `Latencies`, and option of the pass -> parameter of the machine, in cycles."""
INTERVALS: Mapping[Unit, str] = {
    Unit.ALU: "alu.interval",
    Unit.FMA: "fma.interval",
    Unit.MUFU: "mufu.interval",
    Unit.SHARED: "lsu.interval",
    Unit.GLOBAL: "lsu.interval",
    Unit.TENSOR: "hmma.interval",
}
"""Unit -> parameter of the machine: cycles that an instruction occupies it."""


def latencies_of(machine: Machine) -> Latencies:
    """What the scheduler needs to know of `machine`."""
    cycles = {field: int(machine[key]) for field, key in LATENCIES.items()}
    return Latencies(
        **cycles,
        intervals={unit: int(machine[key]) for unit, key in INTERVALS.items()},
        positions=int(machine.get("bohmma.latency", 1)),
        squashes=int(machine.get("ohmma.squash_per_cycle", 0)) > 0,
    )


@dataclass(frozen=True)
class ScheduleInstructions(ModulePass):
    """Reorder instructions within blocks so that latencies overlap."""

    name = "schedule-instructions"
    machine: str = DEFAULT_MACHINE
    alu: int | None = None
    fma: int | None = None
    mufu: int | None = None
    predicate: int | None = None
    shared: int | None = None
    shuffle: int | None = None
    global_memory: int | None = None
    tensor: int | None = None
    accumulate: int | None = None
    pressure: int = PRESSURE

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        options = {name: getattr(self, name) for name in (*LATENCIES, "pressure")}
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in given.items():
            if value < 0:
                raise DstcError(f"{name} must not be negative, unlike {value}")
        latencies = replace(latencies_of(machine_of(ctx, self.machine)), **given)
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                if kernel.registers is not None:
                    raise DstcError(
                        f"kernel {kernel.sym_name.data}: registers are allocated already; "
                        f"run {self.name} before allocate-registers"
                    )
                schedule(kernel, latencies)
