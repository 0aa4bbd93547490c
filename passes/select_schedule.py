"""select-schedule: each matrix product gets an engine, tiles and an orientation.

In: `dstc.matmul` with densities (annotate-sparsity), the machine. Out: its `#dstc.schedule`: of all
candidates (`candidates.py`) the one predicted fastest (`cost.py`), or measured so with `tune`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..backend.isa.image_layout import WORD
from ..backend.isa.layout import BitmapLayout
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.dstc import (
    BitmapType,
    ConstantOp,
    Engine,
    Im2colOp,
    ImageType,
    MatmulOp,
    NmType,
    Side,
    matrix_shape,
    source_of,
)
from ..runtime.machine import Machine
from . import cost_streaming
from .candidates import AUTO, candidates, engines
from .choose import Candidate, Choice, Chooser, choose, chooser_of, tuned
from .choose_graph import Node, settle
from .cost import ScheduledProduct
from .cost_chip import Chip
from .cost_image import ENCODE_INSTRUCTIONS, encoded_bytes
from .cost_windows import Windows
from .encode_image import WARPS, Positions, encode_image_grid
from .fuse_encode import group_of, writes_encoded
from .known_counts import KnownCounts, constant_operand
from .nm_pattern import patterns_of, refusal
from .target_machine import DEFAULT_MACHINE, machine_of

_Known = dict[tuple[object, ...], Choice]
"""What was chosen for a product, its cycles of encoding, an engine, constants if zeros count."""


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
        nodes: dict[MatmulOp, Node] = {}
        for inner in op.walk():
            if isinstance(inner, MatmulOp) and inner.schedule is None:
                self._state_patterns(inner, machine, pool)
                nodes[inner] = self._node(inner, machine, chooser, known, pool, nodes)
        for product, choice in zip(nodes, settle([*nodes.values()]), strict=True):
            product.schedule = choice.best.schedule
            chooser.choices.append(choice)

    def _node(
        self,
        op: MatmulOp,
        machine: Machine,
        chooser: Chooser,
        known: _Known,
        pool: ConstantPool,
        nodes: Mapping[MatmulOp, Node],
    ) -> Node:
        """A product as part of the graph."""
        for side, value, turned in zip(
            (Side.A, Side.B), (op.lhs, op.rhs), op.transposed, strict=True
        ):
            before = value.owner
            if (
                isinstance(before, MatmulOp)
                and before in nodes
                and value.has_one_use()
                and not turned
                and (op.window is None or (side == Side.B and self._forms(op, machine)))
            ):
                choice = self._choice(op, machine, chooser, known, pool, given=value)
                form = partial(_encoded_as, op, value, side)
                launch, epilogue = self._operand_encoding(op, value, machine)
                write = _Written(before, form, epilogue, Chip.of(machine))
                return Node(choice, nodes[before], launch, write)
        return Node(self._choice(op, machine, chooser, known, pool))

    def _choice(
        self,
        op: MatmulOp,
        machine: Machine,
        chooser: Chooser,
        known: _Known,
        pool: ConstantPool,
        given: SSAValue | None = None,
    ) -> Choice:
        """The choice for one product alone; products alike are chosen for once.

        `given`: an operand whose encoding does not count.
        """
        any_schedule = next(candidates(op.total_sizes, machine, self.engine))
        product = ScheduledProduct.of(op, any_schedule)
        encoding = self._encoding(op, machine, given)
        engine = self.engine if op.matrices == 1 else Engine.DENSE
        for type_, takes in ((BitmapType, Engine.DUAL), (NmType, Engine.NM)):
            if engine == AUTO and any(isinstance(v.type, type_) for v in (op.lhs, op.rhs)):
                engine = takes
        if op.group_count > 1:
            engine = Engine.DENSE  # the only one whose kernel takes groups
        image = self._image_encoding(op, machine, given)
        dual = Engine.DUAL in engines(machine, engine) and op.matrices == op.group_count == 1
        counts = KnownCounts.of(op, pool) if dual else None
        names = [constant_operand(op, which, pool) for which in range(2)] if counts else []
        key = product, encoding, image, engine, op.matrices, *names
        if key not in known:
            known[key] = choose(
                product, machine, engine, encoding=encoding, image_encoding=image,
                counted=None if counts is None else counts.operands, whole=op.matrices > 1,
            )  # fmt: skip
            if self.tune and chooser.measure is not None:
                known[key] = tuned(known[key], machine, chooser.measure, self.tune)
        return replace(known[key], source=source_of(op))

    def _state_patterns(self, op: MatmulOp, machine: Machine, pool: ConstantPool) -> None:
        """State on the op what n:m patterns its operands have that the engine could take."""
        if Engine.NM not in engines(machine, self.engine) or op.matrices > 1:
            return
        patterns = patterns_of(op, pool)
        if self.engine == Engine.NM and not any(patterns):
            raise refusal(op, pool)
        op.a_pattern, op.b_pattern = (None if p is None else StringAttr(str(p)) for p in patterns)

    def _forms(self, op: MatmulOp, machine: Machine) -> bool:
        """Whether the dual-side kernel forms the windows of a product's image."""
        windows = Windows.of(op)
        return windows is not None and windows.encodable(machine, op.group_count)

    def _image_encoding(
        self, op: MatmulOp, machine: Machine, given: SSAValue | None
    ) -> float | None:
        """Cycles of encoding what the dual-side kernel takes that forms the windows of an image.

        None: it does not form them.
        """
        if not self._forms(op, machine):
            return None
        filters = self._matrix_encoding(op.lhs, machine)
        if op.rhs is given or not self._needs_kernel(op.rhs):
            return filters
        return filters + self._operand_encoding(op, op.rhs, machine)[0]

    def _operand_encoding(
        self, op: MatmulOp, value: SSAValue, machine: Machine
    ) -> tuple[float, float]:
        """Cycles of encoding an operand: by a kernel of its own, by the one that computes it."""
        chip, windows = Chip.of(machine), Windows.of(op)
        schedulers = chip.sms * chip.sub_cores
        if windows is None:
            words = math.prod(matrix_shape(value.type)) / WORD
            return self._matrix_encoding(value, machine), words * _ENCODED / schedulers
        layout = windows.encoded
        ctas, (read, written) = math.prod(encode_image_grid(layout)), encoded_bytes(layout)
        prediction = cost_streaming.predict(ctas, WARPS, ENCODE_INSTRUCTIONS, read, written, chip)
        epilogue = layout.words * _ENCODED / schedulers
        return _launch(machine) + prediction.cycles, epilogue

    def _encoding(self, op: MatmulOp, machine: Machine, given: SSAValue | None) -> float:
        """Cycles to launch an encoding kernel for each operand that needs one, and to read it.

        Windows of an image are encoded into a lowered matrix, which is written as well.
        """
        lhs, rhs = (
            0.0 if v is given else self._matrix_encoding(v, machine, turned=turned)
            for v, turned in zip((op.lhs, op.rhs), op.transposed, strict=True)
        )
        if op.window is None:
            return lhs + rhs
        _, n, k = op.sizes
        moved = 2 * math.prod(matrix_shape(op.rhs.type)) + BitmapLayout(n, k).values_offset
        moved += 2 * k * n * op.densities[1]
        return lhs + _launch(machine) + machine["dram.latency"] + moved / _bytes_a_cycle(machine)

    def _matrix_encoding(self, value: SSAValue, machine: Machine, *, turned: bool = False) -> float:
        """The same of one matrix; `turned`: of its transpose."""
        if not self._needs_kernel(value, turned=turned):
            return 0.0
        moved = 2 * math.prod(matrix_shape(value.type))
        return _launch(machine) + machine["dram.latency"] + moved / _bytes_a_cycle(machine)

    def _needs_kernel(self, value: SSAValue, *, turned: bool = False) -> bool:
        """The operand is neither encoded already, nor ahead of time, nor by what computes it."""
        if isinstance(value, BlockArgument) and self.encoded_inputs:
            return False
        if isinstance(value.type, BitmapType) or (group_of(value) is not None and not turned):
            return False
        return not isinstance(value.owner, ConstantOp | Im2colOp)


