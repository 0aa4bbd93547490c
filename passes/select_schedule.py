"""select-schedule: each matrix product gets an engine, tiles and an orientation.

In: `dstc.matmul` with densities (annotate-sparsity), the machine. Out: its `#dstc.schedule`. The
rules are closed forms: `cost_dense` for the dense engine, tensor cycles from the quantisation of
condensed vectors for the other, and how many CTAs keep every SM busy.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import FloatAttr, StringAttr
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import SPLIT_STEP, ceil_div
from ..backend.isa.table import DUAL_SIDE, HMMA_MACS, NM
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.dstc import (
    ENGINE_FEATURES,
    BitmapType,
    ConstantOp,
    Engine,
    Im2colOp,
    MatmulOp,
    ScheduleAttr,
)
from ..runtime.machine import MACHINE_OF, Machine
from . import cost_chip, estimate_dense
from .cost_dense import Chip, Prediction, Product, Tiling, predict
from .cost_operands import expected_chunks
from .device_tensor import DeviceTensor
from .nm_pattern import patterns_of, refusal
from .schedule_nm import fastest_nm
from .target_machine import DEFAULT_MACHINE, machine_of

AUTO = "auto"
Tiles = tuple[tuple[int, int], tuple[int, int], float]
"""(CTA tile, warp tile, weight: how near the kernel comes to the tensor peak with these tiles).

Properties of our kernels, not of a machine; what is the machine's comes from its file. Only ratios
of weights within a table matter. They are rounded by hand, after runs of whole products and of one
CTA alone on an SM, which `benchmarks/tile_efficiency.py` repeats: it prints what the main loops
reach beside what stands here. Weights of small tiles are higher than that, since several of their
CTAs share an SM; those of the dual engine lie between dense operands and sparse ones.
"""

_UNITS = {DUAL_SIDE: "dual-side tensor core", NM: "weight-only n:m tensor core"}
"""What a machine lacks without a feature."""
DENSE_TILES: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (
    ((128, 128), (64, 64)),
    ((128, 64), (64, 32)),
    ((64, 128), (32, 64)),
    ((64, 64), (32, 32)),
    ((64, 128), (32, 32)),
    ((128, 32), (32, 32)),
    ((32, 128), (32, 32)),
    ((32, 64), (32, 32)),
    ((32, 64), (16, 32)),
    ((64, 32), (32, 16)),
    ((32, 32), (16, 16)),
    ((16, 128), (16, 32)),
    ((16, 64), (16, 32)),
    ((128, 16), (32, 16)),
    ((64, 16), (32, 16)),
)
"""(CTA tile, warp tile) of the dense engine; `cost_dense` says what a product takes with them."""
SPLITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
"""Parts of K to consider."""
MOST_SCRATCH = 1 << 25
"""Bytes of partial results that a split product may take on the device."""
DUAL_TILES: tuple[Tiles, ...] = (
    ((128, 128), (64, 64), 0.95),
    ((64, 128), (32, 64), 0.80),
    ((128, 64), (64, 32), 0.80),
    ((64, 64), (32, 32), 0.72),
    ((32, 64), (32, 32), 0.60),
    ((32, 32), (32, 32), 0.45),
)
DUAL_STAGES = {1: 8, 2: 6, 4: 4}
"""32x32 tiles of a warp -> stages: a short step needs more of them in flight to cover latency.

