"""The dual-side kernel's main loop: products, and loads for later ones between them. Not a pass.

In: a warp's operands and what fetches them into L1. Out: a loop over chunks of steps; values are
loaded `stages` - 1 steps ahead, headers two steps before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

from xdsl.ir import SSAValue

from ..backend.isa.layout import HEADER_GROUP, HEADER_SHIFT, NARROW_VALUES
from ..backend.isa.table import REGISTER_VALUES, TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc import ScheduleAttr
from .kernel_builder import KernelBuilder
from .matmul_dual_operands import Operands, Place
from .matmul_dual_prefetch import CHUNK, LEAD, Prefetch, Work

_VALUE_REGISTERS = 120
"""Registers of a lane for the values of all tiles of the steps ahead, where some are wide."""
HEADERS_AHEAD = 2
"""Steps by which headers are loaded before values."""
Timed = tuple[float, Work]


@dataclass
class Flow:
    """What is under way, oldest first: of each operand tile, for steps to come."""

    values: list[list[SSAValue]]
    """Of a step: condensed values of each tile."""
    bitmaps: list[list[SSAValue]]
    """Of the steps whose bitmaps one load brings."""
    headers: list[list[SSAValue]]
    """Of the steps whose headers one load brings."""

    def flat(self) -> list[SSAValue]:
        parts = (self.values, self.bitmaps, self.headers)
        return [v for part in parts for group in part for v in group]

    def like(self, flat: Sequence[SSAValue]) -> Flow:
        """The same shape with other values."""
        items = iter(flat)
        parts = (self.values, self.bitmaps, self.headers)
        return Flow(*([[next(items) for _ in group] for group in part] for part in parts))


@dataclass
class Steps:
    """Emits steps: products, and between them what later steps need."""

    b: KernelBuilder
    operands: Operands
    schedule: ScheduleAttr
    registers: tuple[int, int]
    """Those that hold the values of a tile along M, and of one along N."""
    flow: Flow

    @property
    def ahead(self) -> int:
        """Steps by which values are loaded before they are multiplied.

        Steps of wide tiles are long: there are as few as registers demand, at least one.
        """
        most = steps_ahead(self.registers, self.operands.counts)
        return min(self.schedule.stages.value.data - 1, most)

    def products(self, step: int) -> list[Work]:
        """The SPWMMAs of a step, which takes its operands out of the flow."""
        values, bitmaps = self.flow.values.pop(0), self.flow.bitmaps[0]
        shared = self.operands.shared
        high = shared > 1 and step % shared == shared - 1
        if step % shared == shared - 1:
            self.flow.bitmaps.pop(0)
        rows, columns = self.operands.counts
        window = self.schedule.vectors

        def product(i: int, j: int) -> None:
            pair = [(values[k], bitmaps[k]) for k in (i, rows + j)]
            if self.schedule.swapped:
                pair.reverse()
            (av, am), (bv, bm) = pair
            first = self.schedule.accumulator_tile(i * window // TILE_M, j * window // TILE_M)
            self.b.builder.insert(
                tile.SpwmmaOp(first, av, am, bv, bm, high_a=high, high_b=high, window=window)
            )

        return [partial(product, i, j) for i in range(rows) for j in range(columns)]

    def needed(self, headers: list[SSAValue]) -> list[SSAValue]:
        """A step's headers; those of wide tiles without values where the other side is empty."""
        b, first = self.b, self.operands.counts[0]
        sides = headers[:first], headers[first:]
        found: list[SSAValue] = []
        for own, other, registers in zip(sides, sides[::-1], self.registers, strict=True):
            if registers * REGISTER_VALUES <= NARROW_VALUES:
                found += own
                continue
            pieces = b.and_(reduce(b.or_, other), (1 << HEADER_SHIFT) - 1)
            some = b.compare("ne", pieces, 0)
            found += [b.select(some, header, 0) for header in own]
        return found

    def loads(self, at: Place, step: int, *, last: int | None = None) -> list[Timed]:
        """What is loaded during `step`; nothing of steps from `last` on."""
        o, flow, work = self.operands, self.flow, list[Timed]()
        along_m, along_n = range(o.counts[0]), range(o.counts[0], len(o.tiles))
        # what has more to load goes first
        first_m = self.registers[0] >= self.registers[1]
        order = [*along_m, *along_n] if first_m else [*along_n, *along_m]

        def load(group: list[SSAValue], make: Callable[[int], SSAValue], begin: float = 0) -> None:
            def one(i: int) -> None:
                group.insert(i if i < o.counts[0] else len(group), make(i))

            work.extend(spread([partial(one, i) for i in order], begin))

        s = step + self.ahead
        if last is None or s < last:
            within = s % o.header_group
            headers = flow.headers[0]
            if o.header_group > 1:
                headers = [self.b.extract(h, within) for h in headers]
            headers = self.needed(headers)
            if within == o.header_group - 1:
                flow.headers.pop(0)
            flow.values.append([])
            # after the second product has issued, nothing reads the registers of the last step
            load(
                flow.values[-1],
                lambda i: o.load(i, headers[i], self.registers[i >= o.counts[0]]),
                1 / (o.counts[0] * o.counts[1]),
            )
            if s % o.shared == 0:
                flow.bitmaps.append([])
                load(flow.bitmaps[-1], lambda i: o.bitmap(i, at, s))
        far = s + HEADERS_AHEAD
        if far % o.header_group == 0 and (last is None or far < last):
            flow.headers.append([])
            load(flow.headers[-1], lambda i: o.headers(i, at, far))
        return work

    def begin(self, first: Place, *, last: int | None = None) -> None:
        """The loads of the first steps' values and bitmaps, whose headers are in the flow."""
        for s in range(-self.ahead, 0):
            for _, item in sorted(self.loads(first, s, last=last), key=lambda timed: timed[0]):
                item()

    def step(
        self, at: Place, step: int, further: Sequence[Work] = (), *, last: int | None = None
    ) -> None:
        """One step, its loads and what else there is to do dealt out among its products."""
        products = self.products(step)
        work = self.loads(at, step, last=last) + spread(further)
        work.sort(key=lambda timed: timed[0])
        for number, product in enumerate(products):
            product()
            for when, item in work:
                if int(when * len(products)) == number:
                    item()

    def chunk(self, at: Place, prefetch: Prefetch) -> None:
        """The steps of a turn of the loop, and of `prefetch` what belongs to it."""
        first = prefetch.distance * CHUNK
        headers = prefetch.load(at, first)
        self.step(at, 0, [partial(prefetch.fetch_headers, at, first + LEAD * CHUNK)])
        further = prefetch.fetch(at, first, *headers)
        for s in range(1, CHUNK):
            self.step(at, s, share(further, s - 1, CHUNK - 1))


