"""What a product on the dual-side engine takes, in closed form. Not a pass.

In: sizes, popcounts of the operands (`Operands`), a schedule's tiles, a machine. Out: predicted
cycles, and those of each resource alone. Numbers of machines come from their files; what is our
kernel's stands here, and `FITTED` says how resources disturb each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod, sqrt
from typing import TypeVar

import numpy as np

from ..backend.isa.layout import HEADER_GROUP, NARROW_VALUES, ceil_div, round_up
from ..backend.isa.table import NUM_REGISTERS, REGISTER_VALUES, TILE_K, TILE_M, WARP_SIZE
from ..dialects.tiles import piece_tiles, pieces_of, warps_of
from .cost_chip import SECTOR, Chip, Prediction, Round, chain_up, mean_of_larger, rounds, smooth_max
from .cost_image import ImageSide
from .cost_issue import step_slots
from .cost_operands import Operands
from .matmul_dual import always_wide, surely_wide
from .matmul_dual_prefetch import (
    CHUNK,
    GROUP,
    fetches_whole,
    prefetch_distance,
    prefetched_sectors,
)
from .matmul_dual_skip import list_bytes
from .matmul_dual_steps import steps_ahead
from .matmul_raster import Order

Size2 = tuple[int, int]
_T = TypeVar("_T")

REGISTERS = {
    (32, 2): {2: 110, 3: 120, 4: 140, 5: 156, 6: 183, 8: 188},
    (32, 3): {2: 127, 3: 173, 4: 174, 5: 248, 6: 246, 8: 246},
    (32, 4): {2: 174, 3: 188, 4: 232, 5: 232},
    (32, 6): {2: 227, 3: 245},
    (32, 8): {2: 235},
    (64, 2): {2: 215, 3: 215, 4: 253, 5: 253},
    (64, 3): {2: 251, 3: 252, 4: 252},
    (64, 4): {2: 205, 3: 251, 4: 254},
}
"""(window, operand tiles of a warp) -> stages -> registers of a lane, as compiled with a long K, at
the densities that take most; what is not here does not fit into 255."""
TURN_REGISTERS = 38
"""More that a warp needs whose CTA takes tiles in turn, if there are so many left: measured."""
TURN_STEPS = 13
"""Steps from which on CTAs that share an SM take tiles in turn: measured with 2 and 4 of them,
turns cost 3 to 30 % with 2 and 6 steps, -12 to 12 % with 14 and -15 to 5 % with 32."""
WITHOUT_TURNS = {(32, 8)}
"""(window, operand tiles of a warp) that leave too few for that."""
PART_REGISTERS = 40
"""Beside its sums, those of a warp that adds up the parts of a split product."""
LEAST_REGISTERS = 68
"""Of a warp with a single step."""
BITMAP_SECTORS, HEADER_SECTORS = 2, 0.25
"""Of a tile, 32-byte sectors: 16 words of bitmap (twice that with a window of 64); four headers
share a sector, and a load."""
L2_SHARE = 0.85
"""Share of L2 that what is read again can fill and still be there."""
RUN_BYTES = 1024
"""Neighbouring bytes that lie in one DRAM channel."""
LINE_SECTORS = 4
"""Sectors of a line, which all come from one slice of L2."""
LOAD_ALU, NEXT_ALU, TILE_ALU, FETCH_ALU = 3.0, 1.0, 0.375, 12.0
"""Arithmetic: of a tile's first load of values, of each further one, of its bitmap and headers,
and of a group of tiles whose sectors are fetched into L1 a chunk: counted in compiled loops."""
HOPS = 2
"""Loads before the first product that wait for each other: headers, values; row starts before them
where they say which loop it is, and nothing fetches headers meanwhile."""


@dataclass(frozen=True)
class Fitted:
    """How the parts of a launch add up: `benchmarks/estimate_fit.py` fits these numbers.

    They are those with which random products (sizes, densities, tiles) come nearest to the
    simulator; none of them belongs to a product.
    """

    start: float = 120
    """Cycles before the first load and after the last product, of a warp alone."""
    start_tile: float = 0.844
    """The same for each operand tile of a sub-core's warps."""
    end_start: float = 8.08
    """Cycles before the first store."""
    end_row: float = 1.52
    """Cycles of a row of 32 results beside its store."""
    miss_power: float = 0.0418
    """By which power of the share of sectors that come from DRAM a turn waits for it."""
    latency_extra: float = 21.3
    """Cycles from a load's arrival until the loads of a later turn are under way."""
    sharp_alone: float = 2.28
    """How little the units that one warp feeds disturb each other (`smooth_max`)."""
    sharpness: float = 34.2
    """The same of the resources of an SM,"""
    sharp_l2: float = 2.91
    """of an SM and L2,"""
    sharp_end: float = 3.12
    """of stores and what else goes on,"""
    sharp_dram: float = 10.3
    """of DRAM and all else."""
    l2_share: float = 1.22
    """Share of L2's peak that counts; of the rest, the sharpness takes account."""
    l2_uneven: float = 0.206
    """How much the fullest slice holds up a step, of the spread over slices."""
    dram_share: float = 0.893
    """Share of the DRAM's effective bandwidth that a launch reaches."""
    l2_mean: float = 0.435
    """Of a burst's mean time in a slice, what adds to the latency,"""
    l2_spread: float = 0.308
    """and of the spread over slices;"""
    dram_mean: float = 0.538
    """the same for DRAM's channels."""
    dram_spread: float = 0.351
    shared_l1: float = 0.827
    """Share of what CTAs of an SM could share in L1 that they do."""
    first: float = 0.701
    """Share of a burst's queueing that is before the first step."""
    calm: float = 0.126
    """By which power of the number of turns these bursts get smaller: SMs drift apart."""
    in_flight: float = 0.588
    """Share of the sectors that an SM can wait for at a time that it does wait for."""
    turn_spread: float = 0.331
    """How much turns differ, as a share of one."""
    pack: float = 0.616
    """How unevenly the CTAs of the last round are dealt out (`rounds`)."""
    sharp_drift: float = 2.05
    """How little units, stores and a CTA's latencies disturb each other, where CTAs of an SM have
    drifted apart."""
    turn_overlap: float = 2.53
    """By how many of its neighbours' stores a CTA is delayed that takes tiles in turn."""
    greedy: float = 0.677
    """Share of its units' time by which an SM's CTAs end apart: older warps go first."""
    stagger: float = 0.00417
    """How far the CTAs of a round drift apart, as a share of its time (`chain_up`, `_drifting`)."""
    part_share: float = 0.7
    """Share of an SM's read bandwidth at which one CTA adds the parts of a split product."""
    part_wait: float = 281
    """Cycles that a part of a warp with one accumulation tile takes it,"""
    part_power: float = 0.42
    """and by which power of their number these grow."""
    arrive: float = 549
    """Cycles to count an arrival: atomic, barriers, shared memory."""
    begun: float = 0.0286
    """Share of what is fetched for nothing at a tile's start that delays it."""
    turn_start: float = 286
    """Cycles of a tile's start and its barrier where CTAs take tiles in turn."""
    write: float = 1.34
    """Cycles that L2 takes to write back, over those of its bytes."""


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
    split: int = 1
    ctas: int = 0
    """CTAs that take tiles in turn; 0: a CTA a tile."""
    cut: int = 0
    """Tiles that are cut into `pieces` smaller ones each."""
    listed: int = 0
    """Steps that each warp's list in shared memory has room for, if it has one."""
    image: ImageSide | None = None
    """The right operand, where it is an encoded image."""

    @property
    def pieces(self) -> Size2:
        """Smaller tiles, along M and N, of a large one."""
        return pieces_of(self.warp, self.window)

    @property
    def small(self) -> DualPlan:
        """The plan of the smaller tiles, as if they covered the result."""
        cta, warp = piece_tiles(self.cta, self.warp, self.window)
        return replace(self, cta=cta, warp=warp, cut=0)

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return warps_of(self.cta, self.warp)

    @property
    def grid(self) -> Size2:
        """CTAs along M and N."""
        return ceil_div(self.sizes[0], self.cta[0]), ceil_div(self.sizes[1], self.cta[1])

    @cached_property
    def tiles(self) -> Size2:
        """Tiles of a warp, of a window's vectors, along M and N."""
        return self.warp[0] // self.window, self.warp[1] // self.window

    @property
    def accumulators(self) -> int:
        """Accumulation tiles of a warp."""
        return self.warp[0] * self.warp[1] // TILE_M**2

    @cached_property
    def registers(self) -> int:
        """Registers of a lane, more than there are for tiles without an entry; fewer if K is so
        short that not all stages are filled."""
        if self.split > 1 and 32 * self.accumulators + PART_REGISTERS > NUM_REGISTERS:
            return NUM_REGISTERS + 1
        of_stages = REGISTERS.get((self.window, sum(self.tiles)), {})
        if self.stages not in of_stages:
            return NUM_REGISTERS + 1
        stages = min(self.stages, 1 + ceil_div(self.sizes[2], TILE_K))
        return of_stages.get(stages, LEAST_REGISTERS)


