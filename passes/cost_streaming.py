"""What kernels beside products take, in closed form: encode, im2col, elementwise. Not a pass.

In: a launch's CTAs, its code, the bytes it reads and writes, a machine. Out: predicted cycles. The
code is straight: each warp runs all of it once. Coarser than the closed forms of products.
"""

from __future__ import annotations

from ..backend.isa.layout import ceil_div
from .cost_chip import SECTOR, Chip, Prediction, smooth_max

LATENCIES = 1.5
"""DRAM latencies that a warp waits for, one after the other."""
ISSUE_CYCLES = 1.5
"""Cycles of a sub-core an instruction of its warps: most use the ALU, of which it has a half."""
SHARPNESS = 4


def predict(
    ctas: int, warps: int, instructions: int, read: int, written: int, chip: Chip
) -> Prediction:
    """Cycles of a launch of `ctas` CTAs of `warps` warps that issue `instructions` each.

    `read`, `written`: bytes. Dirty bytes beyond half of L2 go to DRAM.
    """
    of_sub_core = ceil_div(ceil_div(ctas, chip.sms) * warps, chip.sub_cores)
    spilled = max(0.0, written - chip.l2_capacity / 2)
    parts = {
        "issue": of_sub_core * instructions * ISSUE_CYCLES,
        "l2": (read + written) / SECTOR / chip.l2_sectors,
        "dram": (read + spilled) / chip.dram_bytes,
    }
    latency = LATENCIES * chip.dram_latency
    cycles = latency + smooth_max(SHARPNESS, *parts.values())
    return Prediction(cycles, {**parts, "latency": latency})
