"""What a product on the n:m engine takes, in closed form. Not a pass.

In: sizes, pattern, which operand is sparse and how the other is stored, a schedule's tiles, a
machine. Out: predicted cycles and what limits them. Numbers of machines come from their files,
those of our kernel stand here; `FITTED` says how resources disturb each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backend.isa.layout import (
    NM_BLOCK_K,
    NM_BLOCK_LINES,
    NM_INDEX_BYTES,
    STEP_K,
    ceil_div,
    round_up,
)
from ..backend.isa.table import HMMA_MACS
from ..dialects.tiles import warps_of
from ..runtime.nm_format import Pattern
from .cost_chip import SECTOR, Chip, Prediction, Round, chain_up, rounds, smooth_max
from .cost_dense import L2_SHARE
from .cost_windows import GATHERING as IN_FLIGHT
from .cost_windows import Windows
from .matmul_raster import at_once

Size2 = tuple[int, int]

LANE_REGISTERS = {64 * 64: 256, 32 * 64: 176, 32 * 32: 128}
"""Elements of a warp's tile -> registers of a lane, as they are handed out."""
OTHER_INSTRUCTIONS = 40
"""Instructions of a warp and step beside HMMA.SP, loads and stores."""
GATHER_REGISTERS = 95
"""Registers of a lane that gathers, beside accumulators and what is on its way."""
GATHERED_SECTORS = 9
"""Sectors that 32 lanes touch with one gather: two k of every fourth pair of pixels of 64."""
_PIECE = 16 * 16
"""Elements of a fragment's accumulators."""


@dataclass(frozen=True)
class Fitted:
    """How the parts of a launch add up, fitted to 26 random products and 8 large ones.

    Of these the form comes within 6 % (median), 9 % (mean) and 33 % (worst); products of few steps
    are the furthest off. Of 61 others with smaller tiles too: 10 %, 13 % and 69 %.
    """

    start: float = 1370.0
    """Cycles before the first product and after the last one, of a CTA alone, beside memory's."""
    gap: float = 455.0
    """Of a step, what the loads and products of a CTA alone do not overlap."""
    tensor_share: float = 0.853
    """Share of the tensor peak that full sub-cores reach,"""
    l2_share: float = 1.11
    """and of L2's and DRAM's that loads reach."""
    dram_share: float = 0.355
    sharpness: float = 60.0
    """How little resources disturb each other (`smooth_max`)."""
    epilogue: float = 4.0
    """Cycles of a sub-core for an accumulator of a lane: rounding, moves, addresses, stores."""
    overlap: float = 1.2
    """Share of a CTA's stores that delay the CTA after it."""
    stagger: float = 0.006
    """How far the CTAs of a round drift apart, as a share of its time."""


FITTED = Fitted()


@dataclass(frozen=True)
class Gathering:
    """What of that is otherwise where windows of an image are gathered: fitted to three
    convolutions with six tiles each.
    """

    start: float = 2908.0
    """Cycles before the first product more,"""
    gap: float = 1068.0
    """and of a step, that nothing overlaps."""
    issue_share: float = 0.51
    """Share of issue slots that a step's instructions reach."""


GATHERING = Gathering()


