"""select-schedule: each matrix product gets an engine, tiles and an orientation.

In: `dstc.matmul` with densities (annotate-sparsity), the machine. Out: its `#dstc.schedule`. The
rules are closed forms: tensor cycles from the quantisation of condensed vectors, and how many CTAs
keep every SM busy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import FloatAttr
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import ceil_div
from ..dialects.dstc import Engine, MatmulOp, ScheduleAttr
from ..runtime.machine import Machine
from .target_machine import DEFAULT_MACHINE, machine_of

AUTO = "auto"
Tiles = tuple[tuple[int, int], tuple[int, int], float]
"""(CTA tile, warp tile, share of the tensor peak that the kernel's main loop reaches)."""

DENSE_TILES: tuple[Tiles, ...] = (
    ((128, 128), (64, 32), 0.90),
    ((128, 64), (64, 32), 0.80),
    ((64, 128), (32, 64), 0.80),
    ((64, 64), (32, 32), 0.60),
    ((32, 64), (32, 32), 0.45),
    ((32, 32), (32, 32), 0.30),
)
DUAL_TILES: tuple[Tiles, ...] = (
    ((128, 128), (64, 64), 0.90),
    ((64, 128), (32, 64), 0.92),
    ((128, 64), (64, 32), 0.80),
    ((64, 64), (32, 32), 0.70),
    ((32, 64), (32, 32), 0.45),
    ((32, 32), (32, 32), 0.30),
)
DUAL_STAGES = {1: 8, 2: 6, 4: 4}
"""32x32 tiles of a warp -> stages: a short step needs more of them in flight to cover latency."""
DENSE_STAGES = 2


@cache
def expected_chunks(density: float, chunk: int, window: int = 32) -> float:
    """Mean of ceil(nonzeros / chunk) for a vector of `window` independent elements."""
    return sum(
        comb(window, n) * density**n * (1 - density) ** (window - n) * ceil_div(n, chunk)
        for n in range(window + 1)
    )


def ohmma_share(density_8: float, density_16: float) -> float:
    """Issued OHMMAs of a set over the 8 of a dense one, for random zeros (0 to 1)."""
    return expected_chunks(density_8, 8) * expected_chunks(density_16, 16) / 8


def _density(attr: FloatAttr | None) -> float:
    return 1.0 if attr is None else float(attr.value.data)


def _tiles(tiles: tuple[Tiles, ...], m: int, n: int, slots: int, most_warp: int) -> Tiles:
    """The tiles with the least rounds of CTAs times time of one."""

    def time(candidate: Tiles) -> float:
        (cm, cn), _, efficiency = candidate
        ctas = ceil_div(m, cm) * ceil_div(n, cn)
        return ceil_div(ctas, slots) * cm * cn / efficiency

    fitting = [t for t in tiles if t[1][0] * t[1][1] <= most_warp]
    return min(fitting, key=time)


@dataclass(frozen=True)
class SelectSchedule(ModulePass):
    """Choose engine, tiles and orientation of each matrix product."""

    name = "select-schedule"

    machine: str = DEFAULT_MACHINE
    engine: str = AUTO
    """auto, dense or dual."""

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        machine = machine_of(ctx, self.machine)
        if self.engine not in (AUTO, *Engine):
            raise DstcError(
                f"engine {self.engine!r} is not known; use {', '.join((AUTO, *Engine))}"
            )
        if self.engine == Engine.DUAL and "dual_side" not in machine.features:
            raise DstcError(
                f"machine {machine.name} has no dual-side tensor core; use --engine dense or "
                "--machine dstc"
            )
        PatternRewriteWalker(_Select(machine, self.engine), apply_recursively=False).rewrite_module(
            op
        )


class _Select(RewritePattern):
    def __init__(self, machine: Machine, engine: str):
        self.machine, self.engine = machine, engine
        self.sms = int(machine["sm.count"])

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        if op.schedule is None:
            op.schedule = self.choose(op)
            rewriter.notify_op_modified(op)

    def choose(self, op: MatmulOp) -> ScheduleAttr:
        """The schedule of one product."""
        m, n, _ = op.sizes
        a, b = _density(op.a_density), _density(op.b_density)
        straight, swapped = ohmma_share(a, b), ohmma_share(b, a)
        engine = self.engine
        if engine == AUTO:
            dual = "dual_side" in self.machine.features and min(straight, swapped) < 1
            engine = Engine.DUAL if dual else Engine.DENSE
        if engine == Engine.DENSE:
            cta, warp, _ = _tiles(DENSE_TILES, m, n, self.sms, 64 * 64)
            return ScheduleAttr.of(Engine.DENSE, cta, warp, DENSE_STAGES)
        most_warp = int(self.machine["accumulator.tiles"]) * 32 * 32
        cta, warp, _ = _tiles(DUAL_TILES, m, n, self.sms, most_warp)
        stages = DUAL_STAGES[warp[0] * warp[1] // (32 * 32)]
        return ScheduleAttr.of(Engine.DUAL, cta, warp, stages, swap=swapped < straight)
