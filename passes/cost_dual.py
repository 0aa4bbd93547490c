"""What a product on the dual-side engine takes, in closed form. Not a pass.

In: sizes, popcounts of the operands (`Operands`), a schedule's tiles, a machine. Out: predicted
cycles, and those of each resource alone. Numbers of machines come from their files; what is our
kernel's stands here, and `FITTED` says how resources disturb each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np

from ..backend.isa.layout import ceil_div, round_up
from ..backend.isa.table import TILE_K, TILE_M
from ..runtime.machine import Machine
from .cost_operands import F64, Operands

Size2 = tuple[int, int]


@dataclass(frozen=True)
class Loop:
    """A main loop as the compiler makes it: what one warp alone on its sub-core takes a step.

    A step takes max(products + `gap`, products but for the last `hidden` + `fetch`); `unit`: cycles
    of the load/store unit. `benchmarks/estimate_fit.py --loops` measures them.
    """

    registers: int
    hidden: int
    fetch: float
    gap: float
    unit: float


LOOPS = {
    (1, False): Loop(registers=212, hidden=1, fetch=35, gap=0, unit=35.5),
    (1, True): Loop(registers=193, hidden=0, fetch=28, gap=0, unit=35.5),
    (2, False): Loop(registers=228, hidden=2, fetch=52.5, gap=0, unit=51.5),
    (4, False): Loop(registers=209, hidden=2, fetch=72, gap=0, unit=72),
}
"""(32x32 tiles of a warp, CTA of one warp) -> its loop, with the stages of select-schedule."""
STAGE_REGISTERS, HEADER_REGISTERS, OTHER_REGISTERS = 11, 2, 6
"""Registers of a lane: an operand tile in flight (8 of values, bitmaps, header), a header alone."""
BITMAP_SECTORS, HEADER_SECTORS = 2, 0.25
"""Of a tile, 32-byte sectors: 16 words of bitmap; four headers share one, and each is a load."""
ROW_BYTES = TILE_M * 4
"""A row of a tile of the result, which one instruction stores."""


@dataclass(frozen=True)
class Fitted:
    """How the parts of a kernel add up: fitted by `benchmarks/estimate_fit.py`, not memorised.

    Means of simulated products whose sizes, densities and tiles are drawn at random.
    """

    start: float = 167
    """Cycles of what stands before the first load and after the last product, alone."""
    start_tile: float = 34
    """The same for each further tile of a warp."""
    latency_extra: float = 25
    """Cycles from a load's arrival until the loads of a later step are under way."""
    sharpness: float = 5
    """How little resources disturb each other: infinite if only the most used one counted."""
    sharp_l2: float = 5
    first: float = 0.3
    variation: float = 0.1
    round_spread: float = 1
    turn_spread: float = 0.1
    l2_share: float = 0.93
    """Share of L2's peak that random addresses reach."""
    dram_share: float = 0.97
    overlap: float = 0.5
    """Share of a CTA's start and end that other CTAs of the SM hide, once they are out of step."""
    sharp_end: float = 6
    sharp_dram: float = 6
    pack: float = 0.5
    l2_mean: float = 0.3
    l2_spread: float = 1
    dram_mean: float = 0.3
    dram_spread: float = 0.5
    write: float = 1.2


FITTED = Fitted()


@dataclass(frozen=True)
class Estimate:
    """Cycles of a launch; `parts`: of each resource alone."""

    cycles: float
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """The resource that alone takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])


@dataclass(frozen=True)
class DualPlan:
    """Sizes of a product and the tiles of its schedule."""

    sizes: tuple[int, int, int]
    cta: Size2
    warp: Size2
    stages: int
    swap: bool = False
    out_bytes: int = 4

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return self.cta[0] // self.warp[0] * (self.cta[1] // self.warp[1])

    @property
    def grid(self) -> Size2:
        """CTAs along M and N."""
        return ceil_div(self.sizes[0], self.cta[0]), ceil_div(self.sizes[1], self.cta[1])

    @property
    def tiles(self) -> Size2:
        """32x32 tiles of a warp along M and N."""
        return self.warp[0] // TILE_M, self.warp[1] // TILE_M


def loop_of(plan: DualPlan) -> Loop:
    """The main loop of a schedule's kernel."""
    tiles = plan.tiles[0] * plan.tiles[1]
    return LOOPS.get((tiles, plan.warps == 1)) or LOOPS[tiles, False]