def occupancy(plan: DualPlan, chip: Chip, *, in_turn: bool = False) -> int:
    """CTAs that an SM holds at once; 0 if not even one. `in_turn`: as they are, or would be."""
    if plan.registers > NUM_REGISTERS:
        return 0
    registers = plan.registers
    if plan.ctas or in_turn:
        registers = min(registers + TURN_REGISTERS, NUM_REGISTERS)
    of_sub_core = min(
        chip.accumulators // plan.accumulators,
        chip.registers // chip.sub_cores // round_up(registers * 32, chip.register_granularity),
        chip.max_warps // chip.sub_cores,
    )
    held = min(of_sub_core * chip.sub_cores // plan.warps, chip.max_ctas)
    if plan.listed:
        shared = round_up(plan.warps * list_bytes(plan.listed), chip.shared_granularity)
        held = min(held, chip.shared_bytes // shared)
    return held


def turns(plan: DualPlan, densities: tuple[float, float], chip: Chip) -> tuple[int, int]:
    """(`ctas`, `cut`) that a plan gets; (0, 0) where a CTA takes one tile.

    Taking turns saves what a CTA's start takes: as long as many steps of sparse operands, and a few
    of dense ones. A last round that fills less than half of the machine is cut into smaller tiles.
    Where an SM holds several CTAs that soon end, these hide each other's starts by themselves.
    """
    tiles, key = plan.grid[0] * plan.grid[1], (plan.window, sum(plan.tiles))
    if plan.split > 1 or key in WITHOUT_TURNS:
        return 0, 0
    if ceil_div(plan.sizes[2], TILE_K) < TURN_STEPS and occupancy(plan, chip) > 1:
        return 0, 0
    at_once = occupancy(plan, chip, in_turn=True) * chip.sms
    if not 0 < at_once < tiles:
        return 0, 0
    rest = tiles % at_once
    cut = rest if 2 * rest <= at_once and plan.pieces != (1, 1) else 0
    sparse = any(prefetched_sectors(density, plan.window) for density in densities)
    return (at_once if sparse or cut else 0), cut


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


@dataclass(frozen=True)
class _Step:
    """What a warp does beside products: loads and prefetches, as accesses (`on`, or `off` in all
    lanes), arithmetic, and sectors of L1 that are fetched for nothing."""

    on: float = 0.0
    off: float = 0.0
    alu: float = 0.0
    sectors: float = 0.0

    def __add__(self, other: _Step) -> _Step:
        return _Step(
            self.on + other.on,
            self.off + other.off,
            self.alu + other.alu,
            self.sectors + other.sectors,
        )


@dataclass(frozen=True)
class _Passed:
    """Cycles of a round: until its CTAs store, and of all their stores.

    `busiest`: of its busiest unit meanwhile; `by_itself`: of one of its CTAs, stores and all.
    """

    until: float
    end: float
    busiest: float
    by_itself: float


class _Model:
    def __init__(self, plan: DualPlan, operands: Operands, chip: Chip, f: Fitted, held: int):
        self.plan, self.operands, self.chip, self.f, self.held = plan, operands, chip, f, held
        self.bitmap_sectors = BITMAP_SECTORS * plan.window // TILE_M
        all_steps = operands.k_tiles
        self.steps = ceil_div(ceil_div(all_steps, plan.split), HEADER_GROUP) * HEADER_GROUP
        self.steps = min(self.steps, all_steps)
        self.parts = ceil_div(all_steps, self.steps)
        self.ctas = plan.grid[0] * plan.grid[1] * self.parts
        rows, columns = plan.tiles
        self.tiles = rows * columns
        a, b = operands.sides
        self.fetched = tuple(
            prefetched_sectors(side.density, plan.window) for side in operands.sides
        )
        whole = fetches_whole((a.density, b.density), plan.cta)
        self.dense = tuple(whole and not sectors for sectors in self.fetched)
        if plan.image is not None:
            self.fetched, self.dense = (self.fetched[0], 0), (self.dense[0], False)
        covered = plan.image is not None or all(
            dense or sectors >= side.pieces / 2 / max(side.occupied, 1e-9)
            for side, sectors, dense in zip(operands.sides, self.fetched, self.dense, strict=True)
        )
        self.wide = self._wide()
        apart = not always_wide((a.density, b.density), plan.window)
        self.hops = HOPS + (apart and not any((*self.fetched, *self.dense))) - self._empty()
        self.hops += plan.image is not None
        self.near = self._near()
        self.distance = prefetch_distance((a.density, b.density), plan.cta)
        self.ahead = min(CHUNK * self.distance, self.steps) if covered else self.near
        self.seen = 1.0 if covered else self._seen()
        self.work = operands.by_warp(plan.swap, plan.grid, plan.cta, plan.warp, plan.window)
        headers, own = 1 + self.bitmap_sectors, HEADER_SECTORS + self.bitmap_sectors
        (cm, cn), (wm, wn) = plan.cta, plan.warp
        self.touched = (
            cm * cn // wn * (headers + a.sectors) + cn * cm // wm * (headers + b.sectors)
        ) / plan.window
        self.values = a.pieces / 2, b.pieces / 2
        self.strip_sectors = own + self.values[0], own + self.values[1]
        if plan.image is not None:
            self.touched -= cn * cm // wm * (headers + b.sectors - plan.image.touched) / plan.window
            self.strip_sectors = self.strip_sectors[0], plan.image.sectors
        self.order = Order.of_sparse(plan.grid, plan.cta, (a.density, b.density))
        self.grid = self.order.lines, self.order.width
        dense, sparse = self._dense_chunk(), self._sparse_chunk() + self._bitmap_chunk()
        self.step = self._step(dense + sparse)
        self.idle = self._idle(dense, sparse)

    @property
    def others(self) -> float:
        """Instructions of a warp and step that are on no unit of those counted."""
        image = self.plan.image
        return 0.0 if image is None else image.others * self.plan.tiles[1]

    def _seen(self) -> float:
        """Share of steps that have products, and so wait for values that nothing fetched before."""
        both = float(self.operands.both.mean()) / self.operands.k_tiles
        return 1 - (1 - min(1.0, both)) ** self.tiles

    def _empty(self) -> float:
        """How probably no warp loads any values; those of wide tiles only if there are products."""
        steps = self.steps * self.ctas * self.plan.warps
        sides = zip(self.operands.sides, self.plan.tiles, strict=True)
        narrow = (min(1.0, 1 - s.occupied + s.wide) ** (tiles * steps) for s, tiles in sides)
        return (1 - self._seen()) ** steps * prod(narrow)

    def _wide(self) -> tuple[float, float]:
        """Share of warps whose tiles of A, of B are loaded as wide ones.

        All of a side that surely has some; both where there is one of a side that need not have.
        """
        surely = [surely_wide(side.density, self.plan.window) for side in self.operands.sides]
        none = 1.0
        for side, tiles, expected in zip(self.operands.sides, self.plan.tiles, surely, strict=True):
            none *= 1.0 if expected else (1 - side.wide) ** tiles
        a, b = (1.0 if expected else 1 - none for expected in surely)
        return a, b if self.plan.image is None else 1.0

    def _near(self) -> int:
        """Steps by which loads to registers are ahead: fewer where tiles are wide."""
        plan = self.plan
        narrow, wide = NARROW_VALUES // REGISTER_VALUES, plan.window * TILE_K // REGISTER_VALUES
        a, b = (round(narrow + share * (wide - narrow)) for share in self.wide)
        return min(plan.stages - 1, steps_ahead((a, b), plan.tiles), self.steps)

    def _step(self, chunk: _Step) -> _Step:
        """Accesses and arithmetic of a warp's step beside its products; `chunk`: to fetch one."""
        plan, sides = self.plan, self.operands.sides
        on = off = alu = 0.0
        if plan.image is not None:
            vectors = plan.tiles[1]
            on, alu = vectors * plan.image.accesses, vectors * plan.image.alu
            sides = sides[:1]
        for side, tiles, wide in zip(sides, plan.tiles, self.wide, strict=False):
            loads = 1 + wide * (len(side.loads) - 1)
            brought = sum(side.loads)
            on += tiles * (brought + plan.window / 2 / TILE_M + 1 / HEADER_GROUP)
            off += tiles * max(0.0, loads - brought)
            alu += tiles * (LOAD_ALU + (loads - 1) * NEXT_ALU + TILE_ALU)
        return _Step(on + chunk.on / CHUNK, off + chunk.off / CHUNK, alu + chunk.alu / CHUNK)

    def _dense_chunk(self) -> _Step:
        """What fetching a chunk of dense tiles into L1 takes a warp: a header and a load a tile."""
        plan, found = self.plan, _Step()
        sharers = plan.cta[1] // plan.warp[1], plan.cta[0] // plan.warp[0]
        for side, tiles, dense, warps in zip(
            self.operands.sides, plan.tiles, self.dense, sharers, strict=True
        ):
            if dense:
                each = CHUNK * tiles / warps
                accesses = each * (1 + ceil_div(plan.window, TILE_M))
                sectors = each * (1 + side.pieces / 2)
                found += _Step(accesses * min(1.0, side.occupied), 0, 2 * accesses, sectors)
        return found

    def _sparse_chunk(self) -> _Step:
        """The same for sparse tiles: a lane a tile, a load a sector."""
        found, tiles = _Step(), self.plan.tiles
        wanted = [s for s, n in zip(self.fetched, tiles, strict=True) for _ in range(n) if s]
        for first in range(0, len(wanted), GROUP):
            group = wanted[first : first + GROUP]
            needed, most = self._sectors(group), max(group)
            found += _Step(2 + needed, max(0.0, most - needed), FETCH_ALU + most)
        return found

    def _bitmap_chunk(self) -> _Step:
        """The same for the bitmaps of both: a lane a sector."""
        sides = zip(self.plan.tiles, self.fetched, self.dense, strict=True)
        rows = sum(tiles for tiles, sparse, dense in sides if sparse or dense)
        return _Step(ceil_div(rows * CHUNK * self.bitmap_sectors, WARP_SIZE))

    def _idle(self, dense: _Step, sparse: _Step) -> _Step:
        """What a warp fetches for nothing: chunks are whole, the last turns beyond K."""
        looped = max(0, self.steps - self.near - HEADER_GROUP - 1) // CHUNK
        chunks = ceil_div(self.steps, CHUNK)
        partly = chunks - self.steps / CHUNK
        beyond = min(self.distance, chunks) + looped - chunks
        every = dense + sparse
        return _Step(
            partly * sparse.on, beyond * (every.on + every.off), (partly + beyond) * every.alu
        )

    def _sectors(self, group: list[int]) -> float:
        """Accesses of a group's values that fetch anything."""
        needed = max(
            side.pieces / 2 + 1
            for side, sectors in zip(self.operands.sides, self.fetched, strict=True)
            if sectors in group
        )
        return min(float(max(group)), needed)

    def _fullest(self) -> float:
        """Tensor cycles of the fullest sub-core, if CTAs go round the SMs."""
        sms, warps = self.chip.sms, self.plan.warps
        work = np.tile(self.work[self.order.places()], (self.parts, 1)) / self.parts
        turns = ceil_div(self.ctas, sms)
        slots = round_up(turns * warps, self.chip.sub_cores)
        padded = np.zeros((turns * sms, warps))
        padded[: self.ctas] = work
        of_sm = np.zeros((sms, slots))
        of_sm[:, : turns * warps] = (
            padded.reshape(turns, sms, warps).swapaxes(0, 1).reshape(sms, -1)
        )
        return float(of_sm.reshape(sms, -1, self.chip.sub_cores).sum(axis=1).max())

    def _of_sides(self, values: tuple[_T, _T]) -> tuple[_T, _T]:
        """Of A and B, from what is along lines of the CTAs' order and across them; or back."""
        first, second = values
        return (second, first) if self.order.down else (first, second)

    def _strips(self, first: int, count: int) -> tuple[float, float]:
        """Different strips of A and of B that the CTAs first, first + SMs, ... of an SM read.

        Those of different parts of K are different. What CTAs of an SM could share in L1 they do
        to the degree `shared_l1`.
        """
        (lines, width), (a, b) = self.grid, self.operands.sides
        mine = range(first, first + count * self.chip.sms, self.chip.sms)
        whole = lines * width
        shared = len({i // width for i in mine}), len({(i // whole, i % width) for i in mine})
        along, across = (count + self.f.shared_l1 * (some - count) for some in shared)
        a_tiles, b_tiles = self._of_sides((along, across))
        return (
            a_tiles * min(self.plan.cta[0] // self.plan.window, a.strips),
            b_tiles * min(self.plan.cta[1] // self.plan.window, b.strips),
        )

    def _traffic(self, r: Round) -> _Traffic:
        """What a round loads a step."""
        (height, width), (a, b) = self.grid, self.operands.sides
        full = r.count - (r.most - 1) * self.chip.sms
        mine = self._strips(r.first, r.most)
        fewer = (0.0, 0.0)
        if r.most > 1 and full < self.chip.sms:
            fewer = self._strips(r.first, r.most - 1)
        lines = (r.first + r.count - 1) // width - r.first // width + 1
        planes = ceil_div(lines, height)
        outer, inner = self._of_sides((a.strips, b.strips))
        of_line, of_cta = self._of_sides(
            (self.plan.cta[0] // self.plan.window, self.plan.cta[1] // self.plan.window)
        )
        different = self._of_sides(
            (
                min(outer * planes, lines * of_line),
                planes * inner if lines > 1 else min(inner, r.count * of_cta),
            )
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

    def prediction(self) -> Prediction:
        """The sum over rounds of CTAs, within what DRAM allows."""
        f, chip = self.f, self.chip
        parts: dict[str, float] = {}
        dealt = list(rounds(self.ctas - self.plan.cut, self.held, chip.sms, f.pack))
        chained = [(r, self._round(r, parts)) for r in dealt]
        if self.plan.cut:
            small = _Model(self.plan.small, self.operands, chip, f, self.held)
            down, across = self.plan.pieces
            ctas = self.plan.cut * down * across
            few = list(rounds(ctas, self.held, chip.sms, f.pack))
            chained += [(r, small._round(r, parts)) for r in few]
        if self.held > 1 and not self.plan.ctas:
            total, end = self._drifting(chained)
        else:
            others = f.turn_overlap if self.plan.ctas else 0.0
            together = [(r, passed.until, passed.end) for r, passed in chained]
            total, end = chain_up(together, 1.0, f.sharp_end, f.stagger, others)
        if self.parts > 1:
            total += self._added(dealt[-1].packed)
        m, n, _ = self.plan.sizes
        scratch = self.ctas * self.plan.cta[0] * self.plan.cta[1] * 4 if self.parts > 1 else 0
        spilled = max(0.0, m * n * self.plan.out_bytes + scratch - chip.l2_capacity)
        spilled *= (2 if scratch else 1) / chip.dram_bytes
        read = self._loaded_bytes() / (chip.dram_bytes * f.dram_share)
        parts["dram"] = read + spilled
        # nothing is read before the first headers are asked for, nor while the last CTAs store
        dram = f.start + self.hops * chip.dram_latency + read + f.write * spilled + end
        total = smooth_max(f.sharp_dram, total, dram)
        return Prediction(total, parts)

    def _drifting(self, chained: list[tuple[Round, _Passed]]) -> tuple[float, float]:
        """Cycles of rounds of CTAs that begin when one of their SM ends; of the last stores.

        Only the first round's begin together. Later, each phase of a CTA is beside other phases of
        its neighbours: a round takes as long as its busiest unit, or as a CTA by itself.
        """
        total = stores = of_one = apart = 0.0
        before = 0
        for r, passed in chained:
            again = smooth_max(self.f.sharp_drift, passed.busiest, passed.end, passed.by_itself)
            total += again * r.times if before else passed.until + again * (r.times - 1)
            total -= apart * (1 - r.count / before) if before > r.count else 0.0
            stores, of_one, before = passed.end, passed.end / r.packed, r.count
            apart = self.f.stagger * passed.until
            apart += self.f.greedy * passed.busiest * (1 - 1 / r.packed)
        rest = stores - of_one
        last = of_one + (rest * rest / (rest + apart) if rest > 0 else 0.0)
        return total + last, last

    def _loaded_bytes(self) -> float:
        """Bytes of operands from DRAM: once, or again for what L2 does not keep meanwhile.

        Waves of CTAs go from line to line of a panel: strips of one operand are those of the
        panel's, of the other new ones.
        """
        chip = self.chip
        a, b = (
            side.strips * own * SECTOR * self.operands.k_tiles
            for side, own in zip(self.operands.sides, self.strip_sectors, strict=True)
        )
        passing, staying = self._of_sides((a, b))
        lines, across = self._of_sides(self.plan.grid)
        width, wave = self.order.width, self.held * chip.sms
        at_once = min(1.0, wave / (lines * width))
        kept, of_panel = L2_SHARE * chip.l2_capacity, staying * width / across
        if of_panel + passing * at_once > kept:
            staying *= ceil_div(lines * width, wave)
        if across > width and of_panel + passing > kept:
            passing *= ceil_div(across, width)
        return passing + staying

    def _added(self, packed: float) -> float:
        """Cycles to store a part of a split product, to arrive, and to add all parts."""
        f, chip = self.f, self.chip
        part = self.plan.cta[0] * self.plan.cta[1] * 4
        wait = f.part_wait * self.plan.accumulators**f.part_power
        added = smooth_max(f.sharp_end, part / chip.read_bytes / f.part_share, wait)
        return packed * part / chip.write_bytes + f.arrive + self.parts * added

    def _round(self, r: Round, parts: dict[str, float]) -> _Passed:
        """What a round of CTAs takes; adds to `parts`."""
        plan, f, chip, steps = self.plan, self.f, self.chip, self.steps
        t = self._traffic(r)
        l2 = chip.l2_sectors * f.l2_share
        warps = r.packed * plan.warps / chip.sub_cores
        if r.packed == r.most:
            warps = ceil_div(r.most * plan.warps, chip.sub_cores)
        if r.count == self.ctas and not plan.ctas:
            ohmmas = self._fullest() / warps / steps
        else:
            ohmmas = float(self.work.mean()) / self.operands.k_tiles
        product = chip.ohmma_interval * ohmmas if chip.squash is None else 0.0
        issued = float(self.tiles)
        if chip.squash is not None:
            issued = float(step_slots(ohmmas, self.tiles, chip.squash))
        s = self.step
        own = {
            "tensor": product,
            "issue": issued + s.on + s.off + s.alu + self.others,
            "load_store": s.on * chip.lsu_interval + s.off * chip.lsu_off_interval,
            "alu": s.alu * chip.alu_interval,
        }
        busy = {name: warps * cycles for name, cycles in own.items()}
        busy["l1"] = r.packed * self.touched / chip.l1_sectors
        busy["l2_to_sm"] = t.fullest * r.packed / r.most * SECTOR / chip.read_bytes
        from_dram = min(1.0, t.fetched / SECTOR / max(t.asked, 1e-9))
        passing = chip.l2_latency + from_dram * (chip.dram_latency - chip.l2_latency)
        under_way = chip.miss_sectors * f.in_flight
        busy["misses"] = t.fullest * r.packed / r.most * passing / under_way
        asked = (t.asked + f.l2_uneven * t.spread / self.ahead) / l2
        # one warp issues in order: while it waits for a unit, it feeds no other
        alone = smooth_max(f.sharp_alone, *own.values())
        units = smooth_max(f.sharpness, *busy.values())
        local = max(units, alone)
        # what others have asked for before is in L2
        missing = from_dram**f.miss_power
        beyond = missing * (chip.dram_latency - chip.l2_latency)
        latency = chip.l2_latency + beyond + f.latency_extra
        local = max(local, (chip.l1_latency + f.latency_extra) / self.near)
        pace = smooth_max(f.sharp_l2, local, asked)

        # what is loaded ahead comes in bursts: a latency and a queue a turn of `ahead` steps
        burst = (
            f.l2_mean * asked * self.ahead
            + f.l2_spread * t.spread / l2
            + (f.dram_mean * t.fetched * self.ahead + f.dram_spread * t.uneven) / chip.dram_bytes
        )
        turns = (steps - 1) // self.ahead
        wait = latency + burst / max(1, turns) ** f.calm
        turn = pace * self.ahead
        varied = f.turn_spread * turn
        waited = self.seen * mean_of_larger(turn, varied, wait) + (1 - self.seen) * turn
        loop = pace * (steps - turns * self.ahead) + turns * waited

        m, n, _ = plan.sizes
        written = 0.0 if self.parts > 1 else plan.out_bytes
        tile = min(plan.cta[0], m) * min(plan.cta[1], n) * written
        drained = m * n * written * r.count / self.ctas / SECTOR / l2
        rows = warps * min(plan.warp[0], m) * min(plan.warp[1], n) / TILE_M
        end = f.end_start + smooth_max(
            f.sharp_end,
            r.packed * tile / chip.write_bytes,
            drained,
            rows * (chip.lsu_interval + f.end_row),
        )
        idle = self.idle
        begun = f.begun * max(
            warps * (idle.on * chip.lsu_interval + idle.off * chip.lsu_off_interval),
            warps * idle.alu * chip.alu_interval,
            r.packed * plan.warps * idle.sectors / chip.l1_sectors,
        )
        start = f.start + f.start_tile * warps * sum(plan.tiles) + f.first * burst + begun
        if plan.image is not None:
            start += r.packed * plan.image.start(plan.warps, chip.alu_interval)
        latencies = self.hops * chip.dram_latency
        if plan.ctas and r.first:
            # the tile before has fetched what this one begins with
            start, latencies = f.start_tile * warps * sum(plan.tiles) + begun, f.turn_start
        for name, cycles in {
            **{name: cycles * steps for name, cycles in busy.items()},
            "l2": asked * steps,
            "latency": latencies + turns * wait * self.seen,
            "store": end,
        }.items():
            parts[name] = parts.get(name, 0.0) + cycles * r.times
        by_itself = max(
            alone * ceil_div(plan.warps, chip.sub_cores), local if r.packed == 1 else 0.0
        )
        by_itself = (
            start / r.packed + latencies + by_itself * steps + turns * latency + end / r.packed
        )
        return _Passed(
            start + latencies + loop, end, smooth_max(f.sharp_l2, units, asked) * steps, by_itself
        )
