"""Split-K: several CTAs share an output tile, the last one to finish adds their parts. Not a pass.

In: a schedule's `split`, a CTA's accumulators. Out: partial tiles in a workspace, a counter of
arrivals for each output tile, and the ordered sum in the CTA that arrives last: the result hangs
neither on who that is nor on when the others arrived.

A CTA's stores are visible before it counts (a quantum's stores take place before its atomics:
docs/machine.md). The last CTA sets the counter back to 0, so that workspace and counters serve the
next launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import TensorType, VectorType, f32, i32
from xdsl.ir import Attribute, SSAValue

from ..backend.isa.layout import STEP_K, ceil_div, split_ranges
from ..dialects import dstc_tile as tile
from ..dialects.dstc import MatmulOp, ScheduleAttr
from .kernel_builder import KernelBuilder, Value

SHARED_BYTES = 4
"""Shared memory of a split kernel at least: the number of earlier arrivals."""
_PAIR = VectorType(f32, [2])
_PAIR_BYTES = 8 * 32


@dataclass(frozen=True)
class Split:
    """`parts` CTAs of `steps` main-loop steps (the last of `last`) an output tile."""

    parts: int
    steps: int
    last: int

    @staticmethod
    def of(k: int, schedule: ScheduleAttr) -> Split:
        """How a schedule splits a depth of `k`."""
        counts = [ceil_div(b - a, STEP_K) for a, b in split_ranges(k, schedule.parts)]
        return Split(len(counts), counts[0], counts[-1])

    def count(self, b: KernelBuilder, part: Value) -> Value:
        """Main-loop steps of a part."""
        if self.last == self.steps:
            return self.steps
        is_last = b.compare("eq", part, self.parts - 1)
        return b.select(is_last, self.last, self.steps)

    def each(
        self, b: KernelBuilder, part: Value, lengths: tuple[int, int], body: Callable[[int], None]
    ) -> None:
        """Code for a part of K: `body(length)`, twice if the last one's length is another."""
        usual, last = lengths
        if self.parts == 1 or usual == last:
            body(last)
            return
        b.when(b.compare("ne", part, self.parts - 1), lambda: body(usual))
        b.when(b.compare("eq", part, self.parts - 1), lambda: body(last))

    def finish(
        self,
        b: KernelBuilder,
        schedule: ScheduleAttr,
        part: Value,
        accs: Sequence[SSAValue],
        store: Callable[[Sequence[SSAValue]], None],
    ) -> None:
        """Store the accumulators, or what all parts of them come to.

        Parts need `SHARED_BYTES` of shared memory, which nothing else uses any longer.
        """
        if self.parts == 1:
            store(accs)
            return
        (cm, cn), grid = schedule.cta_tile, b.kernel.grid_size
        number = b.mad(b.id(tile.Id.CTA_Y), grid[0], b.id(tile.Id.CTA_X))
        warp_bytes = schedule.warp_tile[0] * schedule.warp_tile[1] * 4
        tile_bytes = cm * cn * 4
        mine = b.mad(b.warp, warp_bytes, b.mad(b.lane, 8, b.params["partials"]))
        mine = b.mad(number, self.parts * tile_bytes, mine)
        here = b.mad(part, tile_bytes, mine)
        for i, acc in enumerate(accs):
            for q in range(4):
                pair = b.insert(tile.CombineOp(b.extract(acc, 2 * q), b.extract(acc, 2 * q + 1)))
                b.store(tile.Space.GLOBAL, pair, here, offset=(4 * i + q) * _PAIR_BYTES)
        b.barrier()
        counter = b.mad(number, 4, b.params["arrivals"])
        first_lane = b.compare("eq", b.lane, 0)

        def count_arrival() -> None:
            before = b.insert(tile.AtomicAddOp(b.value(1), b.value(counter), first_lane))
            b.store(tile.Space.SHARED, before, 0, predicate=first_lane)

        b.when(b.compare("eq", b.warp, 0), count_arrival)
        b.barrier()
        before = b.load(tile.Space.SHARED, 0, i32)

        def add_up() -> None:
            b.store(tile.Space.GLOBAL, b.value(0), counter, predicate=first_lane)

            def acc_of(i: int, address: Value) -> list[SSAValue]:
                pairs = [
                    b.load(tile.Space.GLOBAL, address, _PAIR, offset=(4 * i + q) * _PAIR_BYTES)
                    for q in range(4)
                ]
                return [b.extract(pair, e) for pair in pairs for e in range(2)]

            def body(counter: SSAValue, sums: Sequence[SSAValue]) -> list[SSAValue]:
                address = b.mad(counter, tile_bytes, mine)
                # one accumulator after the other: there are registers for some of the other parts
                return [
                    b.insert(arith.AddfOp(sums[8 * i + e], other))
                    for i in range(len(accs))
                    for e, other in enumerate(acc_of(i, address))
                ]

            first = [word for i in range(len(accs)) for word in acc_of(i, mine)]
            sums = list(b.loop(1, self.parts, 1, first, body))
            words = [sums[i : i + 8] for i in range(0, len(sums), 8)]
            store([b.insert(tile.CombineOp(*w)) for w in words])

        b.when(b.compare("eq", before, self.parts - 1), add_up)


def scratch_types(op: MatmulOp, schedule: ScheduleAttr) -> dict[str, Attribute]:
    """What a kernel takes beside its result, by parameter; it starts as zeros, and is left so.

    A split one workspace and counters, one whose CTAs take tiles in turn a counter of those taken.
    """
    m, n, k = op.extents
    if schedule.persistent:
        return {"taken": TensorType(i32, [1])}
    parts = Split.of(k, schedule).parts
    if parts == 1:
        return {}
    cm, cn = schedule.cta_tile
    tiles = ceil_div(m, cm) * ceil_div(n, cn)
    return {
        "partials": TensorType(f32, [tiles * parts * cm * cn]),
        "arrivals": TensorType(i32, [tiles]),
    }