@dataclass(frozen=True)
class NmPlan:
    """(M, N, K), the pattern and side (0 left, 1 right) of the sparse operand, CTA and warp tile.

    `along`: the dense operand has k side by side.
    """

    sizes: tuple[int, int, int]
    pattern: Pattern
    which: int
    along: bool
    cta: Size2
    warp: Size2
    out_bytes: int = 2
    windows: Windows | None = None
    """What the dense operand, the right one, is windows of."""

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return warps_of(self.cta, self.warp)

    @property
    def step_hmmas(self) -> int:
        """HMMA.SPs of a CTA a step."""
        share = self.pattern.n / self.pattern.m
        return int(self.cta[0] * self.cta[1] * NM_BLOCK_K // HMMA_MACS * share)

    @property
    def value_bytes(self) -> int:
        """Bytes of a line's values in a step."""
        return 2 * NM_BLOCK_K * self.pattern.n // self.pattern.m

    @property
    def staged(self) -> tuple[float, float]:
        """Bytes a step of the sparse operand's values, and of the dense operand."""
        which = self.which
        return self.cta[which] * self.value_bytes, self.cta[1 - which] * 2.0 * NM_BLOCK_K


def occupancy(plan: NmPlan, chip: Chip) -> int:
    """CTAs that an SM holds at once; 0 if not even one."""
    registers = LANE_REGISTERS.get(plan.warp[0] * plan.warp[1], 256)
    if plan.windows is not None:
        # of 8 k a piece, a third of a step's pieces are on their way
        pieces = ceil_div(plan.cta[1] * NM_BLOCK_K, 32 * plan.warps * 8)
        lane = plan.warp[0] * plan.warp[1] // 32 + GATHER_REGISTERS + 8 * ceil_div(pieces, 3)
        if lane > 255:
            return 0
        registers = round_up(lane, 8)
    warps = chip.registers // (registers * 32)
    shared = round_up(int(2 * sum(plan.staged)), chip.shared_granularity)
    return min(warps // plan.warps, chip.shared_bytes // shared, chip.max_ctas)


def predict(
    plan: NmPlan, chip: Chip, f: Fitted = FITTED, gathering: Gathering = GATHERING
) -> Prediction:
    """Cycles of a launch, without the host's overhead; infinite where no CTA fits."""
    held = occupancy(plan, chip)
    if held < 1:
        return Prediction(float("inf"), {"registers": float("inf")})
    if plan.windows is not None:
        f = replace(f, start=f.start + gathering.start, gap=f.gap + gathering.gap)
    m, n, k = plan.sizes
    steps = ceil_div(k, NM_BLOCK_K)
    rows, columns = ceil_div(m, plan.cta[0]), ceil_div(n, plan.cta[1])
    times: dict[str, float] = {}
    ctas = rows * columns
    dealt = rounds(ctas, held, chip.sms, 0)
    chained = [(r, *_round(plan, chip, f, r, steps, times, gathering)) for r in dealt]
    total, end = chain_up(chained, f.overlap, f.sharpness, f.stagger)
    wave = min(ctas, held * chip.sms)
    down, across = at_once(rows, columns, wave)
    lines = [m, n]
    if 2 * k * min(m, n) > chip.l2_capacity / 2:  # L2 keeps no operand from wave to wave
        waves = ceil_div(ctas, wave)
        lines = [max(m, waves * down * plan.cta[0]), max(n, waves * across * plan.cta[1])]
    stored = plan.value_bytes + NM_INDEX_BYTES / NM_BLOCK_LINES
    loaded = steps * (lines[plan.which] * stored + lines[1 - plan.which] * 2 * NM_BLOCK_K)
    if plan.windows is not None:
        loaded = steps * m * stored + plan.windows.bytes
    result = m * n * plan.out_bytes
    written = max(0.0, result - L2_SHARE * chip.l2_capacity)
    times["dram"] = loaded / (chip.dram_bytes * f.dram_share) + written / chip.dram_bytes
    bound = f.start + chip.dram_latency + times["dram"] + end
    return Prediction(smooth_max(f.sharpness, total, bound), times)


def _round(
    plan: NmPlan,
    chip: Chip,
    f: Fitted,
    r: Round,
    steps: int,
    times: dict[str, float],
    gathering: Gathering,
) -> tuple[float, float]:
    """Cycles of a round of CTAs up to their stores, and of the stores; adds to `times`."""
    warps, (wm, wn) = plan.warps, plan.warp
    used = min(chip.sub_cores, warps * r.most)
    values, dense = plan.staged
    fragments = (wm // 16, wn // 16)
    read = fragments[plan.which] * 16 * plan.value_bytes
    read += fragments[1 - plan.which] * 16 * 2 * NM_BLOCK_K
    accesses = 2 * (values + dense) / 512 + warps * (read / 512 + wm * wn / 64 / 64)
    hmma = plan.step_hmmas * chip.hmma_sp_interval
    indices = NM_INDEX_BYTES * plan.cta[plan.which] / NM_BLOCK_LINES
    others, extra = OTHER_INSTRUCTIONS * warps, dict[str, float]()
    if plan.windows is not None:
        w, pixels = plan.windows, plan.cta[1]
        turns = NM_BLOCK_K // STEP_K
        accesses += turns * (pixels + w.wavefronts(pixels)) - dense / 512
        others += turns * w.instructions(pixels, warps)
        dense *= w.fresh(pixels)
        extra["alu"] = r.packed * turns * w.alu(pixels, warps) * chip.alu_interval / used
        extra["l1"] = r.packed * turns * pixels * GATHERED_SECTORS / chip.l1_sectors
    sectors = (values + dense + indices) / SECTOR
    if plan.windows is not None:
        under_way = chip.miss_sectors * IN_FLIGHT.in_flight
        extra["misses"] = r.packed * sectors * chip.dram_latency / under_way
    slots = 1.0 if plan.windows is None else gathering.issue_share
    issued = plan.step_hmmas + accesses + others
    busy = {
        **extra,
        "tensor": r.packed * hmma / used / f.tensor_share,
        "issue": r.packed * issued / used / slots,
        "load_store": r.packed * accesses * chip.lsu_interval / used,
        "shared_memory": r.packed * (values + dense + warps * read) / 128,
        "l2_to_sm": r.packed * sectors * SECTOR / chip.read_bytes,
    }
    l2 = r.count * sectors / (chip.l2_sectors * f.l2_share)
    own = ceil_div(warps, chip.sub_cores) * (hmma // warps)
    alone = max(own, chip.dram_latency) + f.gap
    pace = smooth_max(f.sharpness, alone, l2, *busy.values())
    start = f.start + chip.dram_latency + l2
    m, n, _ = plan.sizes
    tile = min(plan.cta[0], m) * min(plan.cta[1], n)
    stored = tile * plan.out_bytes / SECTOR
    end = smooth_max(
        f.sharpness,
        f.epilogue * r.packed * plan.cta[0] * plan.cta[1] / 32 / used,
        r.packed * stored * SECTOR / chip.write_bytes,
        stored * r.count / chip.l2_sectors,
    )
    named = {name: cycles * steps for name, cycles in busy.items()}
    named |= {"l2": l2 * steps, "latency": alone * steps, "start_and_end": start + end}
    for name, cycles in named.items():
        times[name] = times.get(name, 0.0) + cycles * r.times
    return start + pace * (steps - 1) + smooth_max(f.sharpness, own, busy["tensor"]), end
