"""Speed of light: what each unit of the chip did, and what it could have done in the same time.

In: a machine; counters, stalls and opcode counts of a launch. Out: rates of the units, a cycle and
chip; `UnitUse`s: amounts, capacities and shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..backend.isa.layout import ceil_div
from ..backend.isa.table import HMMA_MACS, INSTRUCTIONS, Unit
from ..runtime.formats import OHMMA_A, OHMMA_B
from ..runtime.machine import Machine

Launch = Mapping[str, Any]
"""A kernel's row of `dstc run --json`."""
SECTOR_BYTES = 32
_PART_ROWS = 8
"""Rows of an accumulation tile that an ARD or AWR moves."""


def _pipe(unit: Unit) -> Callable[[Launch], int]:
    """Instructions of a pipe."""
    of_unit = [name for name, row in INSTRUCTIONS.items() if row.unit is unit]
    return lambda k: sum(k["opcodes"].get(name, 0) for name in of_unit)


def _sub_cores(machine: Machine) -> int:
    return machine["sm.count"] * machine["sm.sub_cores"]


def _transfers(machine: Machine) -> float:
    rows = machine.get("accumulator.rows_per_cycle", 0)
    return _sub_cores(machine) / ceil_div(_PART_ROWS, rows) if rows else 0.0


@dataclass(frozen=True)
class UnitKind:
    """A unit: `amount` of a launch, in `what`; `rate`: how much of that the chip does a cycle."""

    key: str
    label: str
    what: str
    amount: Callable[[Launch], int]
    rate: Callable[[Machine], float]


UNITS: tuple[UnitKind, ...] = (
    UnitKind("issue", "issue", "issue slots", lambda k: k["stalls"].get("issued", 0), _sub_cores),
    UnitKind("tensor", "tensor core", "busy cycles of tensor cores",
             lambda k: k["counters"]["tensor_busy"], _sub_cores),
    UnitKind("accumulator", "accumulators", "transfers of 8 rows (ARD, AWR)",
             lambda k: k["opcodes"].get("ARD", 0) + k["opcodes"].get("AWR", 0), _transfers),
    UnitKind("alu", "ALU", "warp instructions", _pipe(Unit.ALU),
             lambda m: _sub_cores(m) / m["alu.interval"]),
    UnitKind("fma", "FMA", "warp instructions", _pipe(Unit.FMA),
             lambda m: _sub_cores(m) / m["fma.interval"]),
    UnitKind("mufu", "MUFU", "warp instructions", _pipe(Unit.MUFU),
             lambda m: _sub_cores(m) / m["mufu.interval"]),
    UnitKind("shared", "shared memory", "wavefronts",
             lambda k: k["counters"]["shared_wavefronts"], lambda m: m["sm.count"]),
    UnitKind("l1", "L1", "sectors of 32 bytes",
             lambda k: k["counters"]["l1_sectors"] + k["counters"]["global_sectors_written"],
             lambda m: m["sm.count"] * m["l1.sectors_per_cycle"]),
    UnitKind("l2", "L2", "sectors of 32 bytes", lambda k: k["counters"]["l2_accesses"],
             lambda m: m["l2.slices"] * m["l2.sectors_per_slice_cycle"]),
    UnitKind("dram", "DRAM", "bytes", lambda k: k["counters"]["dram_bytes"],
             lambda m: m["dram.peak_gb_s"] * m["dram.efficiency"] * 1e3 / m["clock.core_mhz"]),
)  # fmt: skip
"""In the order of the way of an instruction through the chip."""
UNIT_LABELS = {unit.key: unit.label for unit in UNITS}


@dataclass(frozen=True)
class UnitUse:
    """What a unit did in a launch, and what it could do in the launch's cycles."""

    key: str
    label: str
    what: str
    amount: int
    capacity: float

    @property
    def share(self) -> float:
        """Of its speed of light, 0 to 1."""
        return self.amount / self.capacity if self.capacity else 0.0


def rates_of(machine: Machine) -> dict[str, Any]:
    """What a profile needs of a machine; goes into the JSON of a run.

    `units`: by key, what the chip does a cycle (0: it has no such unit). `macs`: multiply-adds a
    cycle of all tensor cores, by instruction. Clock in MHz, DRAM in bytes a cycle.
    """
    sub_cores = _sub_cores(machine)
    macs = {"hmma": HMMA_MACS * sub_cores / machine["hmma.interval"]}
    if "dual_side" in machine.features:
        macs["ohmma"] = OHMMA_A * OHMMA_B * sub_cores / machine["ohmma.interval"]
    return {
        "sms": machine["sm.count"],
        "sub_cores": machine["sm.sub_cores"],
        "max_warps": machine["sm.max_warps"],
        "clock_mhz": machine["clock.core_mhz"],
        "overhead_us": machine["launch.overhead_us"],
        "features": sorted(machine.features),
        "units": {unit.key: float(unit.rate(machine)) for unit in UNITS},
        "macs": macs,
    }


def uses_of(kernel: Launch, rates: Mapping[str, Any]) -> tuple[UnitUse, ...]:
    """What the units that the machine has did in a launch."""
    return tuple(
        UnitUse(unit.key, unit.label, unit.what, unit.amount(kernel), rate * kernel["cycles"])
        for unit in UNITS
        if (rate := rates["units"][unit.key])
    )
