"""The dual-side kernel of `dstc.matmul`: outer products of bitmap operands on SPWMMA. Not a pass.

In: a `dstc.matmul` with a dual schedule and bitmap operands (`BitmapLayout`). Out: a
`dstc_tile.kernel`. Each warp keeps its output tile in the accumulation buffer and walks along K;
operand tiles go from memory straight to registers, `stages` - 2 steps ahead, headers a step before
them. The sectors of sparse tiles are fetched into L1 some `CHUNK` steps earlier still, since steps
are shorter there than a load from L2. Loads stand between the SPWMMAs of a step, evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import (
    HEADER_GROUP,
    HEADER_SHIFT,
    VALUE_ALIGN,
    BitmapLayout,
    ceil_div,
)
from ..backend.isa.table import TILE_K, TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, MatmulOp, ScheduleAttr
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue
from .matmul_raster import tile_place

_HEADERS = VectorType(i32, [HEADER_GROUP])
_PARTS = 4
"""Parts of 8 rows in which an accumulator tile is read."""
CHUNK = 8
"""Steps whose sectors are fetched into L1 together."""
DISTANCE = 2
"""Chunks by which that is ahead of the products."""
LEAD = 1
"""Chunks by which the headers that it needs are ahead of it."""
_PAIR = 2
"""Steps whose bitmaps one load brings."""
_BITMAP_BYTES = TILE_K * 4
_SECTOR = 32
_QUARTER = 8
"""Lanes that fetch for one operand tile: one a step of a chunk."""

Work = Callable[[], None]


@dataclass
class _Flow:
    """What is under way, oldest first: of each operand tile, for steps to come."""

    values: list[list[SSAValue]]
    """Of a step: condensed values of each tile."""
    bitmaps: list[list[SSAValue]]
    """Of a pair of steps."""
    headers: list[list[SSAValue]]
    """Of `HEADER_GROUP` steps."""
    fetched: list[list[SSAValue]]
    """Of a chunk: headers by lane, of the tiles that are fetched into L1 next."""

    def flat(self) -> list[SSAValue]:
        parts = (self.values, self.bitmaps, self.headers, self.fetched)
        return [v for part in parts for group in part for v in group]

    def like(self, flat: Sequence[SSAValue]) -> _Flow:
        """The same shape with other values."""
        items = iter(flat)
        parts = (self.values, self.bitmaps, self.headers, self.fetched)
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
    ):
        self.b, self.counts, self.k_tiles = b, counts, layouts[0].k_tiles
        self.tiles: list[_Tile] = []
        for layout, name, first, count in zip(
            layouts, ("a", "b"), first_tiles, counts, strict=True
        ):
            base = b.params[name]
            for i in range(count):
                row = b.min_(b.add(first, i), layout.v_tiles - 1)
                start = b.load(
                    tile.Space.GLOBAL, b.mad(row, 4, base), i32, offset=layout.starts_offset
                )
                stride = layout.k_tiles * _BITMAP_BYTES
                self.tiles.append(
                    _Tile(
                        b.mad(row, layout.header_stride * 4, b.add(base, layout.headers_offset)),
                        b.mad(row, stride, b.add(base, layout.bitmaps_offset)),
                        b.add(b.add(base, layout.values_offset), start),
                    )
                )
        self.values = [b.mad(b.lane, 16, t.values) for t in self.tiles]
        self.bitmaps = [b.mad(b.lane, 4, t.bitmap) for t in self.tiles]
        self.lower = b.less(b.lane, TILE_K) if self.k_tiles % _PAIR else None

    def headers(self, i: int, at: _Place, step: int) -> SSAValue:
        """Headers of tile i at `step`, a multiple of `HEADER_GROUP`, and the steps after it."""
        address = at.advanced(self.tiles[i].header, 4)
        return self.b.load(tile.Space.GLOBAL, address, _HEADERS, offset=4 * step, hint="headers")

    def load(self, i: int, header: SSAValue) -> SSAValue:
        """The condensed values of tile i."""
        values = tile.LoadValuesOp(self.b.value(self.values[i]), header)
        return self.b.insert(values, "values")

    def bitmap(self, i: int, at: _Place, step: int) -> SSAValue:
        """The bitmaps of tile i at `step`, an even one, and the step after it."""
        alone = at.counter is None and step == self.k_tiles - 1
        load = tile.LoadOp(
            tile.Space.GLOBAL,
            self.b.value(at.advanced(self.bitmaps[i], _BITMAP_BYTES)),
            i32,
            offset=step * _BITMAP_BYTES,
            predicate=self.lower if alone else None,
        )
        return self.b.insert(load, "bitmap")


@dataclass
class _Place:
    """A turn of the loop: the step that its counter says; `None`: the first step."""

    b: KernelBuilder
    counter: SSAValue | None
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

    def __init__(self, b: KernelBuilder, operands: _Operands, sectors: Sequence[int]):
        """`sectors`: of each operand tile, 32-byte sectors of values to fetch; 0: not this tile."""
        self.b, self.k_tiles = b, operands.k_tiles
        wanted = [i for i, count in enumerate(sectors) if count]
        groups = [wanted[i : i + 4] for i in range(0, len(wanted), 4)]
        self.sectors = [max(sectors[i] for i in group) for group in groups]
        self.lane_step = b.rem(b.lane, _QUARTER)
        self.half_step = b.div(b.rem(b.lane, 16), 2)
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
            halves = [tiles[i : i + 2] for i in range(0, len(tiles), 2)]
            which, sector = b.div(b.lane, 16), b.rem(b.lane, 16)
            self.bitmaps.append(
                [
                    b.mad(sector, _SECTOR, self._of_lane(which, [t.bitmap for t in half]))
                    for half in halves
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
        left: Value = self.k_tiles - step
        if at.counter is not None:
            left = self.b.sub(left, at.counter)
        elif self.k_tiles - step >= CHUNK:
            return None
        return self.b.compare("slt", lane_step, left)

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
            at.advanced(start, _BITMAP_BYTES),
            offset=step * _BITMAP_BYTES,
            predicate=self._inside(at, self.half_step, step),
        )

    def _fetch_values(self, place: Value, pieces: Value, sector: int) -> None:
        some = self.b.compare("ugt", pieces, sector * (_SECTOR // VALUE_ALIGN))
        self.b.prefetch(place, offset=_SECTOR * sector, predicate=some)


def dual_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M."""
    m, n, _ = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    rows, columns = wm // TILE_M, wn // TILE_M
    grid = (ceil_div(n, cn), ceil_div(m, cm), 1)
    b = KernelBuilder(name, params, grid, warps=schedule.warps, acc=rows * columns)
    columns_of_warps = cn // wn
    cta_row, cta_column = tile_place(b, grid[1], grid[0])
    row0 = b.mad(cta_row, cm, b.mul(b.div(b.warp, columns_of_warps), wm), "row0")
    column0 = b.mad(cta_column, cn, b.mul(b.rem(b.warp, columns_of_warps), wn), "column0")
    assert isinstance(op.lhs.type, BitmapType) and isinstance(op.rhs.type, BitmapType)
    operands = _Operands(
        b,
        (op.lhs.type.layout, op.rhs.type.layout),
        (b.div(row0, TILE_M), b.div(column0, TILE_M)),
        (rows, columns),
    )
    for t in range(rows * columns):
        b.builder.insert(tile.AccClearOp(t))
    _main_loop(b, operands, schedule)
    _store(b, Epilogue(b, op), (rows, columns), (row0, column0), schedule.swapped)
    return b.finish()


