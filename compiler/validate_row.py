"""What a simulated row says beside its measured time, whatever was computed.

In: a row of measurements, its sizes, the one kernel that ran. Out: the facts that products and
convolutions have in common, and the operands of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.executor import KernelRun
from ..runtime.machine import Machine
from .api import Compiled

WARM_L2_SHARE = 8
"""What takes up to this many times L2's capacity is computed twice and the second launch counts:
the measurement repeated each product on the same buffers, so L2 begins with what the launch before
left, lines to use and lines to write back. Beyond, that is a small share of the time."""
PERIODS = (1048573, 1048571)
"""Lengths of the pieces of which operands consist: primes, so that no two rows are alike."""
LARGEST = 3
"""Operands are whole numbers from -3 to 3: sums of up to 1.8 million products are exact in f32, in
whatever order they are added, and so is the comparison with numpy."""


def whole_numbers(shape: tuple[int, ...], which: int) -> NDArray[np.float16]:
    """Operand 0 or 1 of a row: whole numbers, in pieces of a prime length."""
    rng = np.random.default_rng(which)
    piece = rng.integers(-LARGEST, LARGEST, PERIODS[which], endpoint=True).astype(np.float16)
    return np.resize(piece, shape)


def warm(compiled: Compiled, machine: Machine) -> bool:
    """Whether a first launch comes before the one that counts (`WARM_L2_SHARE`)."""
    assert compiled.program.plan is not None
    held = sum(buffer.bytes for buffer in compiled.program.plan.buffers)
    return held <= WARM_L2_SHARE * machine["l2.capacity_bytes"]


def facts(
    measured_us: float,
    sizes: tuple[int, int, int],
    kernel: KernelRun,
    machine: Machine,
    cycles: int | None = None,
) -> dict[str, Any]:
    """Both times, rates, what limited the kernel; `cycles`: of the grid, if sampled."""
    launch, result = kernel.launch, kernel.result
    m, n, k = sizes
    cycles = result.cycles if cycles is None else cycles
    clock = machine["clock.core_mhz"]
    us = cycles / clock + machine["launch.overhead_us"]
    spent = {cause: lost for cause, lost in result.stalls.items() if cause != "issued"}
    limit = max(spent, key=lambda cause: spent[cause])
    return {
        "m": m,
        "n": n,
        "k": k,
        "measured_us": measured_us,
        "simulated_us": us,
        "ratio": us / measured_us,
        "cycles": cycles,
        "tflops": 2 * m * n * k / us / 1e6,
        "grid": list(launch.grid),
        "occupancy": result.occupancy,
        "limit": limit,
        "limit_share": spent[limit] / max(1, sum(result.stalls.values())),
        "stalls": result.stalls,
        "counters": result.counters,
        "warp_instructions": result.warp_instructions,
        "dram_gb_s": result.counters["dram_bytes"] * clock / 1000 / max(1, result.cycles),
    }
