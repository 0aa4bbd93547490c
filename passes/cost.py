"""What a scheduled product takes, on either engine, in closed form. Not a pass.

In: a `dstc.matmul` with its schedule, a machine; for the dual engine popcounts, else expected ones
from the densities. Out: predicted cycles and what limits them, in well under a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import FloatAttr

from ..backend.isa.errors import DstcError
from ..dialects.dstc import BitmapType, Engine, MatmulOp, ScheduleAttr
from . import cost_dual, estimate_dense
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

    @staticmethod
    def of(op: MatmulOp) -> ScheduledProduct:
        """From the op; raises `DstcError` if it has no schedule."""
        if op.schedule is None:
            raise DstcError("dstc.matmul has no schedule; run select-schedule first")
        return ScheduledProduct(
            op.sizes,
            op.schedule,
            op.transposed,
            # a bitmap's values are f16
            2
            if isinstance(op.result.type, BitmapType)
            else DeviceTensor.of(op.result.type).element_bytes,
            (_density(op.a_density), _density(op.b_density)),
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

    def predict(self, chip: Chip, operands: Operands | None = None) -> Prediction:
        """Cycles of the kernel, without the launch; `operands`: popcounts, if they are known."""
        engine = self.schedule.engine.data
        if engine == Engine.DENSE:
            return estimate_dense.predict(*self.dense, chip)
        if engine != Engine.DUAL:
            raise DstcError(f"there is no closed form for the {engine} engine; simulate it")
        if operands is None:
            operands = Operands.expected(self.sizes, self.densities, chip.empty_step)
        return cost_dual.predict(self.dual, operands, chip)


def _density(attr: FloatAttr | None) -> float:
    return 1.0 if attr is None else float(attr.value.data)