@dataclass
class _Steps:
    """Emits steps: products, and between them what later steps need."""

    b: KernelBuilder
    operands: _Operands
    prefetch: _Prefetch
    swapped: bool
    ahead: int
    flow: _Flow

    def products(self, step: int) -> list[Work]:
        """The SPWMMAs of a step, which takes its operands out of the flow."""
        values, bitmaps = self.flow.values.pop(0), self.flow.bitmaps[0]
        high = step % _PAIR == _PAIR - 1
        if high:
            self.flow.bitmaps.pop(0)
        rows, columns = self.operands.counts

        def product(i: int, j: int) -> None:
            pair = [(values[k], bitmaps[k]) for k in (i, rows + j)]
            if self.swapped:
                pair.reverse()
            (av, am), (bv, bm) = pair
            op = tile.SpwmmaOp(i * columns + j, av, am, bv, bm, high_a=high, high_b=high)
            self.b.builder.insert(op)

        return [partial(product, i, j) for i in range(rows) for j in range(columns)]

    def loads(self, at: _Place, step: int, *, last: int | None = None) -> list[list[Work]]:
        """What is loaded during `step`; nothing of steps from `last` on."""
        o, flow, work = self.operands, self.flow, list[list[Work]]()

        def load(group: list[SSAValue], make: Callable[[int], SSAValue]) -> None:
            def one(i: int) -> None:
                group.append(make(i))

            work.append([partial(one, i) for i in range(len(o.tiles))])

        s = step + self.ahead
        if last is None or s < last:
            headers, within = flow.headers[0], s % HEADER_GROUP
            if within == HEADER_GROUP - 1:
                flow.headers.pop(0)
            flow.values.append([])
            load(
                flow.values[-1],
                lambda i: o.load(i, self.b.extract(headers[i], within)),
            )
            if s % _PAIR == 0:
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
        work = merged(*self.loads(at, step, last=last), further)
        for number, product in enumerate(products):
            product()
            for item in share(work, number, len(products)):
                item()

    def chunk(self, at: _Place) -> None:
        """The steps of a turn of the loop."""
        flow = self.flow
        further = self.prefetch.fetch(at, DISTANCE * CHUNK, flow.fetched.pop(0))
        for s in range(CHUNK):
            if s == 1:  # beyond a SPWMMA from where the last ones were read: in their registers
                flow.fetched.append(self.prefetch.load_headers(at, (DISTANCE + LEAD) * CHUNK))
            self.step(at, s, share(further, s, CHUNK))


