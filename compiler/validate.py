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
from .validate_row import facts, warm, whole_numbers

Array = NDArray[Any]

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
    is_warm = warm(compiled, machine)
    ran = _run(gemm, compiled, machine, threads, is_warm, sampled)
    wall = time.perf_counter() - started
    return {
        "index": row.index,
        "source": row.source,
        "layout": row.layout,
        **facts(row.us, (row.m, row.n, row.k), ran.kernel, machine, ran.cycles),
        "sampled": ran.sampled,
        "warm_l2": is_warm,
        "schedule": schedule_facts(schedule),
        "check": ran.check,
        "wall_seconds": {"compile": compiled.seconds, "simulate": wall},
    }


def _run(
    gemm: Gemm,
    compiled: Compiled,
    machine: Machine,
    threads: int | None,
    is_warm: bool,
    sampled: bool,
) -> Ran:
    assert compiled.program.plan is not None
    operands = _operands(compiled)

    def run(most: int | None = None) -> tuple[KernelRun, Array]:
        device = Device(machine, threads=threads, max_ctas=most)
        if is_warm:
            compiled.run(operands, device=device, statistics=False)
        result = compiled.run(operands, device=device, statistics=False)
        (kernel,) = result.kernels
        (output,) = result.outputs.values()
        return kernel, output

    plan = _sample(gemm, compiled, machine) if sampled and not is_warm else None
    if plan is None:
        kernel, output = run()
        cycles, sampled_facts = kernel.result.cycles, None
    else:
        few, _ = run(plan.few)
        kernel, output = run(plan.many)
        cycles = plan.cycles(few.result.cycles, kernel.result.cycles)
        sampled_facts = {
            "ctas": plan.ctas,
            "slots": plan.slots,
            "n1": plan.few,
            "n2": plan.many,
            "cycles1": few.result.cycles,
            "cycles2": kernel.result.cycles,
        }
    share = plan.many / plan.ctas if plan else 1.0
    return Ran(kernel, cycles, sampled_facts, check(gemm, list(operands.values()), output, share))


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
    ports = enumerate(compiled.program.plan.inputs)
    return {port.name: whole_numbers(port.shape, which) for which, port in ports}


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
