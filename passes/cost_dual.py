"""What a product on the dual-side engine takes, in closed form. Not a pass.

In: sizes, popcounts of the operands (`Operands`), a schedule's tiles, a machine. Out: predicted
cycles, and those of each resource alone. Numbers of machines come from their files; what is our
kernel's stands here, and `FITTED` says how resources disturb each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from ..backend.isa.layout import ceil_div, round_up
from ..backend.isa.table import TILE_K, TILE_M
from .cost_chip import SECTOR, Chip, Prediction, Round, chain_up, mean_of_larger, rounds, smooth_max
from .cost_issue import step_slots
from .cost_operands import F64, Operands

Size2 = tuple[int, int]


@dataclass(frozen=True)
class Loop:
    """A main loop as the compiler makes it: what one warp alone on its sub-core takes a step.

    A step takes max(products, products but for the last `hidden` + `fetch`); `unit`: cycles of the
    load/store unit. Measured with memory that answers at once: `estimate_fit.py --loops`.
    """

    registers: int
    hidden: int
    fetch: float
    unit: float


LOOPS = {
    (1, False): Loop(registers=212, hidden=1, fetch=35, unit=35.5),
    (1, True): Loop(registers=193, hidden=0, fetch=28, unit=35.5),
    (2, False): Loop(registers=228, hidden=2, fetch=52.5, unit=51.5),
    (4, False): Loop(registers=209, hidden=2, fetch=72, unit=72),
}
"""(32x32 tiles of a warp, CTA of one warp) -> its loop, with the stages of select-schedule."""
STAGE_REGISTERS, HEADER_REGISTERS, OTHER_REGISTERS = 11, 2, 6
"""Registers of a lane: an operand tile under way (values, bitmap, header), a header, others."""
BITMAP_SECTORS, HEADER_SECTORS = 2, 0.25
"""Of a tile, 32-byte sectors: 16 words of bitmap (twice that with a window of 64); four headers
share a sector, each is a load."""
RUN_BYTES = 1024
"""Neighbouring bytes that lie in one DRAM channel."""
LINE_SECTORS = 4
"""Sectors of a line, which all come from one slice of L2."""


@dataclass(frozen=True)
class Fitted:
    """How the parts of a launch add up: `benchmarks/estimate_fit.py` fits these numbers.

    They are those with which random products (sizes, densities, tiles) come nearest to the
    simulator; none of them belongs to a product.
    """

    start: float = 128
    """Cycles before the first load and after the last product, of a warp alone."""
    start_tile: float = 77.2
    """The same for each further tile of a warp."""
    latency_extra: float = 6.98
    """Cycles from a load's arrival until the loads of a later turn are under way."""
    sharpness: float = 2.92
    """How little the resources of an SM disturb each other (`smooth_max`)."""
    sharp_l2: float = 2.53
    """The same of an SM and L2,"""
    sharp_end: float = 7.67
    """of stores and what else goes on,"""
    sharp_dram: float = 9.67
    """of DRAM and all else."""
    l2_share: float = 1.29
    """Share of L2's peak that counts; of the rest, the sharpness takes account."""
    dram_share: float = 0.841
    """Share of the DRAM's effective bandwidth that a launch reaches."""
    l2_mean: float = 0.117
    """Of a burst's mean time in a slice, what adds to the latency,"""
    l2_spread: float = 0.646
    """and of the spread over slices;"""
    dram_mean: float = 0.209
    """the same for DRAM's channels."""
    dram_spread: float = 0.18
    first: float = 1.34
    """Share of a burst's queueing that is before the first step."""
    variation: float = 0.0256
    """Variance of the time of a product that is not empty, over its mean squared."""
    turn_products: float = 1.31
    """How much the spread of products counts in that of a turn,"""
    turn_spread: float = 0.0975
    """and the spread of the rest, as a share of the turn."""
    pack: float = 0.402
    """How unevenly the CTAs of the last round are dealt out (`rounds`)."""
    overlap: float = 0.496
    """Share of a CTA's stores that delay the CTA after it."""
    stagger: float = 0.0575
    """How far the CTAs of a round drift apart, as a share of its time (`chain_up`)."""
    write: float = 0.792
    """Share of what L2 writes back that nothing overlaps."""