def _encoded_as(
    op: MatmulOp, value: SSAValue, side: Side, own: Candidate
) -> BitmapType | ImageType:
    """The form in which a candidate's kernel takes an operand of a product."""
    shape = matrix_shape(value.type)
    if op.window is not None:
        return ImageType.of(shape, op.window.window)
    return BitmapType.of(shape[0], shape[1], side, own.product.schedule.vectors)


@dataclass
class _Written:
    """Cycles by which a product's kernel takes longer to write what a candidate behind it takes.

    None if it does not write that. A dense one computes the positions of an image that are nobody's
    pixels, too.
    """

    before: MatmulOp
    form: Callable[[Candidate], BitmapType | ImageType]
    epilogue: float
    chip: Chip
    known: dict[tuple[int, int], float | None] = field(
        default_factory=dict[tuple[int, int], float | None]
    )

    def __call__(self, writer: Candidate, own: Candidate) -> float | None:
        key = id(writer.product), own.product.schedule.vectors
        if key not in self.known:
            self.known[key] = self._cycles(writer, self.form(own))
        return self.known[key]

    def _cycles(self, writer: Candidate, type_: BitmapType | ImageType) -> float | None:
        if not writes_encoded(self.before, type_, writer.schedule):
            return None
        if not isinstance(type_, ImageType) or writer.engine != Engine.DENSE:
            return self.epilogue
        m, _, k = writer.product.sizes
        larger = replace(writer.product, sizes=(m, Positions(type_.layout).count, k))
        return self.epilogue + larger.predict(self.chip).cycles - writer.prediction.cycles


_ENCODED = 20
"""Instructions of an epilogue for a word of 32 elements, beside those that store it dense."""


def _launch(machine: Machine) -> float:
    """Cycles of launching a kernel."""
    return machine["launch.overhead_us"] * machine["clock.core_mhz"]


def _bytes_a_cycle(machine: Machine) -> float:
    """Of DRAM."""
    rate = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e3
    return rate / machine["clock.core_mhz"]