def steps_ahead(registers: tuple[int, int], tiles: tuple[int, int]) -> int:
    """Most steps by which values are loaded ahead, `tiles` a side of so many registers each."""
    return max(1, _VALUE_REGISTERS // sum(n * t for n, t in zip(registers, tiles, strict=True)))


def spread(work: Sequence[Work], begin: float = 0) -> list[Timed]:
    """When each of `work` is done, evenly from `begin` to the end of a step (0 to 1)."""
    begin = begin if begin < 1 else 0
    return [(begin + (1 - begin) * (i + 0.5) / len(work), item) for i, item in enumerate(work)]


def share(work: Sequence[Work], number: int, parts: int) -> Sequence[Work]:
    """The number-th of `parts` parts of equal length."""
    return work[len(work) * number // parts : len(work) * (number + 1) // parts]


def main_loop(main: Steps, prefetch: Prefetch, k_tiles: int) -> None:
    """All steps of a warp's tile, from empty registers on."""
    b, operands = main.b, main.operands
    first = Place(b, k_tiles)
    main.flow.headers.append([operands.headers(i, first, 0) for i in range(len(operands.tiles))])
    main.begin(first, last=k_tiles)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        inner = replace(main, flow=main.flow.like(carried))
        inner.chunk(Place(b, k_tiles, counter), prefetch)
        return inner.flow.flat()

    # The loop runs whole chunks, as long as all that they load exists; the last steps, which load
    # less and less, come after it.
    looped = max(0, k_tiles - main.ahead - HEADER_GROUP - 1) // CHUNK * CHUNK
    if looped:
        main.flow = main.flow.like(b.loop(0, looped, CHUNK, main.flow.flat(), body))
    for s in range(looped, k_tiles):
        main.step(first, s, last=k_tiles)
