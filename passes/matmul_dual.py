"""The dual-side kernel of `dstc.matmul`: outer products of bitmap operands on SPWMMA. Not a pass.

In: a `dstc.matmul` with a dual schedule and bitmap operands (`BitmapLayout`). Out: a
`dstc_tile.kernel`. Each warp keeps its output tile in the accumulation buffer and walks along K;
operand tiles go from memory straight to registers, `stages` - 1 steps ahead, headers two steps
before them. The sectors of sparse tiles are fetched into L1 some `CHUNK` steps earlier still, since
steps are shorter there than a load from L2. Loads stand between the SPWMMAs of a step, evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from math import ceil, sqrt

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import (
    HEADER_GROUP,
    HEADER_SHIFT,
    NARROW_VALUES,
    STEP_K,
    VALUE_ALIGN,
    WIDE,
    BitmapLayout,
    ceil_div,
)
from ..backend.isa.table import REGISTER_VALUES, TILE_K, TILE_M, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, MatmulOp, ScheduleAttr
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_store import read_tiles, store_tiles
from .matmul_encode import encode_tiles, lanes_are_rows
from .matmul_epilogue import Epilogue
from .matmul_raster import cheapest_place
from .matmul_split import SHARED_BYTES, Split

_HEADERS = VectorType(i32, [HEADER_GROUP])
CHUNK = 8
"""Steps whose sectors are fetched into L1 together."""
_DISTANCE = 3
"""Chunks by which that is ahead of the products, at most."""
_CTA_BYTES = 32768
"""Bytes that a CTA has on their way or in L1 for later chunks, about: a quarter of L1. Measured at
256x256: with 44 KB its warps, which drift apart, fetch a third of the sectors twice."""
LEAD = 2
"""Chunks by which fetching the headers that it needs is ahead of that."""
_VALUE_REGISTERS = 120
"""Registers of a lane for the values of all tiles of the steps ahead, where some are wide."""
_SECTOR = 32
_MOST_SECTORS = 11
"""Sectors of a 32x16 tile, up to which it is fetched into L1 first: measured at densities of 0.2 to
0.5."""
_TOGETHER = 2048**2
"""Elements of the result whose tiles follow each other in an order that shares operands: what the
accumulators of 64 to 80 SMs hold, of 64 KB a sub-core. With 16 KB, measured, tiles of four rounds
do better than those of one."""
_QUARTER = 8
"""Lanes that fetch for one operand tile: one a step of a chunk."""

Work = Callable[[], None]
_Timed = tuple[float, Work]


@dataclass
class _Flow:
    """What is under way, oldest first: of each operand tile, for steps to come."""

    values: list[list[SSAValue]]
    """Of a step: condensed values of each tile."""
    bitmaps: list[list[SSAValue]]
    """Of the steps whose bitmaps one load brings."""
    headers: list[list[SSAValue]]
    """Of `HEADER_GROUP` steps."""

    def flat(self) -> list[SSAValue]:
        parts = (self.values, self.bitmaps, self.headers)
        return [v for part in parts for group in part for v in group]

    def like(self, flat: Sequence[SSAValue]) -> _Flow:
        """The same shape with other values."""
        items = iter(flat)
        parts = (self.values, self.bitmaps, self.headers)
        return _Flow(*([[next(items) for _ in group] for group in part] for part in parts))


@dataclass
class _Tile:
    """Where a row of operand tiles begins: byte addresses."""

    header: Value
    bitmap: Value
    values: Value


class _Operands:
    """A warp's operand tiles, first those along M, then those along N: addresses and loads."""

    def __init__(
        self,
        b: KernelBuilder,
        layouts: tuple[BitmapLayout, BitmapLayout],
        first_tiles: tuple[Value, Value],
        counts: tuple[int, int],
        first_k_tile: Value,
    ):
        self.b, self.counts, self.layout = b, counts, layouts[0]
        self.bitmap_bytes = layouts[0].bitmap_words * 4
        self.shared = WARP_SIZE // layouts[0].bitmap_words
        """Steps whose bitmaps one load brings."""
        self.tiles: list[_Tile] = []
        wide: list[Value] = []
        for layout, name, first, count in zip(
            layouts, ("a", "b"), first_tiles, counts, strict=True
        ):
            base = b.params[name]
            headers = b.mad(first_k_tile, 4, layout.headers_offset)
            bitmaps = b.mad(first_k_tile, self.bitmap_bytes, layout.bitmaps_offset)
            starts: list[Value] = []
            for i in range(count):
                row = b.min_(b.add(first, i), layout.v_tiles - 1)
                place = b.mad(row, 4, base)
                start = b.load(tile.Space.GLOBAL, place, i32, offset=layout.starts_offset)
                stride = layout.k_tiles * self.bitmap_bytes
                values = b.add(b.add(base, layout.values_offset), b.and_(start, -VALUE_ALIGN))
                starts.append(start)
                self.tiles.append(
                    _Tile(
                        b.mad(row, layout.header_stride * 4, b.add(base, headers)),
                        b.mad(row, stride, b.add(base, bitmaps)),
                        values,
                    )
                )
            wide.append(b.and_(reduce(b.or_, starts), WIDE))
        self.values = [b.mad(b.lane, 16, t.values) for t in self.tiles]
        self.bitmaps = [b.mad(b.lane, 4, t.bitmap) for t in self.tiles]
        self.wide = b.mad(wide[1], 2, wide[0])
        """1: a tile of the rows along M has more than `NARROW_VALUES`, 2: one along N, 3: both."""
        alone = layouts[0].k_tiles % self.shared
        self.lower = b.less(b.lane, alone * layouts[0].bitmap_words) if alone else None
        """Lanes with bitmaps in a load that brings those of the last steps."""

    def headers(self, i: int, at: _Place, step: int) -> SSAValue:
        """Headers of tile i at `step`, a multiple of `HEADER_GROUP`, and the steps after it."""
        address = at.advanced(self.tiles[i].header, 4)
        return self.b.load(tile.Space.GLOBAL, address, _HEADERS, offset=4 * step, hint="headers")

    def load(self, i: int, header: SSAValue, registers: int) -> SSAValue:
        """The condensed values of tile i."""
        values = tile.LoadValuesOp(self.b.value(self.values[i]), header, registers)
        return self.b.insert(values, "values")

    def bitmap(self, i: int, at: _Place, step: int) -> SSAValue:
        """The bitmaps of tile i at `step`, and the steps after it that share the load."""
        alone = at.counter is None and step + self.shared > at.k_tiles
        load = tile.LoadOp(
            tile.Space.GLOBAL,
            self.b.value(at.advanced(self.bitmaps[i], self.bitmap_bytes)),
            i32,
            offset=step * self.bitmap_bytes,
            predicate=self.lower if alone else None,
        )
        return self.b.insert(load, "bitmap")