FITTED = Fitted()


@dataclass(frozen=True)
class DualPlan:
    """Sizes of a product, the tiles of its schedule, bytes of a result's element."""

    sizes: tuple[int, int, int]
    cta: Size2
    warp: Size2
    stages: int
    swap: bool = False
    out_bytes: int = 4
    window: int = TILE_M

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
        """Tiles of a warp, of a window's vectors, along M and N."""
        return self.warp[0] // self.window, self.warp[1] // self.window

    @property
    def accumulators(self) -> int:
        """Accumulation tiles of a warp."""
        return self.warp[0] * self.warp[1] // TILE_M**2

    @property
    def loop(self) -> Loop:
        """The main loop."""
        tiles = self.accumulators
        return LOOPS.get((tiles, self.warps == 1)) or LOOPS[max(t for t, _ in LOOPS), False]

    @property
    def registers(self) -> int:
        """Registers of a lane; fewer if K is so short that not all stages are filled."""
        tiles = sum(self.warp) // TILE_M  # a tile of 64 vectors takes the registers of two of 32
        steps, ahead = ceil_div(self.sizes[2], TILE_K), self.stages - 1
        stages = STAGE_REGISTERS * tiles * min(steps, ahead)
        headers = HEADER_REGISTERS * tiles * max(0, min(steps, 2 * ahead) - ahead)
        return min(self.loop.registers, OTHER_REGISTERS + stages + headers)


