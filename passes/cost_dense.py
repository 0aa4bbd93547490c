"""What a product on the dense engine takes, in closed form. Not a pass.

In: sizes, how the operands are stored, a schedule's tiles and split, a machine. Out: predicted
cycles and what limits them. select-schedule takes the schedule that is predicted fastest; the
numbers of machines come from their files, those of our kernels stand here (`benchmarks/
dense_cost.py` holds the prediction against the simulator).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ..backend.isa.layout import SPLIT_STEP, ceil_div, round_up
from ..backend.isa.table import HMMA_MACS
from ..runtime.machine import Machine
from .matmul_raster import at_once

Size2 = tuple[int, int]

OTHER_REGISTERS = 48
"""Registers of a lane beside its accumulators and the loads under way."""
OTHER_INSTRUCTIONS = 20
"""Instructions of a warp and main-loop step beside HMMA, loads and stores."""
STEP_CYCLES = 100
"""Of a step, what neither loads nor HMMAs of the same CTA overlap: barrier, first fragments."""
ALONE_SHARE = 0.87
"""Share of the tensor peak between them that a sub-core's only warp reaches."""
LOADED_LATENCY = 1.2
"""Latency of a busy memory over that of an idle one."""
TENSOR_SHARE = 0.96
"""Share of the tensor peak that full sub-cores reach."""
DRAM_SHARE = 0.97
"""Share of the DRAM's effective bandwidth that a whole launch reaches."""
EPILOGUE_INSTRUCTIONS = 2.5
"""Instructions an accumulator: rounding, moves, addresses, stores."""
PART_SHARE = 0.5
"""Share of an SM's read bandwidth at which one CTA adds the parts of a split product."""
L2_SHARE = 0.9
"""Share of L2 that what is written can fill before it is written on to DRAM."""
SHARPNESS = 6
"""How little resources disturb each other: infinite if only the most used one counted."""


@dataclass(frozen=True)
class Chip:
    """What the prediction needs of a machine; cycles, bytes a cycle."""

    sms: int
    sub_cores: int
    hmma_interval: int
    alu_interval: int
    lsu_interval: int
    registers: int
    register_granularity: int
    shared_bytes: int
    shared_granularity: int
    max_warps: int
    max_ctas: int
    dispatch: int
    l2_latency: int
    dram_latency: int
    read_bytes: int
    write_bytes: int
    l2_bytes: int
    l2_capacity: int
    dram_bytes: float
    quantum: int

    @staticmethod
    def of(machine: Machine) -> Chip:
        """From a machine's parameters."""
        a_second = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e9
        return Chip(
            sms=machine["sm.count"],
            sub_cores=machine["sm.sub_cores"],
            hmma_interval=machine["hmma.interval"],
            alu_interval=machine["alu.interval"],
            lsu_interval=machine["lsu.interval"],
            registers=machine["sm.registers"],
            register_granularity=machine["sm.register_granularity"],
            shared_bytes=machine["sm.shared_memory_bytes"],
            shared_granularity=machine["sm.shared_granularity"],
            max_warps=machine["sm.max_warps"],
            max_ctas=machine["sm.max_ctas"],
            dispatch=machine["dispatch.latency"],
            l2_latency=machine["l2.latency"],
            dram_latency=machine["dram.latency"],
            read_bytes=machine["noc.read_bytes_per_sm_cycle"],
            write_bytes=machine["noc.write_bytes_per_sm_cycle"],
            l2_bytes=machine["l2.slices"] * machine["l2.sectors_per_slice_cycle"] * 32,
            l2_capacity=machine["l2.capacity_bytes"],
            dram_bytes=a_second / (machine["clock.core_mhz"] * 1e6),
            quantum=machine["simulation.quantum"],
        )


@dataclass(frozen=True)
class Product:
    """(M, N, K), which operands are stored transposed, bytes of a result's element."""

    sizes: tuple[int, int, int]
    transposed: tuple[bool, bool] = (False, False)
    out_bytes: int = 2


@dataclass(frozen=True)
class Tiling:
    """CTA and warp tile, M x N, and parts that K is split into."""

    cta: Size2
    warp: Size2
    split: int = 1

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return self.cta[0] // self.warp[0] * (self.cta[1] // self.warp[1])


@dataclass(frozen=True)
class Prediction:
    """Cycles of a launch; `parts`: of each resource alone, `limit`: the name of the largest."""

    cycles: float
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """What the launch waits for most."""
        return max(self.parts, key=lambda name: self.parts[name])


def occupancy(tiling: Tiling, chip: Chip) -> int:
    """CTAs that an SM holds at once; 0 if not even one."""
    (cm, cn), (wm, wn), warps = tiling.cta, tiling.warp, tiling.warps
    loads = ceil_div((cm + cn) * SPLIT_STEP * 2, warps * 32 * 16) * 4
    lane = wm * wn // 32 + loads + OTHER_REGISTERS
    of_warp = round_up(lane * 32, chip.register_granularity)
    shared = round_up(2 * (cm + cn) * (SPLIT_STEP + 4) * 2, chip.shared_granularity)
    if lane > 255:
        return 0
    return min(
        chip.registers // (of_warp * warps),
        chip.shared_bytes // shared,
        chip.max_warps // warps,
        chip.max_ctas,
    )


