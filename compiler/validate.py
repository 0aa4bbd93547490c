"""One measured product on the simulator: compiled, run, checked, and its time beside the measured.

In: a row of measurements, a machine. Out: a row of facts: both times, schedule, stalls, what was
sampled, whether the values are right.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.program import Launch
from ..backend.isa.table import HMMA_MACS
from ..runtime.device import Device
from ..runtime.executor import KernelRun
from ..runtime.machine import Machine
from ..runtime.sim.engine import occupancy
from .api import Compiled
from .bench import Gemm, compile_gemm, schedule_facts
from .sampling import Sample, sample
from .validate_data import Row

Array = NDArray[Any]

WARM_L2_SHARE = 8
"""What takes up to this many times L2's capacity is computed twice and the second launch counts:
the measurement repeated each product on the same buffers, so L2 begins with what the launch before
left, lines to use and lines to write back. Beyond, that is a small share of the time."""
PERIODS = (1048573, 1048571)
"""Lengths of the pieces of which operands consist: primes, so that no two rows are alike."""
LARGEST = 3
"""Operands are whole numbers from -3 to 3: sums of up to 1.8 million products are exact in f32, in
whatever order they are added, and so is the comparison with numpy."""
_LINES = 64
"""Rows and columns of the result, at whose crossings it is compared with numpy."""


@dataclass(frozen=True)
class Ran:
    """A simulated product: its one kernel, cycles of the whole grid, and what was sampled."""

    kernel: KernelRun
    cycles: int
    sampled: dict[str, int] | None
    check: dict[str, Any]


def simulate(
    row: Row, machine: Machine, *, threads: int | None = None, sampled: bool = True
) -> dict[str, Any]:
    """The facts of one row.

    `sampled`: run long grids by their first CTAs (sampling.py); `threads`: as of `Device`. Raises
    `DstcError` for what the machine cannot do.
    """
    gemm = row.gemm()
    compiled, schedule = compile_gemm(gemm, machine, "dense")
    started = time.perf_counter()
    warm = _bytes(compiled) <= WARM_L2_SHARE * machine["l2.capacity_bytes"]
    ran = _run(gemm, compiled, machine, threads, warm, sampled)
    wall = time.perf_counter() - started
    launch, result = ran.kernel.launch, ran.kernel.result
    clock = machine["clock.core_mhz"]
    us = ran.cycles / clock + machine["launch.overhead_us"]
    spent = {cause: cycles for cause, cycles in result.stalls.items() if cause != "issued"}
    limit = max(spent, key=lambda cause: spent[cause])
    return {
        "index": row.index,
        "source": row.source,
        "m": row.m,
        "n": row.n,
        "k": row.k,
        "layout": row.layout,
        "measured_us": row.us,
        "simulated_us": us,
        "ratio": us / row.us,
        "cycles": ran.cycles,
        "tflops": 2 * row.m * row.n * row.k / us / 1e6,
        "sampled": ran.sampled,
        "warm_l2": warm,
        "schedule": schedule_facts(schedule),
        "grid": list(launch.grid),
        "occupancy": result.occupancy,
        "limit": limit,
        "limit_share": spent[limit] / max(1, sum(result.stalls.values())),
        "stalls": result.stalls,
        "counters": result.counters,
        "warp_instructions": result.warp_instructions,
        "dram_gb_s": result.counters["dram_bytes"] * clock / 1000 / max(1, result.cycles),
        "check": ran.check,
        "wall_seconds": {"compile": compiled.seconds, "simulate": wall},
    }


def _run(
    gemm: Gemm,
    compiled: Compiled,
    machine: Machine,
    threads: int | None,
    warm: bool,
    sampled: bool,
) -> Ran:
    assert compiled.program.plan is not None
    operands = _operands(compiled)

    def run(most: int | None = None) -> tuple[KernelRun, Array]:
        device = Device(machine, threads=threads, max_ctas=most)
        if warm:
            compiled.run(operands, device=device, statistics=False)
        result = compiled.run(operands, device=device, statistics=False)
        (kernel,) = result.kernels
        (output,) = result.outputs.values()
        return kernel, output

    plan = _sample(gemm, compiled, machine) if sampled and not warm else None
    if plan is None:
        kernel, output = run()
        cycles, facts = kernel.result.cycles, None
    else:
        few, _ = run(plan.few)
        kernel, output = run(plan.many)
        cycles = plan.cycles(few.result.cycles, kernel.result.cycles)
        facts = {
            "ctas": plan.ctas,
            "slots": plan.slots,
            "n1": plan.few,
            "n2": plan.many,
            "cycles1": few.result.cycles,
            "cycles2": kernel.result.cycles,
        }
    share = plan.many / plan.ctas if plan else 1.0
    return Ran(kernel, cycles, facts, check(gemm, list(operands.values()), output, share))


def _sample(gemm: Gemm, compiled: Compiled, machine: Machine) -> Sample | None:
    assert compiled.program.plan is not None
    (launch,) = compiled.program.plan.steps
    assert isinstance(launch, Launch)
    kernel = compiled.program.kernels[launch.kernel]
    slots = machine["sm.count"] * min(occupancy(kernel, machine).values())
    return sample(launch.grid, slots, gemm.m * gemm.n * gemm.k / HMMA_MACS)


def _operands(compiled: Compiled) -> dict[str, Array]:
    """Whole numbers from -3 to 3 for each input, f16, in the layout that the program takes."""
    assert compiled.program.plan is not None
    operands: dict[str, Array] = {}
    for seed, (port, period) in enumerate(zip(compiled.program.plan.inputs, PERIODS, strict=True)):
        rng = np.random.default_rng(seed)
        piece = rng.integers(-LARGEST, LARGEST, period, endpoint=True).astype(np.float16)
        operands[port.name] = np.resize(piece, port.shape)
    return operands


def _bytes(compiled: Compiled) -> int:
    """Bytes of operands, result and workspace."""
    assert compiled.program.plan is not None
    return sum(buffer.bytes for buffer in compiled.program.plan.buffers)


def check(gemm: Gemm, operands: list[Array], output: Array, share: float) -> dict[str, Any]:
    """Compare `output` (M x N) with numpy at crossings of up to 64 rows and 64 columns.

    `share`: of the CTAs, those that ran. Below 1, elements of others are zero as allocated: what is
    not zero must be right, and there must be as much of it as CTAs ran.
    """
    a = operands[0].T if gemm.trans_a else operands[0]
    b = operands[1].T if gemm.trans_b else operands[1]
    rng = np.random.default_rng(0)
    whole = share == 1
    there = np.count_nonzero(output) / output.size
    lines = [some_lines(rng, np.flatnonzero(output.any(axis=axis) | whole)) for axis in (1, 0)]
    want = a[lines[0]].astype(np.float32) @ b[:, lines[1]].astype(np.float32)
    got = output[np.ix_(*lines)]
    rounded = want.astype(np.float16 if gemm.out == "f16" else np.float32)
    right = got == rounded.astype(output.dtype)
    if whole:
        ok = bool(right.all())
    else:
        ok = bool((right | (got == 0)).all() and right.any() and there > 0.8 * share)
    return {"ok": ok, "entries": int(right.size), "right": int(right.sum())}


def some_lines(rng: np.random.Generator, among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to 64 of them, the first and the last included."""
    if len(among) <= _LINES:
        return among
    inner = rng.choice(among[1:-1], _LINES - 2, replace=False)
    return np.sort(np.concatenate([among[:1], inner, among[-1:]]))
