"""select-schedule: each matrix product gets an engine, tiles and an orientation.

In: `dstc.matmul` with densities (annotate-sparsity), the machine. Out: its `#dstc.schedule`: of all
candidates (`candidates.py`) the one predicted fastest (`cost.py`), or measured so with `tune`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import BitmapLayout
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.dstc import (
    BitmapType,
    ConstantOp,
    Engine,
    Im2colOp,
    MatmulOp,
    NmType,
    matrix_shape,
    source_of,
)
from ..runtime.machine import Machine
from .candidates import AUTO, candidates, engines
from .choose import Choice, Chooser, choose, chooser_of, tuned
from .cost import ScheduledProduct
from .nm_pattern import patterns_of, refusal
from .target_machine import DEFAULT_MACHINE, machine_of

_Known = dict[tuple[ScheduledProduct, float, str], Choice]
"""What was chosen for a product, its cycles of encoding and an engine."""


@dataclass(frozen=True)
class SelectSchedule(ModulePass):
    """Choose engine, tiles and orientation of each matrix product.

    With `tune` the best so many candidates are simulated, and the fastest is taken.
    """

    name = "select-schedule"

    machine: str = DEFAULT_MACHINE
    engine: str = AUTO
    """auto, or the engine that all products take."""
    encoded_inputs: bool = False
    """Arguments of @main arrive encoded (encode-inputs): encoding them costs nothing."""
    tune: int = 0

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        machine, chooser, pool = machine_of(ctx, self.machine), chooser_of(ctx), constants_of(ctx)
        engines(machine, self.engine)
        if self.tune < 0:
            raise DstcError(f"tune must be a number of candidates, not {self.tune}")
        if self.tune and chooser.measure is None:
            raise DstcError("tune needs the simulator; use `dstc compile --tune` or `dstc run`")
        known: _Known = {}
        for inner in op.walk():
            if isinstance(inner, MatmulOp) and inner.schedule is None:
                self._state_patterns(inner, machine, pool)
                choice = self._choice(inner, machine, chooser, known)
                inner.schedule = choice.best.schedule
                chooser.choices.append(choice)

    def _choice(
        self,
        op: MatmulOp,
        machine: Machine,
        chooser: Chooser,
        known: _Known,
    ) -> Choice:
        """The choice for one product; products alike are chosen for once."""
        any_schedule = next(candidates(op.total_sizes, machine, self.engine))
        product, encoding = ScheduledProduct.of(op, any_schedule), self._encoding(op, machine)
        engine = self.engine if op.matrices == 1 else Engine.DENSE
        for type_, takes in ((BitmapType, Engine.DUAL), (NmType, Engine.NM)):
            if engine == AUTO and any(isinstance(v.type, type_) for v in (op.lhs, op.rhs)):
                engine = takes
        if op.group_count > 1:
            engine = Engine.DENSE  # the only one whose kernel takes groups
        key = product, encoding, f"{engine}/{op.matrices}"
        if key not in known:
            choice = choose(product, machine, engine, encoding=encoding, whole=op.matrices > 1)
            if self.tune and chooser.measure is not None:
                choice = tuned(choice, machine, chooser.measure, self.tune)
            known[key] = choice
        return replace(known[key], source=source_of(op))

    def _state_patterns(self, op: MatmulOp, machine: Machine, pool: ConstantPool) -> None:
        """State on the op what n:m patterns its operands have that the engine could take."""
        if Engine.NM not in engines(machine, self.engine) or op.matrices > 1:
            return
        patterns = patterns_of(op, pool)
        if self.engine == Engine.NM and not any(patterns):
            raise refusal(op, pool)
        op.a_pattern, op.b_pattern = (None if p is None else StringAttr(str(p)) for p in patterns)

    def _encoding(self, op: MatmulOp, machine: Machine) -> float:
        """Cycles to launch an encoding kernel for each operand that needs one, and to read it.

        Windows of an image are encoded into a lowered matrix, which is written as well.
        """
        launch = machine["launch.overhead_us"] * machine["clock.core_mhz"]
        a_cycle = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e3
        a_cycle /= machine["clock.core_mhz"]
        total = 0.0
        for value in (op.lhs, op.rhs):
            if op.window is not None and value is op.rhs:
                _, n, k = op.sizes
                layout = BitmapLayout(n, k)
                total += launch + machine["dram.latency"]
                moved = 2 * math.prod(matrix_shape(value.type)) + layout.values_offset
                total += (moved + 2 * k * n * op.densities[1]) / a_cycle
            elif self._needs_kernel(value):
                rows, columns = matrix_shape(value.type)
                total += launch + machine["dram.latency"] + 2 * rows * columns / a_cycle
        return total

    def _needs_kernel(self, value: SSAValue) -> bool:
        """The operand is neither encoded already, nor ahead of time, nor by its im2col."""
        if isinstance(value, BlockArgument) and self.encoded_inputs:
            return False
        return not (
            isinstance(value.type, BitmapType) or isinstance(value.owner, ConstantOp | Im2colOp)
        )
