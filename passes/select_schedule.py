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
from . import cost_streaming
from .candidates import AUTO, candidates, engines
from .choose import Choice, Chooser, choose, chooser_of, tuned
from .cost import ScheduledProduct
from .cost_chip import Chip
from .cost_image import ENCODE_INSTRUCTIONS, encoded_bytes
from .cost_windows import Windows
from .encode_image import WARPS, encode_image_ctas
from .known_counts import KnownCounts
from .nm_pattern import patterns_of, refusal
from .target_machine import DEFAULT_MACHINE, machine_of

_Known = dict[tuple[object, ...], Choice]
"""What was chosen for a product, its cycles of encoding, an engine, the op if its zeros count."""


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
                choice = self._choice(inner, machine, chooser, known, pool)
                inner.schedule = choice.best.schedule
                chooser.choices.append(choice)

    def _choice(
        self,
        op: MatmulOp,
        machine: Machine,
        chooser: Chooser,
        known: _Known,
        pool: ConstantPool,
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
        image = self._image_encoding(op, machine)
        dual = Engine.DUAL in engines(machine, engine) and op.matrices == op.group_count == 1
        counts = KnownCounts.of(op, pool) if dual else None
        key = product, encoding, image, engine, op.matrices, op if counts else None
        if key not in known:
            choice = choose(
                product, machine, engine, encoding=encoding, image_encoding=image,
                counted=None if counts is None else counts.operands, whole=op.matrices > 1,
            )  # fmt: skip
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

    def _image_encoding(self, op: MatmulOp, machine: Machine) -> float | None:
        """Cycles to launch what encodes an image whose windows the dual-side kernel forms.

        None: it does not form them.
        """
        windows = Windows.of(op)
        if windows is None or not windows.encodable(machine, op.group_count):
            return None
        if isinstance(op.rhs, BlockArgument) and self.encoded_inputs:
            return self._matrix_encoding(op.lhs, machine)
        layout = windows.encoded
        ctas, (read, written) = encode_image_ctas(layout), encoded_bytes(layout)
        prediction = cost_streaming.predict(
            ctas, WARPS, ENCODE_INSTRUCTIONS, read, written, Chip.of(machine)
        )
        return _launch(machine) + prediction.cycles + self._matrix_encoding(op.lhs, machine)

    def _encoding(self, op: MatmulOp, machine: Machine) -> float:
        """Cycles to launch an encoding kernel for each operand that needs one, and to read it.

        Windows of an image are encoded into a lowered matrix, which is written as well.
        """
        total = self._matrix_encoding(op.lhs, machine)
        if op.window is None:
            return total + self._matrix_encoding(op.rhs, machine)
        _, n, k = op.sizes
        moved = 2 * math.prod(matrix_shape(op.rhs.type)) + BitmapLayout(n, k).values_offset
        moved += 2 * k * n * op.densities[1]
        return total + _launch(machine) + machine["dram.latency"] + moved / _bytes_a_cycle(machine)

    def _matrix_encoding(self, value: SSAValue, machine: Machine) -> float:
        """The same of one matrix."""
        if not self._needs_kernel(value):
            return 0.0
        moved = 2 * math.prod(matrix_shape(value.type))
        return _launch(machine) + machine["dram.latency"] + moved / _bytes_a_cycle(machine)

    def _needs_kernel(self, value: SSAValue) -> bool:
        """The operand is neither encoded already, nor ahead of time, nor by its im2col."""
        if isinstance(value, BlockArgument) and self.encoded_inputs:
            return False
        return not (
            isinstance(value.type, BitmapType) or isinstance(value.owner, ConstantOp | Im2colOp)
        )


def _launch(machine: Machine) -> float:
    """Cycles of launching a kernel."""
    return machine["launch.overhead_us"] * machine["clock.core_mhz"]


def _bytes_a_cycle(machine: Machine) -> float:
    """Of DRAM."""
    rate = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e3
    return rate / machine["clock.core_mhz"]
