"""What a scheduled product takes, on each engine, in closed form. Not a pass.

In: a `dstc.matmul` with its schedule, a machine; for the dual engine popcounts, else expected ones
from the densities. Out: predicted cycles and what limits them, in well under a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import FloatAttr

from ..backend.isa.errors import DstcError
from ..dialects.dstc import Engine, MatmulOp, NmType, ScheduleAttr
from ..runtime.nm_format import Pattern
from . import cost_dual, cost_nm, estimate_dense
from .cost_chip import Chip, Prediction
from .cost_operands import Operands
from .device_tensor import DeviceTensor


@dataclass(frozen=True)
class ScheduledProduct:
    """(M, N, K), how it runs, and what is known of its operands: forms and densities (0 to 1)."""

    sizes: tuple[int, int, int]
    schedule: ScheduleAttr
    transposed: tuple[bool, bool] = (False, False)
    out_bytes: int = 4
    densities: tuple[float, float] = (1.0, 1.0)
    pattern: Pattern | None = None
    """Of the operand that the n:m engine takes sparse."""

    @staticmethod
    def of(op: MatmulOp) -> ScheduledProduct:
        """From the op; raises `DstcError` if it has no schedule."""
        if op.schedule is None:
            raise DstcError("dstc.matmul has no schedule; run select-schedule first")
        return ScheduledProduct(
            op.sizes,
            op.schedule,
            op.transposed,
            DeviceTensor.of(op.result.type).element_bytes,
            (_density(op.a_density), _density(op.b_density)),
            _pattern(op, op.schedule.swapped) if op.schedule.engine.data == Engine.NM else None,
        )

    @property
    def dense(self) -> tuple[estimate_dense.Product, estimate_dense.Tiling]:
        """What the dense engine's closed form takes."""
        s = self.schedule
        return (
            estimate_dense.Product(self.sizes, self.transposed, self.out_bytes),
            estimate_dense.Tiling(s.cta_tile, s.warp_tile, s.parts),
        )

    @property
    def dual(self) -> cost_dual.DualPlan:
        """What the dual-side engine's closed form takes beside the operands."""
        s = self.schedule
        stages = int(s.stages.value.data)
        return cost_dual.DualPlan(
            self.sizes, s.cta_tile, s.warp_tile, stages, s.swapped, self.out_bytes
        )

    @property
    def nm(self) -> cost_nm.NmPlan:
        """What the n:m engine's closed form takes; `DstcError` without a pattern."""
        s, which = self.schedule, 1 if self.schedule.swapped else 0
        if self.pattern is None:
            raise DstcError("a product on the nm engine needs the pattern of its sparse operand")
        along = not self.transposed[0] if which else self.transposed[1]
        return cost_nm.NmPlan(
            self.sizes, self.pattern, which, along, s.cta_tile, s.warp_tile, self.out_bytes
        )

    def predict(self, chip: Chip, operands: Operands | None = None) -> Prediction:
        """Cycles of the kernel, without the launch; `operands`: popcounts, if they are known."""
        engine = self.schedule.engine.data
        if engine == Engine.DENSE:
            return estimate_dense.predict(*self.dense, chip)
        if engine == Engine.NM:
            return cost_nm.predict(self.nm, chip)
        if operands is None:
            operands = Operands.expected(self.sizes, self.densities, chip.empty_step)
        return cost_dual.predict(self.dual, operands, chip)


def _pattern(op: MatmulOp, right: bool) -> Pattern | None:
    """The pattern of an operand, by its type or as it was stated."""
    type_, stated = (op.rhs.type, op.b_pattern) if right else (op.lhs.type, op.a_pattern)
    if isinstance(type_, NmType):
        return type_.pattern
    return None if stated is None else Pattern.parse(stated.data)


def _density(attr: FloatAttr | None) -> float:
    return 1.0 if attr is None else float(attr.value.data)
