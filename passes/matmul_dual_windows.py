"""Windows of an encoded image as the pixel side of the dual-side kernel. Not a pass.

In: a `dstc.matmul` on an encoded image (`ImageLayout`) with a dual schedule. Out: the kernel.
Lanes 0 to 15 form the 16 columns (channel, kernel row, kernel column) of a tile of 32 pixels, lanes
16 to 31 those of the next: the two words of bits that a column lies in, shifted together, say where
its values begin and how many there are; LDV loads them as SPWMMA takes them. No lowered matrix is
formed. Where a k lies relative to a pixel stands in a table in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.layout import NARROW_VALUES, ceil_div, round_up
from ..backend.isa.table import (
    REGISTER_VALUES,
    RUN_SLOT_BYTES,
    TILE_K,
    TILE_M,
    VALUE_REGISTERS,
    WARP_SIZE,
)
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, ImageType, MatmulOp, ScheduleAttr
from ..dialects.dstc_tile import Lanes
from .kernel_builder import KernelBuilder, Value
from .matmul_dual import Product, clear_tiles, surely_wide
from .matmul_dual_operands import Operands, Place
from .matmul_dual_prefetch import CHUNK, FetchPlan, Prefetch
from .matmul_dual_steps import HEADERS_AHEAD, Flow, Steps, Timed, Work, spread, steps_ahead
from .matmul_dual_store import read_tiles
from .matmul_split import SHARED_BYTES, Split

_ENTRY = VectorType(i32, [2])
_PAIR = 2
_HALVES = (Lanes.LOW, Lanes.HIGH)
"""Vectors of 32 pixels whose columns the lanes of a warp form together."""


def table_bytes(depth: int) -> int:
    """Shared memory of the table of a depth: a word each k of whole tiles."""
    return 4 * round_up(depth, TILE_K)


def window_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel of a product on an encoded image: grid as `dual_kernel`'s, of a CTA a tile."""
    m, n, k = op.extents
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    split = Split.of(k, schedule)
    grid = (ceil_div(n, cn), ceil_div(m, cm), split.parts)
    k_tiles = split.steps * 32 // TILE_K
    last_k_tiles = ceil_div(k, TILE_K) - (split.parts - 1) * k_tiles
    shared = max(table_bytes(k), SHARED_BYTES if split.parts > 1 else 0)
    b = KernelBuilder(
        name, params, grid, warps=schedule.warps, shared=shared, acc=wm * wn // TILE_M**2
    )
    part = b.id(tile.Id.CTA_Z) if split.parts > 1 else 0
    product = _WindowProduct(b, op, schedule)
    origin = product.origin(product.place())
    operands = product.filters(origin, b.mul(part, k_tiles))
    image = _Image(b, product.image, origin[1], wn // WORD, b.mul(part, k_tiles))
    _fill_table(b, product.image, schedule.warps)
    b.barrier()
    clear_tiles(b, schedule)
    split.each(b, part, (k_tiles, last_k_tiles), partial(product.multiply, operands, image))
    if split.parts == 1:
        product.store(origin)
    else:
        accs = read_tiles(b, schedule, schedule.swapped)
        split.finish(b, schedule, part, accs, partial(product.store, origin))
    return b.finish()


def _fill_table(b: KernelBuilder, layout: ImageLayout, warps: int) -> None:
    """Of every k the position of the first pixel's element (`ImageLayout.start`), in words' bits.

    Those beyond the end are those of the last k: the filters have no bits there.
    """
    count, threads = round_up(layout.depth, TILE_K), warps * WARP_SIZE
    taps, columns = layout.kernel[0] * layout.kernel[1], layout.kernel[1]
    thread = b.mad(b.warp, WARP_SIZE, b.lane)

    def body(first: SSAValue | int, carried: Sequence[SSAValue]) -> list[SSAValue]:
        del carried
        number = b.add(thread, first)
        k = b.min_(number, layout.depth - 1)
        channel = b.div(k, taps)
        tap = b.sub(k, b.mul(channel, taps))
        row = b.div(tap, columns)
        place = row, b.sub(tap, b.mul(row, columns))
        phase: Value = 0
        within: Value = 0
        for i, step in ((0, layout.pitch), (1, 1)):
            at = b.mul(place[i], layout.dilations[i])
            down = b.div(at, layout.strides[i])
            rest = b.sub(at, b.mul(down, layout.strides[i])) if layout.strides[i] > 1 else 0
            index = _index(b, rest, layout.phases[i])
            phase = b.mad(phase, len(layout.phases[i]), index)
            within = b.mad(down, step, within)
        plane = b.mad(channel, layout.phase_count, phase)
        position = b.mad(plane, layout.plane_words * WORD, within)
        here = b.less(number, count) if count % threads else None
        b.store(tile.Space.SHARED, b.value(position), b.mul(number, 4), predicate=here)
        return []

    if count <= threads:
        body(0, [])
    else:
        b.loop(0, count, threads, [], body)


def _index(b: KernelBuilder, value: Value, values: Sequence[int]) -> Value:
    """Which of the ascending `values` it is."""
    if tuple(values) == tuple(range(len(values))):
        return value
    index: Value = 0
    for other in values[:-1]:
        index = b.add(index, b.select(b.compare("ugt", b.value(value), other), 1, 0))
    return index


@dataclass(frozen=True)
class _Window:
    """The 16 columns of two vectors, one a lane: its position, its bits' word and the next."""

    position: SSAValue
    low: SSAValue
    high: SSAValue


class _Image:
    """A warp's vectors of pixels: loads of their columns' words, and of their values."""

    def __init__(
        self, b: KernelBuilder, layout: ImageLayout, column: Value, vectors: int, first_tile: Value
    ):
        self.b, self.vectors = b, vectors
        self.entries = b.params["b"]
        self.slots = b.add(b.params["b"], layout.values_offset)
        self.table = b.mad(first_tile, 4 * TILE_K, b.mul(b.and_(b.lane, TILE_K - 1), 4))
        total = layout.shape[0] * layout.vectors
        own = b.add(b.div(column, WORD), b.div(b.lane, TILE_K))
        self.origins: list[Value] = []
        for first in range(0, vectors, _PAIR):
            vector = b.min_(b.add(own, first), total - 1)
            image = b.div(vector, layout.vectors)
            within = b.sub(vector, b.mul(image, layout.vectors))
            words = b.mad(image, layout.image_words, within)
            self.origins.append(b.mul(words, WORD))

    def words(self, at: Place, step: int) -> list[_Window]:
        """Start loading the bits of `step`."""
        b = self.b
        place = at.advanced(self.table, 4 * TILE_K)
        start = b.load(tile.Space.SHARED, place, i32, offset=4 * TILE_K * step, hint="start")
        found: list[_Window] = []
        for origin in self.origins:
            position = b.value(b.add(start, origin))
            entry = b.mad(b.shr(position, 5), ENTRY_BYTES, self.entries)
            both = b.load(tile.Space.GLOBAL, entry, _ENTRY, hint="words")
            found.append(_Window(position, b.extract(both, 0), b.extract(both, 1)))
        return found

    def formed(self, window: _Window) -> tuple[SSAValue, Callable[[Lanes], SSAValue]]:
        """Bitmaps of two vectors' tiles, and what loads the values of one of them."""
        b = self.b
        bitmap = b.insert(tile.FunnelOp(window.low, window.high, window.position), "bitmap")
        inside = b.insert(tile.FunnelOp(window.low, b.value(0), window.position))
        ones = [b.insert(tile.PopulationCountOp(v)) for v in (inside, window.low, bitmap)]
        counts = b.value(b.mad(ones[2], 256, ones[0]))
        slot = b.mad(b.shr(window.position, 5), RUN_SLOT_BYTES, self.slots)
        first = b.value(b.mad(b.sub(ones[1], ones[0]), 2, slot))

        def load(lanes: Lanes) -> SSAValue:
            return b.insert(tile.LoadRunsOp(lanes, first, counts), "values")

        return bitmap, load


@dataclass
class _WindowFlow(Flow):
    """Beside the filters': what is under way of the image, for steps to come."""

    words: list[list[SSAValue]]
    """Of a step: position, word and next word of each two vectors."""
    columns: list[list[SSAValue]]
    """Of a step: bitmaps of each two vectors."""

    @property
    def parts(self) -> tuple[list[list[SSAValue]], ...]:
        """All of it."""
        return self.values, self.bitmaps, self.headers, self.words, self.columns

    def flat(self) -> list[SSAValue]:
        return [v for part in self.parts for group in part for v in group]

    def like(self, flat: Sequence[SSAValue]) -> _WindowFlow:
        """The same shape with other values."""
        items = iter(flat)
        return _WindowFlow(*([[next(items) for _ in group] for group in p] for p in self.parts))


@dataclass
class _WindowSteps(Steps):
    """Steps whose right operand is formed from an image."""

    image: _Image

    @property
    def own(self) -> _WindowFlow:
        """What is under way."""
        assert isinstance(self.flow, _WindowFlow)
        return self.flow

    @property
    def ahead(self) -> int:
        """Steps by which values are loaded before they are multiplied."""
        tiles = self.operands.counts[0], self.image.vectors
        return min(self.schedule.stages.value.data - 1, steps_ahead(self.registers, tiles))

    def products(self, step: int) -> list[Work]:
        """The SPWMMAs of a step, which takes its operands out of the flow."""
        values, bitmaps = self.flow.values.pop(0), self.flow.bitmaps[0]
        columns, shared = self.own.columns.pop(0), self.operands.shared
        high = step % shared == shared - 1
        if high:
            self.flow.bitmaps.pop(0)
        rows = self.operands.counts[0]

        def product(i: int, j: int) -> None:
            sides = [
                (values[i], bitmaps[i], high),
                (values[rows + j], columns[j // _PAIR], j % _PAIR == 1),
            ]
            if self.schedule.swapped:
                sides.reverse()
            (av, am, high_a), (bv, bm, high_b) = sides
            which = self.schedule.accumulator_tile(i, j)
            self.b.builder.insert(
                tile.SpwmmaOp(which, av, am, bv, bm, high_a=high_a, high_b=high_b)
            )

        return [partial(product, i, j) for i in range(rows) for j in range(self.image.vectors)]

    def loads(self, at: Place, step: int, *, last: int | None = None) -> list[Timed]:
        """What is loaded during `step`; nothing of steps from `last` on."""
        o, flow, rows = self.operands, self.own, range(self.operands.counts[0])
        pairs, work = range(len(self.image.origins)), list[Timed]()

        def each(
            group: list[SSAValue], which: range, make: Callable[[int], SSAValue], begin: float = 0
        ) -> None:
            """Put what is made into its place in the group, which other work fills as well."""
            group.extend([self.b.value(0)] * len(which))

            def one(i: int) -> None:
                group[i] = make(i)

            work.extend(spread([partial(one, i) for i in which], begin))

        s = step + self.ahead
        far = s + HEADERS_AHEAD
        if last is None or far < last:
            if far % o.header_group == 0:
                flow.headers.append([])
                each(flow.headers[-1], rows, lambda i: o.headers(i, at, far))
            work.append((0, partial(self.words, at, far)))
        if last is None or s < last:
            within = s % o.header_group
            headers = [self.b.extract(h, within) for h in flow.headers[0]]
            if within == o.header_group - 1:
                flow.headers.pop(0)
            words, values, columns = flow.words.pop(0), list[SSAValue](), list[SSAValue]()
            flow.values.append(values)
            flow.columns.append(columns)
            # after the second product has issued, nothing reads the registers of the last step
            begin = 1 / (len(rows) * self.image.vectors)
            each(values, rows, lambda i: o.load(i, headers[i], self.registers[0]), begin)
            values.extend([self.b.value(0)] * self.image.vectors)

            def form(pair: int) -> SSAValue:
                bitmap, load = self.image.formed(_Window(*words[3 * pair : 3 * pair + 3]))
                first = _PAIR * pair
                for j in range(first, min(first + _PAIR, self.image.vectors)):
                    values[len(rows) + j] = load(_HALVES[j - first])
                return bitmap

            each(columns, pairs, form, begin)
            if s % o.shared == 0:
                flow.bitmaps.append([])
                each(flow.bitmaps[-1], rows, lambda i: o.bitmap(i, at, s))
        return work

    def words(self, at: Place, step: int) -> None:
        """Start loading the image's words of `step`."""
        found = self.image.words(at, step)
        self.own.words.append([v for w in found for v in (w.position, w.low, w.high)])

    def run(self, prefetch: Prefetch, k_tiles: int) -> None:
        """All steps of a warp's tile, from empty registers on: as `main_loop`."""
        b, operands = self.b, self.operands
        first = Place(b, k_tiles)
        rows = range(operands.counts[0])
        self.flow.headers.append([operands.headers(i, first, 0) for i in rows])
        for s in range(min(HEADERS_AHEAD, k_tiles)):
            self.words(first, s)
        self.begin(first, last=k_tiles)

        def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
            inner = replace(self, flow=self.flow.like(carried))
            inner.chunk(Place(b, k_tiles, counter), prefetch)
            return inner.flow.flat()

        looped = max(0, k_tiles - self.ahead - operands.header_group - 1) // CHUNK * CHUNK
        if looped:
            self.flow = self.flow.like(b.loop(0, looped, CHUNK, self.flow.flat(), body))
        for s in range(looped, k_tiles):
            self.step(first, s, last=k_tiles)


@dataclass(frozen=True)
class _WindowProduct(Product):
    """A product on an encoded image."""

    @property
    def image(self) -> ImageLayout:
        """Of the image."""
        assert isinstance(self.op.rhs.type, ImageType)
        return self.op.rhs.type.layout

    def filters(self, origin: tuple[Value, Value], first_k_tile: Value) -> Operands:
        """The warp's tiles of the left operand."""
        assert isinstance(self.op.lhs.type, BitmapType)
        layout = self.op.lhs.type.layout
        first, count = self.b.div(origin[0], TILE_M), self.schedule.warp_tile[0] // TILE_M
        located = Operands.located(self.b, (layout, layout), (first, 0), (count, 0), first_k_tile)
        return located.operands()

    def multiply(self, operands: Operands, image: _Image, k_tiles: int) -> None:
        """All products of the warp's tile: one loop for filters as wide as is to be expected."""
        b, rows = self.b, operands.counts[0]
        plan = self.plan
        own = FetchPlan(
            plan.sectors[:rows], tuple(i for i in plan.dense if i < rows), plan.distance
        )
        prefetch = Prefetch(b, operands, own, self.sharers[:rows])
        prefetch.begin(Place(b, k_tiles))

        def loop(registers: int) -> None:
            flow = _WindowFlow([], [], [], [], [])
            steps = _WindowSteps(
                b, operands, self.schedule, (registers, VALUE_REGISTERS), flow, image
            )
            steps.run(prefetch, k_tiles)

        if surely_wide(self.op.densities[0], TILE_M):
            loop(VALUE_REGISTERS)
            return
        narrow = b.compare("eq", b.and_(operands.wide, 1), 0)
        wide = b.compare("ne", b.and_(operands.wide, 1), 0)
        b.when(narrow, partial(loop, NARROW_VALUES // REGISTER_VALUES))
        b.when(wide, partial(loop, VALUE_REGISTERS))