def occupancy(plan: DualPlan, chip: Chip) -> int:
    """CTAs that an SM holds at once; 0 if not even one."""
    of_sub_core = min(
        chip.accumulators // plan.accumulators,
        chip.registers
        // chip.sub_cores
        // round_up(plan.registers * 32, chip.register_granularity),
        chip.max_warps // chip.sub_cores,
    )
    return min(of_sub_core * chip.sub_cores // plan.warps, chip.max_ctas)


def predict(plan: DualPlan, operands: Operands, chip: Chip, fitted: Fitted = FITTED) -> Prediction:
    """Cycles of a launch, without the host's overhead; infinite where no CTA fits."""
    held = occupancy(plan, chip)
    if held < 1:
        return Prediction(float("inf"), {"accumulator": float("inf")})
    return _Model(plan, operands, chip, fitted, held).prediction()


@dataclass(frozen=True)
class _Traffic:
    """What a round of CTAs loads a step, in sectors of L2, bytes of DRAM.

    `fullest`: asked for by one SM, `asked`: by all; `spread`, `uneven`: how far the fullest slice
    of L2 and channel of DRAM exceed the mean in as many steps as are loaded ahead, times the
    number of slices or channels.
    """

    fullest: float
    asked: float
    spread: float
    fetched: float
    uneven: float


class _Model:
    def __init__(self, plan: DualPlan, operands: Operands, chip: Chip, f: Fitted, held: int):
        self.plan, self.operands, self.chip, self.f, self.held = plan, operands, chip, f, held
        self.bitmap_sectors = BITMAP_SECTORS * plan.window // TILE_M
        self.ctas = plan.grid[0] * plan.grid[1]
        self.steps = operands.k_tiles
        self.ahead = min(plan.stages - 1, self.steps)
        rows, columns = plan.tiles
        self.tiles = rows * columns
        ohmmas = self._by_warp(operands.busy[plan.swap])
        self.work = step_slots(ohmmas, self.tiles * self.steps, chip.squash)
        self.mean_step = float(self.work.mean()) / self.steps
        both = self._by_warp(operands.both)
        self.any_products = min(1.0, float(both.sum()))
        # an SM with a single CTA has no others whose stores could hide what this one waits for
        multiplying = np.minimum(1.0, both).mean(axis=1)
        self.multiplying = float(multiplying.max() if self.ctas <= chip.sms else multiplying.mean())
        self.chance = min(1.0, float(both.mean()) / (self.tiles * self.steps))
        a, b = operands.sides
        reads = b.any_of(columns), a.any_of(rows)
        headers, own = 1 + self.bitmap_sectors, HEADER_SECTORS + self.bitmap_sectors
        (cm, cn), (wm, wn) = plan.cta, plan.warp
        self.touched = (
            cm * cn // wn * (headers + reads[0] * a.sectors)
            + cn * cm // wm * (headers + reads[1] * b.sectors)
        ) / plan.window
        self.values = reads[0] * a.pieces / 2, reads[1] * b.pieces / 2
        self.strip_sectors = own + self.values[0], own + self.values[1]

    def _by_warp(self, strips: F64) -> F64:
        """Sums over the tiles of each warp: (CTAs, warps)."""
        (gy, gx), (cm, cn), (wm, wn) = self.plan.grid, self.plan.cta, self.plan.warp
        window = self.plan.window
        rows = np.minimum(np.arange(gy * cm // window), strips.shape[0] - 1)
        columns = np.minimum(np.arange(gx * cn // window), strips.shape[1] - 1)
        full = strips[np.ix_(rows, columns)]
        by_warp = full.reshape(gy, cm // wm, wm // window, gx, cn // wn, wn // window).sum((2, 5))
        return by_warp.transpose(0, 2, 1, 3).reshape(gy * gx, self.plan.warps)

    def _fullest(self) -> float:
        """Tensor cycles of the fullest sub-core, if CTAs go round the SMs."""
        sms, warps = self.chip.sms, self.plan.warps
        turns = ceil_div(self.ctas, sms)
        slots = round_up(turns * warps, self.chip.sub_cores)
        padded = np.zeros((turns * sms, warps))
        padded[: self.ctas] = self.work
        of_sm = np.zeros((sms, slots))
        of_sm[:, : turns * warps] = (
            padded.reshape(turns, sms, warps).swapaxes(0, 1).reshape(sms, -1)
        )
        return float(of_sm.reshape(sms, -1, self.chip.sub_cores).sum(axis=1).max())

    def _strips(self, first: int, count: int) -> Size2:
        """Different strips of A and of B that the CTAs first, first + SMs, ... of an SM read."""
        gx, (a, b) = self.plan.grid[1], self.operands.sides
        mine = range(first, first + count * self.chip.sms, self.chip.sms)
        return (
            len({i // gx for i in mine}) * min(self.plan.cta[0] // self.plan.window, a.strips),
            len({i % gx for i in mine}) * min(self.plan.cta[1] // self.plan.window, b.strips),
        )

    def _traffic(self, r: Round) -> _Traffic:
        """What a round loads a step."""
        gx, (a, b) = self.plan.grid[1], self.operands.sides
        full = r.count - (r.most - 1) * self.chip.sms
        mine = self._strips(r.first, r.most)
        fewer = (0, 0)
        if r.most > 1 and full < self.chip.sms:
            fewer = self._strips(r.first, r.most - 1)
        lines = (r.first + r.count - 1) // gx - r.first // gx + 1
        down, across = (size // self.plan.window for size in self.plan.cta)
        different = (
            min(a.strips, lines * down),
            b.strips if lines > 1 else min(b.strips, r.count * across),
        )
        fullest = asked = spread = fetched = uneven = 0.0
        for i, sectors in enumerate(self.strip_sectors):
            loads = mine[i] * full + fewer[i] * (self.chip.sms - full)
            fullest += mine[i] * sectors
            asked += loads * sectors
            spread += different[i] * sectors * LINE_SECTORS * (loads / different[i]) ** 2
            fetched += different[i] * sectors * SECTOR
            for part in (self.bitmap_sectors, self.values[i]):
                run = part * SECTOR * self.ahead
                uneven += different[i] * run * min(run, RUN_BYTES)
        return _Traffic(
            fullest,
            asked,
            sqrt(self.ahead * spread * self.chip.slices),
            fetched,
            sqrt(uneven * self.chip.channels),
        )

    def _step_alone(self, step: float) -> tuple[float, float]:
        """A step of a warp alone on its sub-core, and the standard deviation of its products.

        The products of a step come or do not: the time is the mean of the larger of two.
        """
        loop, product = self.plan.loop, step / self.tiles
        one = max(0.0, self.mean_step / self.tiles - self.chip.empty_step) / max(self.chance, 1e-9)
        within = self.f.variation * product**2
        spread = sqrt(self.tiles * (within + one**2 * self.chance * (1 - self.chance)))
        return max(
            mean_of_larger(step, spread, loop.fetch),
            (self.tiles - loop.hidden) * product + loop.fetch,
        ), spread

    def prediction(self) -> Prediction:
        """The sum over rounds of CTAs, within what DRAM allows."""
        f, chip = self.f, self.chip
        parts: dict[str, float] = {}
        chained = [
            (r, *self._round(r, parts)) for r in rounds(self.ctas, self.held, chip.sms, f.pack)
        ]
        total, end = chain_up(chained, f.overlap, f.sharp_end, f.stagger)
        m, n, _ = self.plan.sizes
        pairs = zip(self.operands.sides, self.strip_sectors, strict=True)
        loaded = sum(side.strips * own for side, own in pairs) * SECTOR * self.steps
        spilled = max(0.0, m * n * self.plan.out_bytes - chip.l2_capacity) / chip.dram_bytes
        read = loaded / (chip.dram_bytes * f.dram_share)
        parts["dram"] = read + spilled
        # nothing is read before the first headers are asked for, nor while the last CTAs store
        latencies = chip.dram_latency * (1 + self.any_products)
        total = smooth_max(f.sharp_dram, total, f.start + latencies + read + end)
        total += f.write * spilled
        return Prediction(total, parts)

    def _round(self, r: Round, parts: dict[str, float]) -> tuple[float, float]:
        """Cycles of a round of CTAs up to their stores, and of the stores; adds to `parts`."""
        plan, f, chip, steps = self.plan, self.f, self.chip, self.steps
        t = self._traffic(r)
        l2 = chip.l2_sectors * f.l2_share
        warps = r.packed * plan.warps / chip.sub_cores
        if r.packed == r.most:
            warps = ceil_div(r.most * plan.warps, chip.sub_cores)
        alone_in_launch = r.count == self.ctas
        if alone_in_launch:
            step = self._fullest() / warps / steps
        else:
            mine = self.work[r.first : r.first + r.count * r.times]
            step = float(mine.mean()) / steps
        own, spread = self._step_alone(step)
        busy = {
            "tensor": warps * step,
            "load_store": warps * plan.loop.unit,
            "l1": r.packed * self.touched / chip.l1_sectors,
            "l2_to_sm": t.fullest * r.packed / r.most * SECTOR / chip.read_bytes,
        }
        asked = t.asked / l2
        local = smooth_max(f.sharpness, *busy.values())
        pace = max(smooth_max(f.sharp_l2, local, asked), own)

        # what is loaded ahead comes in bursts: a latency and a queue a turn of `ahead` steps
        burst = (
            f.l2_mean * asked * self.ahead
            + f.l2_spread * t.spread / l2
            + (f.dram_mean * t.fetched * self.ahead + f.dram_spread * t.uneven) / chip.dram_bytes
        )
        wait = chip.dram_latency + f.latency_extra + burst
        turns = (steps - 1) // self.ahead
        turn = pace * self.ahead
        varied = f.turn_products * sqrt(self.ahead) * spread + f.turn_spread * turn
        loop = pace * (steps - turns * self.ahead) + turns * mean_of_larger(turn, varied, wait)

        m, n, _ = plan.sizes
        tile = min(plan.cta[0], m) * min(plan.cta[1], n) * plan.out_bytes
        drained = m * n * plan.out_bytes * r.count / self.ctas / SECTOR / l2
        end = smooth_max(f.sharp_end, r.packed * tile / chip.write_bytes, drained)
        # values are loaded only where they meet others: warps without any end earlier
        second = self.any_products * max(0.0, chip.dram_latency - (1 - self.multiplying) * end)
        start = f.start + f.start_tile * (self.tiles - 1) + f.first * burst
        latencies = chip.dram_latency + second
        for name, cycles in {
            **{name: cycles * steps for name, cycles in busy.items()},
            "l2": asked * steps,
            "latency": latencies + turns * wait,
            "store": end,
        }.items():
            parts[name] = parts.get(name, 0.0) + cycles * r.times
        return start + latencies + loop, end