def predict(product: Product, tiling: Tiling, chip: Chip) -> Prediction:
    """Cycles of a launch, without the host's overhead; infinite where no CTA fits."""
    m, n, k = product.sizes
    (cm, cn), (wm, wn), warps = tiling.cta, tiling.warp, tiling.warps
    all_steps = ceil_div(k, SPLIT_STEP)
    steps = ceil_div(all_steps, tiling.split)
    parts = ceil_div(all_steps, steps)
    grid = ceil_div(m, cm), ceil_div(n, cn)
    tiles = grid[0] * grid[1]
    ctas = tiles * parts
    held = occupancy(tiling, chip)
    if held < 1:
        return Prediction(float("inf"), {"registers": float("inf")})

    # one step of one CTA, by what it keeps busy
    step_bytes = (cm + cn) * SPLIT_STEP * 2
    hmma = cm * cn * SPLIT_STEP // HMMA_MACS
    loads = step_bytes / 512
    accesses, read = loads, 0.0
    for extent, warp, along in (
        (cm, wm, not product.transposed[0]),
        (cn, wn, product.transposed[1]),
    ):
        fragments = warp // 16
        read += warps * 8 * fragments / (1 if along else gcd(fragments, 4))
        accesses += extent * SPLIT_STEP * 2 / 512 * (2 if along else 1)
    accesses += read
    used = min(chip.sub_cores, warps * min(held, ceil_div(ctas, chip.sms)))
    own_loop = ceil_div(warps, chip.sub_cores) * (hmma // warps) * chip.hmma_interval / ALONE_SHARE
    busy = {
        "tensor": hmma * chip.hmma_interval / used / TENSOR_SHARE,
        "issue": (hmma + accesses + OTHER_INSTRUCTIONS * warps) / used,
        "load_store": accesses * chip.lsu_interval / used,
        "shared_memory": (step_bytes + warps * (wm + wn) * SPLIT_STEP * 2) / 128,
        "l2_to_sm": step_bytes / chip.read_bytes,
    }

    # the chip's memory
    traffic = _loaded_bytes(product, tiling, chip, grid, held)
    result = m * n * product.out_bytes
    scratch = ctas * cm * cn * 4 if parts > 1 else 0
    spilled = max(0.0, result + scratch - L2_SHARE * chip.l2_capacity)
    chip_wide = {
        "dram": (traffic + spilled * (2 if scratch else 1)) / (chip.dram_bytes * DRAM_SHARE),
        "l2": (ctas * steps * step_bytes + 2 * scratch + result) / chip.l2_bytes,
    }

    # CTAs of the busiest SM: rounds of `held`, then the rest
    most = ceil_div(ctas, chip.sms)
    one = max(busy.values())
    waited = max(chip.dram_latency * LOADED_LATENCY, own_loop) + STEP_CYCLES
    rounds, rest = divmod(most, held)
    if rest and rounds:
        rest = (rest + held) / 2  # the first SMs to finish a round take as many CTAs as they hold
    together: list[float] = [held] * rounds + ([rest] if rest else [])
    alone = sum(_both(count * one, waited) for count in together) * steps
    times = {name: cycles * sum(together) * steps for name, cycles in busy.items()}
    times["latency"] = len(together) * waited * steps
    times.update(chip_wide)
    body = _both(alone, *chip_wide.values())

    # what stands before and after the loops: of the last round, or of each if nothing overlaps it
    start = chip.dispatch + chip.dram_latency * LOADED_LATENCY + STEP_CYCLES
    per_sub_core = cm * cn / 32 / chip.sub_cores * chip.alu_interval
    drained = cm * cn * product.out_bytes / chip.write_bytes
    epilogue = max(EPILOGUE_INSTRUCTIONS * per_sub_core, drained)
    at_once = together[-1] if len(together) == 1 else 1
    end = at_once * epilogue + chip.l2_latency
    overlap = 1 + (len(together) - 1) / held
    fixed = start * overlap + end * overlap
    if parts > 1:
        stored = cm * cn * 4 / chip.write_bytes
        added = cm * cn * 4 / chip.read_bytes / PART_SHARE
        fixed += together[-1] * stored + chip.quantum + chip.l2_latency
        fixed += parts * (added + chip.l2_latency)
    times["start_and_end"] = fixed
    return Prediction(body + fixed, times)


def _both(*times: float) -> float:
    """Cycles of things that overlap, but not perfectly."""
    largest = max(times)
    return largest * sum((t / largest) ** SHARPNESS for t in times) ** (1 / SHARPNESS)


def _loaded_bytes(product: Product, tiling: Tiling, chip: Chip, grid: Size2, held: int) -> float:
    """Bytes of operands from DRAM: once, or again for each wave of CTAs if L2 cannot keep them."""
    m, n, k = product.sizes
    once = 2.0 * k * (m + n)
    if 2 * k * n < chip.l2_capacity / 2 or 2 * k * m < chip.l2_capacity / 2:
        return once
    wave = max(1, held * chip.sms)
    rows, columns = at_once(*grid, wave)
    waves = ceil_div(grid[0] * grid[1], wave)
    again = 2.0 * k * waves * (rows * tiling.cta[0] + columns * tiling.cta[1])
    return max(once, again)