@dataclass
class _Place:
    """A turn of a loop over `k_tiles` steps: that which its counter says; `None`: the first."""

    b: KernelBuilder
    k_tiles: int
    counter: SSAValue | None = None
    made: dict[tuple[Value, int], Value] = field(default_factory=dict[tuple[Value, int], Value])

    def advanced(self, start: Value, stride: int) -> Value:
        """`start` and `stride` bytes for each step up to this turn; made when first asked for."""
        if self.counter is None:
            return start
        key = (start, stride)
        if key not in self.made:
            self.made[key] = self.b.mad(self.counter, stride, start)
        return self.made[key]


class _Prefetch:
    """Fetches the sectors of operand tiles into L1, four rows of tiles by `CHUNK` steps at a time.

    A lane has a tile of its own: its header says which sectors of values there are.
    """

    def __init__(
        self, b: KernelBuilder, operands: _Operands, sectors: Sequence[int], distance: int
    ):
        """`sectors`: of each operand tile, 32-byte sectors of values to fetch; 0: not this tile.

        `distance`: chunks by which they are fetched ahead of the products.
        """
        self.b, self.bitmap_bytes, self.distance = b, operands.bitmap_bytes, distance
        wanted = [i for i, count in enumerate(sectors) if count]
        groups = [wanted[i : i + 4] for i in range(0, len(wanted), 4)]
        self.sectors = [max(sectors[i] for i in group) for group in groups]
        self.lane_step = b.rem(b.lane, _QUARTER)
        each = CHUNK * self.bitmap_bytes // _SECTOR
        self.sector_step = b.div(b.rem(b.lane, each), self.bitmap_bytes // _SECTOR)
        self.headers: list[Value] = []
        self.values: list[Value] = []
        self.bitmaps: list[list[Value]] = []
        for group in groups:
            tiles = [operands.tiles[i] for i in group]
            which = b.div(b.lane, _QUARTER)
            self.headers.append(
                b.mad(self.lane_step, 4, self._of_lane(which, [t.header for t in tiles]))
            )
            self.values.append(self._of_lane(which, [t.values for t in tiles]))
            parts = [tiles[i : i + 32 // each] for i in range(0, len(tiles), 32 // each)]
            which, sector = b.div(b.lane, each), b.rem(b.lane, each)
            self.bitmaps.append(
                [
                    b.mad(sector, _SECTOR, self._of_lane(which, [t.bitmap for t in part]))
                    for part in parts
                ]
            )

    def _of_lane(self, which: Value, values: Sequence[Value]) -> Value:
        """The which-th value; the last one beyond them."""
        result = values[-1]
        for i in reversed(range(len(values) - 1)):
            result = self.b.select(self.b.compare("eq", which, i), values[i], result)
        return result

    def _inside(self, at: _Place, lane_step: Value, step: int) -> SSAValue | None:
        """Whether there is a step as far after `step` as the lane's."""
        left: Value = at.k_tiles - step
        if at.counter is not None:
            left = self.b.sub(left, at.counter)
        elif at.k_tiles - step >= CHUNK:
            return None
        return self.b.compare("slt", lane_step, left)

    def fetch_headers(self, at: _Place, step: int) -> None:
        """Fetch the headers of the chunk from `step` on."""
        for header in self.headers:
            inside = self._inside(at, self.lane_step, step)
            self.b.prefetch(at.advanced(header, 4), offset=4 * step, predicate=inside)

    def load_headers(self, at: _Place, step: int) -> list[SSAValue]:
        """By lane, the headers of the chunk from `step` on; 0 where there is no tile."""
        return [
            self.b.load(
                tile.Space.GLOBAL,
                at.advanced(header, 4),
                i32,
                offset=4 * step,
                predicate=self._inside(at, self.lane_step, step),
                hint="header",
            )
            for header in self.headers
        ]

    def fetch(self, at: _Place, step: int, headers: Sequence[SSAValue]) -> list[Work]:
        """Fetch the chunk from `step` on."""
        work: list[Work] = []
        for bitmaps, values, header, sectors in zip(
            self.bitmaps, self.values, headers, self.sectors, strict=True
        ):
            for start in bitmaps:
                work.append(partial(self._fetch_bitmaps, at, step, start))
            # decoded at once: the register is free for the next header
            pieces = self.b.and_(header, (1 << HEADER_SHIFT) - 1)
            place = self.b.add(values, self.b.shr(header, HEADER_SHIFT))
            for sector in range(sectors):
                work.append(partial(self._fetch_values, place, pieces, sector))
        return work

    def _fetch_bitmaps(self, at: _Place, step: int, start: Value) -> None:
        self.b.prefetch(
            at.advanced(start, self.bitmap_bytes),
            offset=step * self.bitmap_bytes,
            predicate=self._inside(at, self.sector_step, step),
        )

    def _fetch_values(self, place: Value, pieces: Value, sector: int) -> None:
        some = self.b.compare("ugt", pieces, sector * (_SECTOR // VALUE_ALIGN))
        self.b.prefetch(place, offset=_SECTOR * sector, predicate=some)


def dual_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M, z over the parts of K."""
    m, n, k = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    window, tiles = schedule.vectors, wm * wn // TILE_M**2
    split = Split.of(k, schedule)
    grid = (ceil_div(n, cn), ceil_div(m, cm), split.parts)
    shared = SHARED_BYTES if split.parts > 1 else 0
    b = KernelBuilder(name, params, grid, warps=schedule.warps, shared=shared, acc=tiles)
    part = b.id(tile.Id.CTA_Z) if split.parts > 1 else 0
    k_tiles = split.steps * STEP_K // TILE_K
    columns_of_warps = cn // wn
    costs = [
        extent * (2 * density + 1 / 8)
        for extent, density in zip((cm, cn), op.densities, strict=True)
    ]
    together = ceil_div(_TOGETHER, cm * cn)
    cta_row, cta_column = cheapest_place(b, grid[1], grid[0], together, (costs[0], costs[1]))
    row0 = b.mad(cta_row, cm, b.mul(b.div(b.warp, columns_of_warps), wm), "row0")
    column0 = b.mad(cta_column, cn, b.mul(b.rem(b.warp, columns_of_warps), wn), "column0")
    assert isinstance(op.lhs.type, BitmapType) and isinstance(op.rhs.type, BitmapType)
    operands = _Operands(
        b,
        (op.lhs.type.layout, op.rhs.type.layout),
        (b.div(row0, window), b.div(column0, window)),
        (wm // window, wn // window),
        b.mul(part, k_tiles),
    )
    for t in range(tiles):
        b.builder.insert(tile.AccClearOp(t))
    last_k_tiles = ceil_div(k, TILE_K) - (split.parts - 1) * k_tiles
    main_loops = partial(_main_loops, b, operands, schedule, op.densities)
    split.each(b, part, (k_tiles, last_k_tiles), main_loops)
    put = encode_tiles if isinstance(op.result.type, BitmapType) else store_tiles
    store = partial(put, b, Epilogue(b, op), schedule, (row0, column0))
    if split.parts == 1:
        store()
    else:
        transposed = schedule.swapped != lanes_are_rows(op)
        split.finish(b, schedule, part, read_tiles(b, schedule, transposed), store)
    return b.finish()


@dataclass
class _Steps:
    """Emits steps: products, and between them what later steps need."""

    b: KernelBuilder
    operands: _Operands
    prefetch: _Prefetch
    schedule: ScheduleAttr
    registers: tuple[int, int]
    """Those that hold the values of a tile along M, and of one along N."""
    flow: _Flow

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

    def loads(self, at: _Place, step: int, *, last: int | None = None) -> list[_Timed]:
        """What is loaded during `step`; nothing of steps from `last` on."""
        o, flow, work = self.operands, self.flow, list[_Timed]()

        def load(group: list[SSAValue], make: Callable[[int], SSAValue], begin: float = 0) -> None:
            def one(i: int) -> None:
                group.append(make(i))

            work.extend(spread([partial(one, i) for i in range(len(o.tiles))], begin))

        s = step + self.ahead
        if last is None or s < last:
            within = s % HEADER_GROUP
            headers = self.needed([self.b.extract(h, within) for h in flow.headers[0]])
            if within == HEADER_GROUP - 1:
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
        far = s + 2
        if far % HEADER_GROUP == 0 and (last is None or far < last):
            flow.headers.append([])
            load(flow.headers[-1], lambda i: o.headers(i, at, far))
        return work

    def step(
        self, at: _Place, step: int, further: Sequence[Work] = (), *, last: int | None = None
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

    def chunk(self, at: _Place) -> None:
        """The steps of a turn of the loop."""
        first = self.prefetch.distance * CHUNK
        headers = self.prefetch.load_headers(at, first)
        self.step(at, 0, [partial(self.prefetch.fetch_headers, at, first + LEAD * CHUNK)])
        further = self.prefetch.fetch(at, first, headers)
        for s in range(1, CHUNK):
            self.step(at, s, share(further, s - 1, CHUNK - 1))


def steps_ahead(registers: tuple[int, int], tiles: tuple[int, int]) -> int:
    """Most steps by which values are loaded ahead, `tiles` a side of so many registers each."""
    return max(1, _VALUE_REGISTERS // sum(n * t for n, t in zip(registers, tiles, strict=True)))


def spread(work: Sequence[Work], begin: float = 0) -> list[_Timed]:
    """When each of `work` is done, evenly from `begin` to the end of a step (0 to 1)."""
    begin = begin if begin < 1 else 0
    return [(begin + (1 - begin) * (i + 0.5) / len(work), item) for i, item in enumerate(work)]


def share(work: Sequence[Work], number: int, parts: int) -> Sequence[Work]:
    """The number-th of `parts` parts of equal length."""
    return work[len(work) * number // parts : len(work) * (number + 1) // parts]


def _many_values(density: float, window: int, deviations: float) -> float:
    """Mean number of values of a tile with random zeros, and so many standard deviations more."""
    values = window * TILE_K * density
    return values + deviations * sqrt(values * (1 - density))


def always_wide(densities: tuple[float, float], window: int) -> bool:
    """Operands so dense that there is no loop for narrow tiles: no wait for what the rows have."""
    return all(_surely_wide(density, window) for density in densities)


def prefetched_sectors(density: float, window: int) -> int:
    """32-byte sectors of a tile's values that are fetched into L1 ahead of loads, 0: no tile is.

    Those of nearly all tiles with random zeros. Denser tiles make long steps, which loads to
    registers are far enough ahead of.
    """
    most = _many_values(density, window, 2)
    sectors = ceil((2 * most + _SECTOR - VALUE_ALIGN) / _SECTOR)
    return sectors if sectors <= _MOST_SECTORS * window // TILE_M else 0


def _surely_wide(density: float, window: int) -> bool:
    """Whether among many tiles with random zeros one has more than `NARROW_VALUES`."""
    return _many_values(density, window, 3) > NARROW_VALUES


def prefetch_distance(
    densities: tuple[float, float], cta_tile: tuple[int, int], window: int
) -> int:
    """Chunks by which sectors are fetched ahead: as many as L1 has room for."""
    chunk = sum(
        extent * CHUNK * TILE_K * (2 * density + 1 / 8)
        for density, extent in zip(densities, cta_tile, strict=True)
        if prefetched_sectors(density, window)
    )
    return max(1, min(_DISTANCE, int(_CTA_BYTES / chunk) if chunk else _DISTANCE))


def _main_loops(
    b: KernelBuilder,
    operands: _Operands,
    schedule: ScheduleAttr,
    densities: tuple[float, float],
    k_tiles: int,
) -> None:
    """One loop for rows of tiles as wide as is to be expected, and one for wider ones."""
    window = operands.layout.window
    sectors = [
        prefetched_sectors(density, window)
        for density, count in zip(densities, operands.counts, strict=True)
        for _ in range(count)
    ]
    distance = prefetch_distance(densities, schedule.cta_tile, window)
    prefetch = _Prefetch(b, operands, sectors, distance)
    least, most = NARROW_VALUES // REGISTER_VALUES, operands.layout.value_registers

    def loop(registers: tuple[int, int]) -> None:
        steps = _Steps(b, operands, prefetch, schedule, registers, _Flow([], [], []))
        _main_loop(steps, k_tiles)

    if always_wide(densities, window):
        loop((most, most))
        return
    wide = [_surely_wide(density, window) for density in densities]
    usual = most if wide[0] else least, most if wide[1] else least
    unexpected = b.and_(operands.wide, (not wide[0]) + 2 * (not wide[1]))
    b.when(b.compare("eq", unexpected, 0), partial(loop, usual))
    b.when(b.compare("ne", unexpected, 0), partial(loop, (most, most)))


def _main_loop(main: _Steps, k_tiles: int) -> None:
    b, operands, prefetch = main.b, main.operands, main.prefetch
    first = _Place(b, k_tiles)
    main.flow.headers.append([operands.headers(i, first, 0) for i in range(len(operands.tiles))])
    for c in range(prefetch.distance):
        for item in prefetch.fetch(first, c * CHUNK, prefetch.load_headers(first, c * CHUNK)):
            item()
    for c in range(prefetch.distance, prefetch.distance + LEAD):
        prefetch.fetch_headers(first, c * CHUNK)
    for s in range(-main.ahead, 0):
        for _, item in sorted(main.loads(first, s, last=k_tiles), key=lambda timed: timed[0]):
            item()

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        inner = replace(main, flow=main.flow.like(carried))
        inner.chunk(_Place(b, k_tiles, counter))
        return inner.flow.flat()

    # The loop runs whole chunks, as long as all that they load exists; the last steps, which load
    # less and less, come after it.
    looped = max(0, k_tiles - main.ahead - HEADER_GROUP - 1) // CHUNK * CHUNK
    if looped:
        main.flow = main.flow.like(b.loop(0, looped, CHUNK, main.flow.flat(), body))
    for s in range(looped, k_tiles):
        main.step(first, s, last=k_tiles)
