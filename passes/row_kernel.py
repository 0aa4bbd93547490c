"""Kernels of row-wise ops: softmax, normalisation, sums, and what is fused around. Not a pass.

In: the group's root value, its row-wise op, its inputs. Out: a `dstc_tile.kernel`. A warp or a lane
takes a row (`RowPlan`); of rows that fit, the elements stay in registers from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import Operation, SSAValue

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from ..dialects.checks import shape_of
from ..dialects.rows import NEUTRAL, WARP, Map, Reduce, RowOp, Step, combine
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .map_kernel import WARPS, address_of, store_elements
from .places import Index, Place
from .pull import Elements, Pull, Wanted

SPREAD = 160
"""CTAs over which warps are spread before one gets more: two an SM of a V100."""

_Body = Callable[[SSAValue, Sequence[SSAValue]], Sequence[SSAValue]]
"""(turn, carried values) -> carried values."""


def row_kernel(
    name: str, root: SSAValue, op: Operation, row: RowOp, inputs: Sequence[SSAValue]
) -> tile.KernelOp:
    """The kernel that computes `root`, in which `op` is the one row-wise op."""
    plan = row.plan
    warps = min(WARPS, max(1, ceil_div(plan.rows * plan.lanes, WARP * SPREAD)))
    rows_a_cta = warps * WARP // plan.lanes
    grid = (ceil_div(plan.rows, rows_a_cta), 1, 1)
    params = [f"x{i}" for i in range(len(inputs))]
    b = KernelBuilder(name, [*params, "y"], grid, warps=warps)
    pull = Pull(b, dict(zip(inputs, params, strict=True)))
    number = b.mad(b.id(tile.Id.CTA_X), warps, b.warp)
    lane: Value = b.lane
    if plan.lanes == 1:
        number, lane = b.mad(number, WARP, b.lane), 0
    inside = b.less(number, plan.rows) if plan.rows % rows_a_cta else None
    _Rows(b, pull, root, op, row, b.value(number), lane, inside).build()
    return b.finish()


@dataclass
class _Rows:
    """One row of a warp or lane."""

    b: KernelBuilder
    pull: Pull
    root: SSAValue
    op: Operation
    row: RowOp
    number: SSAValue
    lane: Value
    inside: SSAValue | None
    stats: list[SSAValue] = field(default_factory=list[SSAValue])

    def build(self) -> None:
        """All steps, then the stores."""
        steps, plan = self.row.steps, self.row.plan
        if plan.held:
            chunks = [self._chunk(turn) for turn in range(plan.turns)]
            values = [self._loaded(c) for c in chunks]
            for step in steps:
                if isinstance(step, Map):
                    values = [[self._mapped(step, v) for v in chunk] for chunk in values]
                else:
                    self._reduce_held(step, values, chunks)
            self._finish_held(chunks, values)
            return
        done: list[Step] = []
        for step in steps:
            if isinstance(step, Reduce):
                self._reduce_loop(step, done)
            done.append(step)
        if self.row.elements:
            self._loop([], lambda turn, _: self._store_turn(turn, done))
        else:
            self._store_statistic()

    # Places

    def _chunk(self, turn: int | SSAValue) -> list[Index]:
        """A lane's columns of a turn."""
        plan, at = self.row.plan, self.pull.at
        stride = plan.lanes * plan.width
        mine = at.mul(self.lane, plan.width)
        if isinstance(turn, int):
            if mine == 0:
                return [Index.constant(turn * stride + e) for e in range(plan.width)]
            return [Index(mine, turn * stride + e, plan.width) for e in range(plan.width)]
        base = at.add(mine, at.mul(turn, stride))
        return [Index(base, e, plan.width) for e in range(plan.width)]

    def _place(self, column: Index) -> Place:
        """The place of a column of this row in the operand."""
        at, plan = self.pull.at, self.row.plan
        shape = shape_of(self.op.operands[0].type)
        row = Index(self.number)
        rank, axes = len(shape), self.row.axes
        if axes == tuple(range(rank - len(axes), rank)):
            return Place(shape, at.sum([at.scale(row, plan.columns), column]))
        kept = [d for d in range(rank) if d not in axes]
        outer = at.unflatten(row, [shape[d] for d in kept])
        inner = at.unflatten(column, [shape[d] for d in axes])
        found = dict(zip([*kept, *axes], [*outer, *inner], strict=True))
        return Place(shape, indices=tuple(found[d] for d in range(rank)))

    def _valid(self, columns: Sequence[Index]) -> list[SSAValue | None]:
        """Which columns there are: chunks are whole or not there at all."""
        plan = self.row.plan
        if plan.whole:
            return [None] * len(columns)
        whole = plan.columns % plan.width == 0
        first = self.pull.below(columns[0], plan.columns)
        return [first if whole else self.pull.below(c, plan.columns) for c in columns]

    # Elements

    def _loaded(self, columns: Sequence[Index]) -> Elements:
        wanted = [
            Wanted(self._place(c), self.pull.both(self.inside, v))
            for c, v in zip(columns, self._valid(columns), strict=True)
        ]
        return self.pull.elements(self.op.operands[0], wanted)

    def _mapped(self, step: Map, value: SSAValue, stats: Sequence[SSAValue] | None = None):
        return step.to(self.pull.lanes, value, self.stats if stats is None else stats)

    def _term(
        self, step: Reduce, value: SSAValue, column: Index, valid: SSAValue | None
    ) -> SSAValue:
        """What a column adds to the statistic; the neutral element beyond the row's end."""
        lanes = self.pull.lanes

        def number() -> SSAValue:
            return lanes.to_float(self.b.value(self.pull.at.value(column)))

        term = step.term(lanes, value, self.stats, number)
        if valid is None:
            return term
        return lanes.select(valid, term, lanes.number(NEUTRAL[step.kind]))

    # Statistics

    def _reduce_held(
        self, step: Reduce, values: Sequence[Elements], chunks: Sequence[Sequence[Index]]
    ) -> None:
        acc = self.pull.lanes.number(NEUTRAL[step.kind])
        for chunk, columns in zip(values, chunks, strict=True):
            for value, column, valid in zip(chunk, columns, self._valid(columns), strict=True):
                term = self._term(step, value, column, valid)
                acc = combine(self.pull.lanes, step.kind, acc, term)
        self._statistic(step, acc)

    def _reduce_loop(self, step: Reduce, done: Sequence[Step]) -> None:
        def body(turn: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
            columns = self._chunk(turn)
            acc = carried[0]
            values = self._replayed(columns, done)
            for value, column, valid in zip(values, columns, self._valid(columns), strict=True):
                term = self._term(step, value, column, valid)
                acc = combine(self.pull.lanes, step.kind, acc, term)
            return [acc]

        neutral = self.pull.lanes.number(NEUTRAL[step.kind])
        (acc,) = self._loop([neutral], body)
        self._statistic(step, acc)

    def _replayed(self, columns: Sequence[Index], done: Sequence[Step]) -> Elements:
        """Elements loaded again, and mapped as far as they were."""
        values = self._loaded(columns)
        known = 0
        for step in done:
            if isinstance(step, Reduce):
                known += 1
            else:
                values = [self._mapped(step, v, self.stats[:known]) for v in values]
        return values

    def _statistic(self, step: Reduce, acc: SSAValue) -> None:
        """Combine the lanes of the row; all of them get the same bits."""
        b, lanes = self.b, self.pull.lanes
        distance = self.row.plan.lanes // 2
        while distance:
            partner = self.pull.at.once(
                "partner", (distance,), lambda d=distance: b.value(b.xor(b.lane, d))
            )
            bits = b.insert(arith.BitcastOp(acc, i32))
            other = b.insert(arith.BitcastOp(b.insert(tile.ShuffleOp(bits, partner)), f32))
            acc = combine(lanes, step.kind, acc, other)
            distance //= 2
        self.stats.append(acc if step.then is None else step.then(lanes, acc))

    def _loop(self, inits: Sequence[SSAValue], body: _Body) -> Sequence[SSAValue]:
        """All turns; index arithmetic of one turn stays in it."""

        def scoped(turn: SSAValue, carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            with self.pull.at.scope():
                return body(turn, carried)

        return self.b.loop(0, self.row.plan.turns, 1, inits, scoped, uniform=True)

    # Results

    def _store_turn(self, turn: SSAValue, done: Sequence[Step]) -> list[SSAValue]:
        columns = self._chunk(turn)
        self._store(columns, self._replayed(columns, done))
        return []

    def _finish_held(self, chunks: Sequence[Sequence[Index]], values: Sequence[Elements]) -> None:
        if not self.row.elements:
            self._store_statistic()
            return
        for columns, chunk in zip(chunks, values, strict=True):
            self._store(columns, chunk)

    def _store(self, columns: Sequence[Index], values: Elements) -> None:
        """The root's elements for the op's elements of a chunk."""
        at, out = self.pull.at, DeviceTensor.of(self.root.type)
        valid = self._valid(columns)
        wanted: list[Wanted] = []
        for column, value, there in zip(columns, values, valid, strict=True):
            place = self._place(column)
            self.pull.given[self.op.results[0], place.key] = value
            if out.shape != place.shape:
                place = Place(out.shape, at.flat(place))
            wanted.append(Wanted(place, self.pull.both(self.inside, there)))
        found = self.pull.elements(self.root, wanted, root=True)
        width = 1 if len({id(w.predicate) for w in wanted}) > 1 else len(wanted)
        if out.layout.columns % width or len(self.row.axes) + _first(self.row.axes) != len(
            shape_of(self.op.operands[0].type)
        ):
            width = 1
        for first in range(0, len(found), width):
            part, w = found[first : first + width], wanted[first]
            base, offset = address_of(self.pull, out, w.place, "y")
            store_elements(self.b, out, part, base, offset, w.predicate)

    def _store_statistic(self) -> None:
        out = DeviceTensor.of(self.root.type)
        shape = shape_of(self.op.results[0].type)
        row = Index(self.number)
        key = Place(shape, row).key
        self.pull.given[self.op.results[0], key] = self.stats[-1]
        predicate = self.inside
        if self.row.plan.lanes > 1:
            predicate = self.pull.both(self.b.compare("eq", self.b.lane, 0), predicate)
        place = Place(out.shape, row)
        (value,) = self.pull.elements(self.root, [Wanted(place, predicate)], root=True)
        base, offset = address_of(self.pull, out, place, "y")
        store_elements(self.b, out, [value], base, offset, predicate)


def _first(axes: Sequence[int]) -> int:
    return axes[0] if axes else 0