Ours as well: the fastest on whole products at densities 1, 0.5 and 0.1; more would not fit into the
255 registers of a lane, or gained nothing.
"""
DENSE_STAGES = 2
"""Buffers in shared memory: one is filled while the other is read."""


def ohmma_share(density_8: float, density_16: float) -> float:
    """Issued OHMMAs of a set over the 8 of a dense one, for random zeros (0 to 1)."""
    return expected_chunks(density_8, 8) * expected_chunks(density_16, 16) / 8


def _density(attr: FloatAttr | None) -> float:
    return 1.0 if attr is None else float(attr.value.data)


def _cycles(candidate: Tiles, sizes: tuple[int, int, int], slots: int, peak: float) -> float:
    """Rounds of CTAs times the time of one; `peak` in multiply-adds a cycle and SM."""
    m, n, k = sizes
    (cm, cn), _, efficiency = candidate
    ctas = ceil_div(m, cm) * ceil_div(n, cn)
    return ceil_div(ctas, slots) * cm * cn * k / (peak * efficiency)


def fastest_dense(product: Product, chip: Chip) -> tuple[ScheduleAttr, Prediction]:
    """Tiles and split with the fewest predicted cycles; of equals the larger tiles, fewer parts."""
    m, n, k = product.sizes
    found: tuple[float, Prediction, Tiling] | None = None
    for cta, warp in DENSE_TILES:
        tiles = ceil_div(m, cta[0]) * ceil_div(n, cta[1])
        for split in SPLITS:
            scratch = tiles * split * cta[0] * cta[1] * 4
            if split > 1 and (split > ceil_div(k, SPLIT_STEP) or scratch > MOST_SCRATCH):
                break
            tiling = Tiling(cta, warp, split)
            prediction = predict(product, tiling, chip)
            if found is None or prediction.cycles < found[0]:
                found = prediction.cycles, prediction, tiling
    assert found is not None
    _, prediction, tiling = found
    schedule = ScheduleAttr.of(
        Engine.DENSE, tiling.cta, tiling.warp, DENSE_STAGES, split=tiling.split
    )
    return schedule, prediction


@dataclass(frozen=True)
class SelectSchedule(ModulePass):
    """Choose engine, tiles and orientation of each matrix product."""

    name = "select-schedule"

    machine: str = DEFAULT_MACHINE
    engine: str = AUTO
    """auto, dense, nm or dual."""
    encoded_inputs: bool = False
    """Arguments of @main arrive encoded (encode-inputs): encoding them costs nothing."""

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        machine = machine_of(ctx, self.machine)
        if self.engine not in (AUTO, *Engine):
            raise DstcError(
                f"engine {self.engine!r} is not known; use {', '.join((AUTO, *Engine))}"
            )
        feature = ENGINE_FEATURES.get(self.engine, "")
        if feature and feature not in machine.features:
            raise DstcError(
                f"machine {machine.name} has no {_UNITS[feature]}; use --engine dense or "
                f"--machine {MACHINE_OF[feature]}"
            )
        PatternRewriteWalker(
            _Select(machine, self.engine, self.encoded_inputs, constants_of(ctx)),
            apply_recursively=False,
        ).rewrite_module(op)


class _Select(RewritePattern):
    def __init__(self, machine: Machine, engine: str, encoded_inputs: bool, pool: ConstantPool):
        self.machine, self.engine, self.encoded_inputs = machine, engine, encoded_inputs
        self.pool = pool
        self.sms = int(machine["sm.count"])
        self.chip = Chip.of(machine)

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        if op.schedule is None:
            op.schedule = self.choose(op)
            rewriter.notify_op_modified(op)

    def choose(self, op: MatmulOp) -> ScheduleAttr:
        """The schedule of one product."""
        a, b = _density(op.a_density), _density(op.b_density)
        straight, swapped = ohmma_share(a, b), ohmma_share(b, a)
        sparse = self.best_sparse(op) if self.engine in (AUTO, Engine.NM) else None
        if self.engine == Engine.NM and sparse is None:
            raise refusal(op, self.pool)
        if self.engine == Engine.NM and sparse is not None:
            return sparse[0]
        dense, predicted = self.best_dense(op)
        others = predicted.cycles
        if sparse is not None and sparse[1].cycles < others:
            dense, others = sparse[0], sparse[1].cycles
        if self.engine == Engine.DENSE or DUAL_SIDE not in self.machine.features:
            return dense
        most_warp = int(self.machine["accumulator.tiles"]) * 32 * 32
        dual, dual_cycles = self.best(op, DUAL_TILES, most_warp)
        share = min(straight, swapped)
        dual_total = dual_cycles * share + predicted.parts["start_and_end"]
        if self.engine == AUTO and (share >= 1 or dual_total + self.encoding_cycles(op) >= others):
            return dense
        (wm, wn) = dual[1]
        stages = DUAL_STAGES[wm * wn // (32 * 32)]
        return ScheduleAttr.of(Engine.DUAL, *dual[:2], stages, swap=swapped < straight)

    def best_sparse(self, op: MatmulOp) -> tuple[ScheduleAttr, Prediction] | None:
        """The n:m schedule that is predicted to take the fewest cycles, if there is one.

        States the patterns of constants on the op.
        """
        if NM not in self.machine.features:
            return None
        patterns = patterns_of(op, self.pool)
        stated = [None if p is None else StringAttr(str(p)) for p in patterns]
        op.a_pattern, op.b_pattern = stated
        out = DeviceTensor.of(op.result.type).element_bytes
        product = estimate_dense.Product(op.sizes, op.transposed, out)
        return fastest_nm(product, patterns, cost_chip.Chip.of(self.machine))

    def best_dense(self, op: MatmulOp) -> tuple[ScheduleAttr, Prediction]:
        """The dense schedule that is predicted to take the fewest cycles."""
        out = DeviceTensor.of(op.result.type).element_bytes
        product = Product(op.sizes, op.transposed, out)
        return fastest_dense(product, self.chip)

    def best(self, op: MatmulOp, tiles: tuple[Tiles, ...], most_warp: int) -> tuple[Tiles, float]:
        """The tiles that take the fewest cycles, and these, if nothing is skipped."""
        peak = int(self.machine["sm.sub_cores"]) * HMMA_MACS / int(self.machine["hmma.interval"])
        times = [
            (_cycles(t, op.sizes, self.sms, peak), t)
            for t in tiles
            if t[1][0] * t[1][1] <= most_warp
        ]
        cycles, chosen = min(times, key=lambda pair: pair[0])
        return chosen, cycles

    def encoding_cycles(self, op: MatmulOp) -> float:
        """What launching an encoding kernel costs for each operand that needs one."""
        launch = float(self.machine["launch.overhead_us"]) * float(self.machine["clock.core_mhz"])
        return launch * sum(self.needs_kernel(v) for v in (op.lhs, op.rhs))

    def needs_kernel(self, value: SSAValue) -> bool:
        """The operand is neither encoded already, nor ahead of time, nor by its im2col."""
        if isinstance(value, BlockArgument) and self.encoded_inputs:
            return False
        return not (
            isinstance(value.type, BitmapType) or isinstance(value.owner, ConstantOp | Im2colOp)
        )