def registers_of(plan: DualPlan) -> int:
    """Registers of a lane; fewer if K is so short that not all stages are filled."""
    full = loop_of(plan).registers
    tiles = sum(plan.tiles)
    steps, ahead = ceil_div(plan.sizes[2], TILE_K), plan.stages - 1
    stages = STAGE_REGISTERS * tiles * min(steps, ahead)
    headers = HEADER_REGISTERS * tiles * max(0, min(steps, 2 * ahead) - ahead)
    return min(full, OTHER_REGISTERS + stages + headers)


def held(plan: DualPlan, machine: Machine) -> int:
    """CTAs that an SM holds at once."""
    subs = machine["sm.sub_cores"]
    tiles = plan.tiles[0] * plan.tiles[1]
    registers = round_up(registers_of(plan) * 32, machine["sm.register_granularity"])
    slots = min(
        machine["accumulator.tiles"] // tiles,
        machine["sm.registers"] // subs // registers,
        machine["sm.max_warps"] // subs,
    )
    return min(slots * subs // plan.warps, machine["sm.max_ctas"])


def mean_of_larger(mean: float, spread: float, least: float) -> float:
    """Mean of max(x, least) for x of a normal distribution."""
    if spread <= 0:
        return max(mean, least)
    z = (mean - least) / spread
    below = 0.5 * (1 + erf(z / sqrt(2)))
    return least + (mean - least) * below + spread * exp(-z * z / 2) / sqrt(2 * pi)


def smooth_max(sharpness: float, *times: float) -> float:
    """Cycles of things that overlap, but not perfectly."""
    largest = max(times)
    if largest <= 0:
        return 0.0
    return largest * sum((t / largest) ** sharpness for t in times) ** (1 / sharpness)


def estimate(
    plan: DualPlan, operands: Operands, machine: Machine, fitted: Fitted = FITTED
) -> Estimate:
    """Cycles of a launch, without the host's overhead."""
    return _Model(plan, operands, machine, fitted).estimate()


class _Model:
    def __init__(self, plan: DualPlan, operands: Operands, machine: Machine, fitted: Fitted):
        self.plan, self.operands, self.machine, self.f = plan, operands, machine, fitted
        self.sms: int = machine["sm.count"]
        self.subs: int = machine["sm.sub_cores"]
        self.ctas = plan.grid[0] * plan.grid[1]
        self.held = max(1, held(plan, machine))
        self.work = self._by_warp(operands.busy[plan.swap])
        both = self._by_warp(operands.both)
        self.both = float(both.mean())
        self.any_products = min(1.0, float(both.sum()))
        self.multiplying = float(np.minimum(1.0, both).mean())
        rows, columns = plan.tiles
        self.warp_tiles = rows * columns
        a, b = operands.sides
        reads = b.any_of(columns), a.any_of(rows)
        headers = 1 + BITMAP_SECTORS
        self.touched = (
            plan.cta[0] // TILE_M * (plan.cta[1] // plan.warp[1]) * (headers + reads[0] * a.sectors)
            + plan.cta[1] // TILE_M * (plan.cta[0] // plan.warp[0]) * (headers + reads[1] * b.sectors)
        )
        own = HEADER_SECTORS + BITMAP_SECTORS
        self.strip_sectors = own + reads[0] * a.pieces / 2, own + reads[1] * b.pieces / 2

    def _by_warp(self, busy: F64) -> F64:
        """Sums over the tiles of each warp: (CTAs, warps)."""
        plan = self.plan
        (gy, gx), (cm, cn), (wm, wn) = plan.grid, plan.cta, plan.warp
        rows = np.minimum(np.arange(gy * cm // TILE_M), busy.shape[0] - 1)
        columns = np.minimum(np.arange(gx * cn // TILE_M), busy.shape[1] - 1)
        full = busy[np.ix_(rows, columns)]
        by_warp = full.reshape(gy, cm // wm, wm // TILE_M, gx, cn // wn, wn // TILE_M).sum((2, 5))
        return by_warp.transpose(0, 2, 1, 3).reshape(gy * gx, plan.warps)

    def _fullest(self) -> float:
        """Tensor cycles of the fullest sub-core, if CTAs go round the SMs."""
        rounds = ceil_div(self.ctas, self.sms)
        padded = np.zeros((rounds * self.sms, self.plan.warps))
        padded[: self.ctas] = self.work
        warps = padded.reshape(rounds, self.sms, self.plan.warps).transpose(1, 0, 2)
        flat = warps.reshape(self.sms, rounds * self.plan.warps)
        over = -flat.shape[1] % self.subs
        if over:
            flat = np.pad(flat, ((0, 0), (0, over)))
        return float(flat.reshape(self.sms, -1, self.subs).sum(axis=1).max())

    def _rows(self, first: int, count: int) -> tuple[int, int]:
        """Different strips of A and of B that the CTAs first, first + SMs, ... of an SM read."""
        gx, tiles = self.plan.grid[1], [extent // TILE_M for extent in self.plan.cta]
        numbers = range(first, first + count * self.sms, self.sms)
        a, b = self.operands.sides
        return (
            len({i // gx for i in numbers}) * min(tiles[0], a.strips),
            len({i % gx for i in numbers}) * min(tiles[1], b.strips),
        )

    def _traffic(self, first: int, count: int, ahead: int) -> tuple[float, float, float, float, float]:
        """Of `count` CTAs from `first` on, a step: sectors that the fullest SM asks L2 for, that
        all SMs ask for, and the spread of what L2's slices have to do in `ahead` steps, DRAM bytes
        and the spread over its channels."""
        gx = self.plan.grid[1]
        most = ceil_div(count, self.sms)
        full = count - (most - 1) * self.sms
        mine = self._rows(first, most)
        fewer = self._rows(first, most - 1) if most > 1 and full < self.sms else (0, 0)
        last = first + count - 1
        a, b = self.operands.sides
        lines = last // gx - first // gx + 1
        different = (
            min(a.strips, lines * (self.plan.cta[0] // TILE_M)),
            b.strips if lines > 1 else min(b.strips, count * (self.plan.cta[1] // TILE_M)),
        )
        asked_by_all = one = spread = fetched = uneven = 0.0
        for i, side in enumerate((a, b)):
            sectors = self.strip_sectors[i]
            asked = mine[i] * full + fewer[i] * (self.sms - full)
            one += mine[i] * sectors
            asked_by_all += asked * sectors
            readers = asked / different[i]
            spread += ahead * different[i] * sectors * 4 * readers**2
            fetched += different[i] * sectors * 32
            for block in (64.0 * ahead, (sectors - BITMAP_SECTORS - HEADER_SECTORS) * 32 * ahead):
                uneven += different[i] * block * min(block, 1024)
        return one, asked_by_all, spread**0.5, fetched, uneven**0.5

    def estimate(self) -> Estimate:
        plan, f, machine = self.plan, self.f, self.machine
        m, n, _ = plan.sizes
        steps, tiles = self.operands.k_tiles, self.warp_tiles
        ahead = min(plan.stages - 1, steps)
        latency = machine["dram.latency"]
        own = loop_of(plan)
        l2 = machine["l2.slices"] * machine["l2.sectors_per_slice_cycle"] * f.l2_share
        slices, channels = machine["l2.slices"], machine["dram.channels"]
        port_in = machine["noc.read_bytes_per_sm_cycle"] / 32
        mean = float(self.work.mean())
        result = min(plan.cta[0], m) * min(plan.cta[1], n) * plan.out_bytes
        per_batch = self.sms * self.held
        batches = ceil_div(self.ctas, per_batch)
        total = 0.0
        parts = dict.fromkeys(("tensor", "load_store", "l1", "l2_to_sm", "l2", "latency", "store"), 0.0)
        before = before_one = 0.0
        chance = min(1.0, self.both / (tiles * steps))
        for i in range(batches):
            first = i * per_batch
            count = min(self.ctas - first, per_batch)
            most = ceil_div(count, self.sms)
            packed = most
            if i and batches > 1:
                packed = most + f.pack * (min(self.held, count) - most)
            missed, asked, spread, fetched, uneven = self._traffic(first, count, ahead)
            warps = packed * plan.warps / self.subs if packed > most else ceil_div(most * plan.warps, self.subs)
            missed *= packed / most
            step = mean / steps if batches > 1 else self._fullest() / warps / steps
            product = step / tiles
            times = {
                "tensor": warps * step,
                "load_store": warps * own.unit,
                "l1": packed * self.touched / machine["l1.sectors_per_cycle"],
                "l2_to_sm": missed / port_in,
                "l2": asked / l2,
            }
            # products of a step come or do not: its time is the mean of the larger of two
            one = max(0.0, mean / steps / tiles - machine["spwmma.min_busy"]) / max(chance, 1e-9)
            spread_step = sqrt(tiles * (f.variation * product * product / 4 + one * one * chance * (1 - chance)))
            alone = max(
                mean_of_larger(step + own.gap, spread_step, own.fetch),
                (tiles - own.hidden) * product + own.fetch,
            )
            local = smooth_max(f.sharpness, *(t for name, t in times.items() if name != "l2"))
            pace = smooth_max(f.sharp_l2, local, times["l2"])
            burst = (f.l2_mean * asked * ahead + f.l2_spread * spread * slices**0.5) / l2
            burst += (f.dram_mean * fetched * ahead + f.dram_spread * uneven * channels**0.5) / dram_bytes(machine)
            wait = latency + f.latency_extra + burst
            turn = max(pace, alone) * ahead
            turns = (steps - 1) // ahead
            loop = max(pace, alone) * (steps - turns * ahead) + turns * mean_of_larger(turn, f.round_spread * sqrt(ahead) * spread_step + f.turn_spread * turn, wait)
            waits = turns * wait
            start = f.start + f.start_tile * (tiles - 1) + latency + f.first * burst
            stored = packed * result / machine["noc.write_bytes_per_sm_cycle"]
            drained = m * n * plan.out_bytes * count / self.ctas / 32 / l2
            end = smooth_max(f.sharp_end, stored, drained)
            # values are loaded only where they meet others: warps without any end earlier
            second = max(0.0, latency - (1 - self.multiplying) * end) * self.any_products
            start += second
            chain = start + loop
            total += chain if not i else smooth_max(f.sharp_end, chain + f.overlap * before_one, before)
            before, before_one = end, end / packed
            for name, t in times.items():
                if name in parts:
                    parts[name] += t * steps
            parts["latency"] += latency + second + waits
            parts["store"] += end
        total += before
        read, written = self._dram()
        parts["dram"] = read + written
        total = smooth_max(f.sharp_dram, total, read + 2 * latency) + f.write * written
        return Estimate(total, parts)

    def _dram(self) -> tuple[float, float]:
        """Cycles to load the operands once, and to write back what L2 cannot keep."""
        machine = self.machine
        m, n, _ = self.plan.sizes
        sectors = sum(
            side.strips * own for side, own in zip(self.operands.sides, self.strip_sectors, strict=True)
        )
        written = max(0.0, m * n * self.plan.out_bytes - machine["l2.capacity_bytes"])
        rate = dram_bytes(machine)
        return sectors * 32 * self.operands.k_tiles / (rate * self.f.dram_share), written / rate


def dram_bytes(machine: Machine) -> float:
    """Bytes a cycle that DRAM moves at best."""
    a_second: Any = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e9
    return a_second / (machine["clock.core_mhz"] * 1e6)
