"""What a scheduled product takes, on each engine, in closed form. Not a pass.

In: a `dstc.matmul` with its schedule, a machine; for the dual engine popcounts, else expected ones
from the densities. Out: predicted cycles and what limits them, in well under a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute

from ..backend.isa.errors import DstcError
from ..dialects.dstc import BitmapType, Engine, MatmulOp, NmType, ScheduleAttr, matrix_shape
from ..runtime.nm_format import Pattern
from . import cost_dense, cost_dual, cost_nm, cost_streaming
from .cost_chip import Chip, Prediction
from .cost_operands import Operands
from .cost_windows import Windows, direct
from .device_tensor import DeviceTensor


@dataclass(frozen=True)
class ScheduledProduct:
    """(M, N, K), how it runs, and what is known of its operands: forms and densities (0 to 1)."""

    sizes: tuple[int, int, int]
    schedule: ScheduleAttr
    transposed: tuple[bool, bool] = (False, False)
    out_bytes: int = 4
    densities: tuple[float, float] = (1.0, 1.0)
    patterns: tuple[Pattern | None, Pattern | None] = (None, None)
    """n:m patterns of the operands, where they have one."""
    windows: Windows | None = None
    """What the right operand is windows of, where that is an image."""
    groups: int = 1

    @staticmethod
    def of(op: MatmulOp, schedule: ScheduleAttr | None = None) -> ScheduledProduct:
        """From the op, with another schedule if one is given; `DstcError` if there is none."""
        schedule = schedule or op.schedule
        if schedule is None:
            raise DstcError("dstc.matmul has no schedule; run select-schedule first")
        return ScheduledProduct(
            op.total_sizes,
            schedule,
            op.transposed,
            # a bitmap's values are f16
            2
            if isinstance(op.result.type, BitmapType)
            else DeviceTensor.of(op.result.type).element_bytes,
            op.densities,
            (_pattern(op.lhs.type, op.a_pattern), _pattern(op.rhs.type, op.b_pattern)),
            _windows(op),
            op.group_count,
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
        stages = int(s.stages.value.data)
        return cost_dual.DualPlan(
            self.sizes, s.cta_tile, s.warp_tile, stages, s.swapped, self.out_bytes, s.vectors,
            s.parts,
        )  # fmt: skip

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
        return Operands.expected(self.sizes, self.densities, chip.empty_step, window)

    def predict(self, chip: Chip, operands: Operands | None = None) -> Prediction:
        """Cycles of the kernel, without the launch; `operands`: popcounts, if they are known."""
        engine = self.schedule.engine.data
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
        return cost_dual.predict(self.dual, operands or self.operands(chip), chip)


def _windows(op: MatmulOp) -> Windows | None:
    """The image of a product on windows: of a group's channels."""
    if op.window is None:
        return None
    n, c, h, w = matrix_shape(op.rhs.type)
    return Windows(n, c // op.group_count, (h, w), op.window.window)


def _pattern(type_: Attribute, stated: StringAttr | None) -> Pattern | None:
    """The pattern of an operand, by its type or as it was stated."""
    if isinstance(type_, NmType):
        return type_.pattern
    return None if stated is None else Pattern.parse(stated.data)
