"""What a scheduled product takes, on each engine, in closed form. Not a pass.

In: a `dstc.matmul` with its schedule, a machine; for the dual engine popcounts, else expected ones
from the densities. Out: predicted cycles and what limits them, in well under a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute

from ..backend.isa.errors import DstcError
from ..dialects.dstc import BitmapType, Engine, MatmulOp, NmType, ScheduleAttr
from ..runtime.nm_format import Pattern
from . import cost_dense, cost_dual, cost_nm
from .cost_chip import Chip, Prediction
from .cost_operands import Operands
from .device_tensor import DeviceTensor
from .plain_schedule import Schedule


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

    @staticmethod
    def of(op: MatmulOp, schedule: ScheduleAttr | Schedule | None = None) -> ScheduledProduct:
        """From the op, with another schedule if one is given; `DstcError` if there is none."""
        schedule = schedule or op.schedule
        if schedule is None:
            raise DstcError("dstc.matmul has no schedule; run select-schedule first")
        return ScheduledProduct(
            op.sizes,
            schedule if isinstance(schedule, Schedule) else Schedule.of(schedule),
            op.transposed,
            # a bitmap's values are f16
            2
            if isinstance(op.result.type, BitmapType)
            else DeviceTensor.of(op.result.type).element_bytes,
            op.densities,
            (_pattern(op.lhs.type, op.a_pattern), _pattern(op.rhs.type, op.b_pattern)),
        )

    @property
    def dense(self) -> tuple[cost_dense.Product, cost_dense.Tiling]:
        """What the dense engine's closed form takes."""
        s = self.schedule
        return (
            cost_dense.Product(self.sizes, self.transposed, self.out_bytes),
            cost_dense.Tiling(s.cta_tile, s.warp_tile, s.parts),
        )

    @property
    def dual(self) -> cost_dual.DualPlan:
        """What the dual-side engine's closed form takes beside the operands."""
        s = self.schedule
        return cost_dual.DualPlan(
            self.sizes, s.cta_tile, s.warp_tile, s.stages, s.swapped, self.out_bytes, s.vectors,
            s.parts, s.persistent, s.cut_tiles,
        )  # fmt: skip

    def in_turn(self, chip: Chip) -> ScheduledProduct:
        """With CTAs that take tiles in turn, where that pays; the dual engine's."""
        ctas, cut = cost_dual.turns(self.dual, self.densities, chip)
        if not (ctas or cut):
            return self
        return replace(self, schedule=replace(self.schedule, persistent=ctas, cut_tiles=cut))

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
            self.sizes, self.pattern, which, along, s.cta_tile, s.warp_tile, self.out_bytes
        )

    def operands(self, chip: Chip) -> Operands:
        """Popcounts as they are expected from the densities."""
        window = self.schedule.vectors
        return Operands.expected(self.sizes, self.densities, chip.empty_step, window)

    def predict(self, chip: Chip, operands: Operands | None = None) -> Prediction:
        """Cycles of the kernel, without the launch; `operands`: popcounts, if they are known."""
        engine = self.schedule.engine
        if engine == Engine.DENSE:
            return cost_dense.predict(*self.dense, chip)
        if engine == Engine.NM:
            return cost_nm.predict(self.nm, chip)
        return cost_dual.predict(self.dual, operands or self.operands(chip), chip)


def _pattern(type_: Attribute, stated: StringAttr | None) -> Pattern | None:
    """The pattern of an operand, by its type or as it was stated."""
    if isinstance(type_, NmType):
        return type_.pattern
    return None if stated is None else Pattern.parse(stated.data)