def merged(*lists: Sequence[Work]) -> list[Work]:
    """All of `lists`, each of them spread evenly over the whole."""
    placed = [((i + 0.5) / len(part), item) for part in lists for i, item in enumerate(part)]
    return [item for _, item in sorted(placed, key=lambda pair: pair[0])]


def share(work: Sequence[Work], number: int, parts: int) -> Sequence[Work]:
    """The number-th of `parts` parts of equal length."""
    return work[len(work) * number // parts : len(work) * (number + 1) // parts]


def _main_loop(b: KernelBuilder, operands: _Operands, schedule: ScheduleAttr) -> None:
    import os

    SA, SB = map(int, os.environ.get("PF", "4,4").split(","))
    k_tiles = operands.k_tiles
    ahead = schedule.stages.value.data - 2
    first = _Place(b, None)
    prefetch = _Prefetch(b, operands, [SA] * operands.counts[0] + [SB] * operands.counts[1])
    main = _Steps(b, operands, prefetch, schedule.swapped, ahead, _Flow([], [], [], []))
    main.flow.headers.append([operands.headers(i, first, 0) for i in range(len(operands.tiles))])
    for c in range(DISTANCE):
        for item in prefetch.fetch(first, c * CHUNK, prefetch.load_headers(first, c * CHUNK)):
            item()
    for c in range(DISTANCE, DISTANCE + LEAD):
        main.flow.fetched.append(prefetch.load_headers(first, c * CHUNK))
    for s in range(-ahead, 0):
        for item in merged(*main.loads(first, s, last=k_tiles)):
            item()

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        inner = replace(main, flow=main.flow.like(carried))
        inner.chunk(_Place(b, counter))
        return inner.flow.flat()

    # The loop runs whole chunks, as long as all that they load exists; the last steps, which load
    # less and less, come after it.
    looped = max(0, k_tiles - ahead - HEADER_GROUP - 1) // CHUNK * CHUNK
    if looped:
        main.flow = main.flow.like(b.loop(0, looped, CHUNK, main.flow.flat(), body))
    for s in range(looped, k_tiles):
        main.step(first, s, last=k_tiles)


def _store(
    b: KernelBuilder,
    epilogue: Epilogue,
    blocks: tuple[int, int],
    origin: tuple[Value, Value],
    swapped: bool,
) -> None:
    m, n, _ = epilogue.op.sizes
    for j in range(blocks[1]):
        column = b.add(b.add(origin[1], 32 * j), b.lane)
        in_column = b.less(column, n)
        base = b.add(epilogue.column_offset(column), b.params["c"])
        for i in range(blocks[0]):
            row0 = b.add(origin[0], 32 * i)
            start = b.mad(row0, epilogue.row_stride, base)
            for part in range(_PARTS):
                read = tile.AccReadOp(i * blocks[1] + j, part, transposed=swapped)
                vector = b.insert(read)
                for r in range(8):
                    row = b.add(row0, 8 * part + r)
                    inside = b.both(in_column, b.less(row, m))
                    value = epilogue.finish(b.extract(vector, r), row, column)
                    offset = (8 * part + r) * epilogue.row_stride
                    epilogue.store([value], start, offset=offset, predicate=inside)
