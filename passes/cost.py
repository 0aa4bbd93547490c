"""What a scheduled product takes, on each engine, in closed form. Not a pass.

In: a `dstc.matmul` with its schedule, a machine; for the dual engine popcounts, else expected ones
from the densities. Out: predicted cycles and what limits them, in well under a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import ceil_div
from ..backend.isa.table import TILE_K, TILE_M
from ..dialects.dstc import (
    OCCUPIED_VECTORS,
    BitmapType,
    Engine,
    ImageType,
    MatmulOp,
    NmType,
    ScheduleAttr,
)
from ..runtime.nm_format import Pattern
from . import cost_dense, cost_dual, cost_nm, cost_streaming
from .cost_chip import Chip, Prediction
from .cost_image import ImageSide
from .cost_operands import Operands
from .cost_windows import Windows, direct
from .device_tensor import DeviceTensor
from .matmul_dual_skip import list_bytes
from .plain_schedule import Schedule

_MOST_TAKEN = 0.8
"""Share of steps that are taken, beyond which leaving out the others is not considered."""
_LEAST_STEPS = 32
"""Fewer steps are not listed: the list takes as long as they do."""
_WORD_CYCLES = 700
"""Cycles to list the steps of a word of the warp-bitmap: 32."""


@dataclass(frozen=True)
class ScheduledProduct:
    """(M, N, K), how it runs, and what is known of its operands: forms and densities (0 to 1)."""

    sizes: tuple[int, int, int]
    schedule: Schedule
    transposed: tuple[bool, bool] = (False, False)
    out_bytes: int = 4
    densities: tuple[float, float] = (1.0, 1.0)
    patterns: tuple[Pattern | None, Pattern | None] = (None, None)
    """n:m patterns of the operands, where they have one."""
    occupied: tuple[tuple[float, ...] | None, tuple[float, ...] | None] = (None, None)
    """Shares of steps at which operands are not empty, as of `dstc.matmul`."""
    windows: Windows | None = None
    """What the right operand is windows of, where that is an image."""
    groups: int = 1
    formed: bool = False
    """The dual-side kernel forms the windows of an encoded image."""

    @staticmethod
    def of(op: MatmulOp, schedule: ScheduleAttr | Schedule | None = None) -> ScheduledProduct:
        """From the op, with another schedule if one is given; `DstcError` if there is none."""
        schedule = schedule or op.schedule
        if schedule is None:
            raise DstcError("dstc.matmul has no schedule; run select-schedule first")
        return ScheduledProduct(
            op.total_sizes,
            schedule if isinstance(schedule, Schedule) else Schedule.of(schedule),
            op.transposed,
            # values of what is encoded are f16
            2
            if isinstance(op.result.type, BitmapType | ImageType)
            else DeviceTensor.of(op.result.type).element_bytes,
            op.densities,
            (_pattern(op.lhs.type, op.a_pattern), _pattern(op.rhs.type, op.b_pattern)),
            op.occupied,
            Windows.of(op),
            op.group_count,
            isinstance(op.rhs.type, ImageType),
        )

    @property
    def dense(self) -> tuple[cost_dense.Product, cost_dense.Tiling]:
        """What the dense engine's closed form takes."""
        s = self.schedule
        return (
            cost_dense.Product(
                self.sizes, self.transposed, self.out_bytes, self.windows, self.groups
            ),
            cost_dense.Tiling(s.cta_tile, s.warp_tile, s.parts),
        )

    @property
    def dual(self) -> cost_dual.DualPlan:
        """What the dual-side engine's closed form takes beside the operands."""
        s = self.schedule
        image = None
        if self.formed and self.windows is not None:
            image = ImageSide(
                self.windows.encoded, self.densities[1], s.cta_tile[1], s.warp_tile[1] // TILE_M,
                s.cta_tile[0] // s.warp_tile[0],
            )  # fmt: skip
        return cost_dual.DualPlan(
            self.computed, s.cta_tile, s.warp_tile, s.stages, s.swapped, self.out_bytes, s.vectors,
            s.parts, s.persistent, s.cut_tiles, ceil_div(self.sizes[2], TILE_K) if s.skips else 0,
            image,
        )  # fmt: skip

    @property
    def computed(self) -> tuple[int, int, int]:
        """Sizes of what is computed: of an encoded image, pixels beyond its rows' ends too."""
        m, n, k = self.sizes
        return m, self.windows.encoded.computed if self.formed and self.windows else n, k

    def in_turn(self, chip: Chip) -> ScheduledProduct:
        """With CTAs that take tiles in turn, where that pays; the dual engine's."""
        ctas, cut = cost_dual.turns(self.dual, self.densities, chip)
        if not (ctas or cut):
            return self
        return replace(self, schedule=replace(self.schedule, persistent=ctas, cut_tiles=cut))

    def skipping(self, chip: Chip) -> ScheduledProduct | None:
        """With steps left out that are empty on a side, where there are some; the dual engine's."""
        s, k_tiles = self.schedule, ceil_div(self.sizes[2], TILE_K)
        fits = s.warps * list_bytes(k_tiles) <= chip.shared_bytes // 2
        if s.parts > 1 or not fits or k_tiles < _LEAST_STEPS or self.taken > _MOST_TAKEN:
            return None
        return replace(self, schedule=replace(s, skips=True))

    @property
    def tiles(self) -> tuple[float, float]:
        """Shares of the operands' 32x16 tiles that are not all zero; 1 where that is not known."""
        a, b = (1.0 if shares is None else shares[0] for shares in self.occupied)
        return a, b

    @property
    def warp_occupied(self) -> tuple[float, float]:
        """Shares of steps at which a warp's rows of A, and its columns of B, are not all zero."""
        found = [1.0, 1.0]
        for i, (shares, extent) in enumerate(
            zip(self.occupied, self.schedule.warp_tile, strict=True)
        ):
            if shares is not None:
                known = max(j for j, vectors in enumerate(OCCUPIED_VECTORS) if vectors <= extent)
                found[i] = 1 - (1 - shares[known]) ** (extent // OCCUPIED_VECTORS[known])
        return found[0], found[1]

    @property
    def taken(self) -> float:
        """Share of a warp's steps at which neither side is empty."""
        a, b = self.warp_occupied
        return a * b

    def _dual(self, chip: Chip, operands: Operands | None) -> Prediction:
        """The dual engine's; steps that are empty on a side take loads, or (skipped) nothing."""
        plan, taken = self.dual, self.taken
        few = ceil_div(self.sizes[2], TILE_K) < _LEAST_STEPS
        if taken == 1 or few or (operands is not None and not self.schedule.skips):
            return cost_dual.predict(plan, operands or self.operands(chip), chip)
        m, n, k = self.computed
        window = self.schedule.vectors
        inside = [
            min(1.0, density / max(share, 1e-9))
            for density, share in zip(self.densities, self.warp_occupied, strict=True)
        ]

        def of(depth: float, densities: tuple[float, float]) -> Prediction:
            sizes = m, n, max(TILE_K, round(depth))
            expected = Operands.expected(sizes, densities, chip.empty_step, window)
            return cost_dual.predict(replace(plan, sizes=sizes), expected, chip)

        full = of(k * taken, (inside[0], inside[1]))
        if self.schedule.skips:
            empty = _WORD_CYCLES * ceil_div(k, TILE_K) / 32
        else:
            # what the side that is not empty has is loaded
            a, b = (
                density * (share - taken) / (1 - taken)
                for density, share in zip(inside, self.warp_occupied, strict=True)
            )
            empty = of(k * (1 - taken), (a, b)).cycles - of(TILE_K, (a, b)).cycles
        return Prediction(full.cycles + max(0.0, empty), full.parts)

    @property
    def pattern(self) -> Pattern | None:
        """Of the operand that the n:m engine takes sparse with this schedule."""
        return self.patterns[self.schedule.swapped]

    @property
    def nm(self) -> cost_nm.NmPlan:
        """What the n:m engine's closed form takes; `DstcError` without a pattern."""
        s, which = self.schedule, int(self.schedule.swapped)
        if self.pattern is None:
            raise DstcError("a product on the nm engine needs the pattern of its sparse operand")
        along = not self.transposed[0] if which else self.transposed[1]
        return cost_nm.NmPlan(
            self.sizes,
            self.pattern,
            which,
            along,
            s.cta_tile,
            s.warp_tile,
            self.out_bytes,
            self.windows,
        )

    def operands(self, chip: Chip) -> Operands:
        """Popcounts as they are expected from the densities."""
        window = self.schedule.vectors
        return Operands.expected(self.computed, self.densities, chip.empty_step, window)

    def predict(self, chip: Chip, operands: Operands | None = None) -> Prediction:
        """Cycles of the kernel, without the launch; `operands`: popcounts, if they are known."""
        engine = self.schedule.engine
        if engine == Engine.DENSE and self.windows is not None:
            m, n, k = self.sizes
            if direct(m, k, self.windows.window.taps, self.groups):
                ctas = self.windows.direct_ctas(n, self.groups)
                return cost_streaming.predict(
                    ctas, 4, self.windows.direct_instructions(m),
                    self.groups * (self.windows.bytes + 2 * m * k),
                    self.groups * m * n * self.out_bytes, chip,
                )  # fmt: skip
        if engine == Engine.DENSE:
            return cost_dense.predict(*self.dense, chip)
        if engine == Engine.NM:
            return cost_nm.predict(self.nm, chip)
        return self._dual(chip, operands)


def _pattern(type_: Attribute, stated: StringAttr | None) -> Pattern | None:
    """The pattern of an operand, by its type or as it was stated."""
    if isinstance(type_, NmType):
        return type_.pattern
    return None if stated is None else Pattern.parse(stated.data)
