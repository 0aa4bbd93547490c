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

from xdsl.ir import SSAValue

from ..backend.isa.image_layout import WORD, ImageLayout
from ..backend.isa.layout import NARROW_VALUES, ceil_div
from ..backend.isa.table import REGISTER_VALUES, TILE_K, TILE_M, VALUE_REGISTERS
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, ImageType, MatmulOp, ScheduleAttr
from ..dialects.dstc_tile import Lanes
from .kernel_builder import KernelBuilder, Value
from .matmul_dual import Product, clear_tiles, surely_wide
from .matmul_dual_image import PAIR, ImageTiles, Window, fill_table, table_bytes
from .matmul_dual_image_fetch import ImageFetch
from .matmul_dual_operands import Located, Operands, Place
from .matmul_dual_prefetch import CHUNK, LEAD, FetchPlan, Prefetch, Work
from .matmul_dual_steps import HEADERS_AHEAD, Flow, Steps, Timed, share, spread, steps_ahead
from .matmul_dual_store import read_tiles
from .matmul_split import SHARED_BYTES, Split

_HALVES = (Lanes.LOW, Lanes.HIGH)


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
    filters = product.filters(origin, b.mul(part, k_tiles))
    image = ImageTiles(b, product.image, origin[1], wn // WORD, b.mul(part, k_tiles))
    fetch = ImageFetch(b, image, op.densities[1], product.sharers[-1], b.mul(part, k_tiles))
    fill_table(b, product.image, schedule.warps)
    b.barrier()
    clear_tiles(b, schedule)
    split.each(b, part, (k_tiles, last_k_tiles), partial(product.multiply, filters, fetch))
    if split.parts == 1:
        product.store(origin)
    else:
        accs = read_tiles(b, schedule, schedule.swapped)
        split.finish(b, schedule, part, accs, partial(product.store, origin))
    return b.finish()


@dataclass
class _WindowFlow(Flow):
    """Beside the filters': what is under way of the image, for steps to come."""

    starts: list[list[SSAValue]]
    """Of a step: where its columns begin."""
    words: list[list[SSAValue]]
    """Of a step: a `Window`."""
    columns: list[list[SSAValue]]
    """Of a step: bitmaps of each two vectors."""

    @property
    def parts(self) -> tuple[list[list[SSAValue]], ...]:
        """All of it."""
        return self.values, self.bitmaps, self.headers, self.starts, self.words, self.columns

    def flat(self) -> list[SSAValue]:
        return [v for part in self.parts for group in part for v in group]

    def like(self, flat: Sequence[SSAValue]) -> _WindowFlow:
        """The same shape with other values."""
        items = iter(flat)
        return _WindowFlow(*([[next(items) for _ in group] for group in p] for p in self.parts))


def _words_distance(schedule: ScheduleAttr) -> int:
    """Chunks by which an image's words are fetched into L1 ahead of products."""
    return ImageFetch.distance(schedule.stages.value.data - 1 + HEADERS_AHEAD)


def _begin_image(
    flow: _WindowFlow, fetch: ImageFetch, first: Place, schedule: ScheduleAttr
) -> None:
    """Start loading the image's first words, and fetching further ones."""
    flow.starts.append([fetch.tiles.start(first, 0)])
    for s in range(min(HEADERS_AHEAD, first.k_tiles)):
        _load_words(flow, fetch.tiles, first, s, first.k_tiles)
    fetch.begin(first, _words_distance(schedule))


def _load_words(
    flow: _WindowFlow, image: ImageTiles, at: Place, step: int, last: int | None
) -> None:
    """Start loading the image's words of `step`, and where the columns after them begin."""
    (start,) = flow.starts.pop(0)
    if last is None or step + 1 < last:
        flow.starts.append([image.start(at, step + 1)])
    flow.words.append(image.words(start).flat())


@dataclass
class _WindowSteps(Steps):
    """Steps whose right operand is formed from an image."""

    fetch: ImageFetch

    @property
    def image(self) -> ImageTiles:
        """The warp's tiles of it."""
        return self.fetch.tiles

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
                (values[rows + j], columns[j // PAIR], j % PAIR == 1),
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
        pairs, work = range(len(self.image.entries)), list[Timed]()

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
            work.append((0, partial(_load_words, flow, self.image, at, far, last)))
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
                bitmap, load = self.image.formed(Window.of(words), pair)
                first = PAIR * pair
                for j in range(first, min(first + PAIR, self.image.vectors)):
                    values[len(rows) + j] = load(_HALVES[j - first])
                return bitmap

            each(columns, pairs, form, begin)
            if s % o.shared == 0:
                flow.bitmaps.append([])
                each(flow.bitmaps[-1], rows, lambda i: o.bitmap(i, at, s))
        return work

    def chunk(self, at: Place, prefetch: Prefetch) -> None:
        """The steps of a turn of the loop, and what is fetched ahead in it."""
        first = prefetch.distance * CHUNK
        headers = prefetch.load(at, first)
        self.step(at, 0, [partial(prefetch.fetch_headers, at, first + LEAD * CHUNK)])
        further = prefetch.fetch(at, first, *headers)
        further += self.fetch.fetch(at, _words_distance(self.schedule) * CHUNK)
        for s in range(1, CHUNK):
            self.step(at, s, share(further, s - 1, CHUNK - 1))

    def run(self, prefetch: Prefetch, k_tiles: int) -> None:
        """All steps of a warp's tile, from empty registers on: as `main_loop`."""
        b, operands = self.b, self.operands
        first = Place(b, k_tiles)
        rows = range(operands.counts[0])
        self.flow.headers.append([operands.headers(i, first, 0) for i in rows])
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

    def filters(self, origin: tuple[Value, Value], first_k_tile: Value) -> Located:
        """The warp's tiles of the left operand."""
        assert isinstance(self.op.lhs.type, BitmapType)
        layout = self.op.lhs.type.layout
        first, count = self.b.div(origin[0], TILE_M), self.schedule.warp_tile[0] // TILE_M
        return Operands.located(self.b, (layout, layout), (first, 0), (count, 0), first_k_tile)

    def multiply(self, located: Located, fetch: ImageFetch, k_tiles: int) -> None:
        """All products of the warp's tile: one loop for filters as wide as is to be expected."""
        b, rows, first = self.b, located.counts[0], Place(self.b, k_tiles)
        # the image's first words are under way while the filters' first headers are waited for
        flow = _WindowFlow([], [], [], [], [], [])
        _begin_image(flow, fetch, first, self.schedule)
        operands, plan = located.operands(), self.plan
        own = FetchPlan(
            plan.sectors[:rows], tuple(i for i in plan.dense if i < rows), plan.distance
        )
        prefetch = Prefetch(b, operands, own, self.sharers[:rows])
        prefetch.begin(first)

        def loop(registers: int) -> None:
            begun, both = flow.like(flow.flat()), (registers, VALUE_REGISTERS)
            steps = _WindowSteps(b, operands, self.schedule, both, begun, fetch)
            steps.run(prefetch, k_tiles)

        if surely_wide(self.op.densities[0], TILE_M):
            loop(VALUE_REGISTERS)
            return
        narrow = b.compare("eq", b.and_(operands.wide, 1), 0)
        wide = b.compare("ne", b.and_(operands.wide, 1), 0)
        b.when(narrow, partial(loop, NARROW_VALUES // REGISTER_VALUES))
        b.when(wide, partial(loop, VALUE_REGISTERS))
