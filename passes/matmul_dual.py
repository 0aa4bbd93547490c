"""The dual-side kernel of `dstc.matmul`: outer products of bitmap operands on SPWMMA. Not a pass.

In: a `dstc.matmul` with a dual schedule and bitmap operands (`BitmapLayout`). Out: a
`dstc_tile.kernel`. Each warp keeps its output tile in the accumulation buffer and walks along K;
operand tiles go from memory straight to registers (`matmul_dual_steps`), and sparse ones into L1
before (`matmul_dual_prefetch`), since steps are shorter there than a load from L2. CTAs take one
tile each, or several in turn (`matmul_turns`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.ir import Attribute, SSAValue

from ..backend.isa.layout import NARROW_VALUES, STEP_K, BitmapLayout, ceil_div
from ..backend.isa.table import REGISTER_VALUES, TILE_K, TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, ImageType, MatmulOp, ScheduleAttr
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_operands import Located, Operands, Place
from .matmul_dual_prefetch import CHUNK, FetchPlan, Prefetch, Sharers, Work, many_values
from .matmul_dual_skip import StepList, list_bytes, skipping_loop
from .matmul_dual_steps import Flow, Steps, main_loop
from .matmul_dual_store import read_tiles, store_tiles
from .matmul_encode import encode_tiles, lanes_are_rows
from .matmul_encode_image import encode_vectors
from .matmul_epilogue import Epilogue
from .matmul_raster import Order
from .matmul_split import SHARED_BYTES, Split
from .matmul_turns import SLOTS_BYTES, Turns


def dual_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M, z over the parts of K.

    With `ctas`, grid x is their number.
    """
    m, n, k = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    split = Split.of(k, schedule)
    grid = (ceil_div(n, cn), ceil_div(m, cm), split.parts)
    tiles = wm * wn // TILE_M**2
    if schedule.persistent:
        turns = Turns.of(grid[0] * grid[1], schedule)
        b = KernelBuilder(
            name, params, (turns.ctas, 1, 1), warps=schedule.warps, shared=SLOTS_BYTES, acc=tiles
        )
        _in_turn(b, op, schedule, turns)
        return b.finish()
    k_tiles = split.steps * STEP_K // TILE_K
    last_k_tiles = ceil_div(k, TILE_K) - (split.parts - 1) * k_tiles
    shared = SHARED_BYTES if split.parts > 1 else 0
    if schedule.skips:
        shared = schedule.warps * list_bytes(last_k_tiles)
    b = KernelBuilder(name, params, grid, warps=schedule.warps, shared=shared, acc=tiles)
    part = b.id(tile.Id.CTA_Z) if split.parts > 1 else 0
    product = Product(b, op, schedule)
    origin = product.origin(product.place())
    located = product.located(origin, b.mul(part, k_tiles))
    steps = StepList.of(b, located, last_k_tiles) if schedule.skips else None
    clear_tiles(b, schedule)
    split.each(
        b,
        part,
        (k_tiles, last_k_tiles),
        partial(product.main_loops, located.operands(), steps=steps),
    )
    if split.parts == 1:
        product.store(origin)
    else:
        transposed = schedule.swapped != lanes_are_rows(op)
        accs = read_tiles(b, schedule, transposed)
        split.finish(b, schedule, part, accs, partial(product.store, origin))
    return b.finish()


@dataclass(frozen=True)
class Product:
    """A product with a schedule's tiles: code for one tile of its result."""

    b: KernelBuilder
    op: MatmulOp
    schedule: ScheduleAttr

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles along M and N."""
        m, n = (
            ceil_div(s, c) for s, c in zip(self.op.extents, self.schedule.cta_tile, strict=False)
        )
        return m, n

    def place(self, number: Value | None = None) -> tuple[Value, Value]:
        """Row and column of a tile by its number, the CTA's if not given, of the grid."""
        order = Order.of_sparse(self.grid, self.schedule.cta_tile, self.op.densities)
        return order.place(self.b, number)

    def origin(self, place: tuple[Value, Value]) -> tuple[Value, Value]:
        """Row and column of the result at which the warp's tile begins."""
        b, ((cm, cn), (wm, wn)) = self.b, (self.schedule.cta_tile, self.schedule.warp_tile)
        across = cn // wn
        return (
            b.mad(place[0], cm, b.mul(b.div(b.warp, across), wm), "row0"),
            b.mad(place[1], cn, b.mul(b.rem(b.warp, across), wn), "column0"),
        )

    @property
    def layouts(self) -> tuple[BitmapLayout, BitmapLayout]:
        """Of the operands."""
        lhs, rhs = self.op.lhs.type, self.op.rhs.type
        assert isinstance(lhs, BitmapType) and isinstance(rhs, BitmapType)
        return lhs.layout, rhs.layout

    def located(self, origin: tuple[Value, Value], first_k_tile: Value = 0) -> Located:
        """The warp's operand tiles."""
        b, window = self.b, self.schedule.vectors
        wm, wn = self.schedule.warp_tile
        first = b.div(origin[0], window), b.div(origin[1], window)
        counts = wm // window, wn // window
        return Operands.located(b, self.layouts, first, counts, first_k_tile)

    @property
    def plan(self) -> FetchPlan:
        """What is fetched into L1 ahead."""
        return FetchPlan.of(self.schedule, self.op.densities)

    def prefetch(self, operands: Operands) -> Prefetch:
        """Of its operands' sectors."""
        return Prefetch(self.b, operands, self.plan, self.sharers)

    @property
    def sharers(self) -> list[Sharers]:
        """Of each operand tile."""
        b, schedule = self.b, self.schedule
        down, across = (c // w for c, w in zip(schedule.cta_tile, schedule.warp_tile, strict=True))
        rows, columns = (w // schedule.vectors for w in schedule.warp_tile)
        if CHUNK % down or CHUNK % across:
            return [Sharers(1, 0)] * (rows + columns)
        along_m, along_n = b.rem(b.warp, across), b.div(b.warp, across)
        return [Sharers(across, along_m)] * rows + [Sharers(down, along_n)] * columns

    def main_loops(
        self,
        operands: Operands,
        k_tiles: int,
        *,
        fetched: bool = False,
        steps: StepList | None = None,
    ) -> None:
        """All products of the warp's tile; of `steps` alone if they are given.

        One loop for rows of tiles as wide as is to be expected, and one for wider ones. `fetched`:
        the code before has begun to fetch: whole chunks, or headers alone after a small tile.
        """
        b, schedule, densities = self.b, self.schedule, self.op.densities
        window, most = schedule.vectors, operands.layout.value_registers
        least = NARROW_VALUES // REGISTER_VALUES
        prefetch = self.prefetch(operands) if steps is None else None
        if prefetch is not None and not fetched:
            prefetch.begin(Place(b, k_tiles))

        def loop(registers: tuple[int, int]) -> None:
            main = Steps(b, operands, schedule, registers, Flow([], [], []))
            if prefetch is not None:
                main_loop(main, prefetch, k_tiles)
            elif steps is not None:
                skipping_loop(main, steps)

        if always_wide(densities, window):
            loop((most, most))
            return
        wide = [surely_wide(density, window) for density in densities]
        usual = most if wide[0] else least, most if wide[1] else least
        unexpected = b.and_(operands.wide, (not wide[0]) + 2 * (not wide[1]))
        b.when(b.compare("eq", unexpected, 0), partial(loop, usual))
        b.when(b.compare("ne", unexpected, 0), partial(loop, (most, most)))

    def store(
        self,
        origin: tuple[Value, Value],
        sums: Sequence[SSAValue] | None = None,
        halfway: Work | None = None,
    ) -> None:
        """Store the warp's tile; `halfway` is done meanwhile."""
        put = _STORES.get(type(self.op.result.type), store_tiles)
        put(self.b, Epilogue(self.b, self.op), self.schedule, origin, sums, halfway)


_STORES: dict[type[Attribute], Callable[..., None]] = {
    BitmapType: encode_tiles,
    ImageType: encode_vectors,
}
"""Of encoded results."""


def _in_turn(b: KernelBuilder, op: MatmulOp, schedule: ScheduleAttr, turns: Turns) -> None:
    """CTAs take tiles in turn, and fetch operands of the next while they store one."""
    large, small = Product(b, op, schedule), Product(b, op, schedule.cut_schedule)
    k_tiles = ceil_div(op.sizes[2], TILE_K)
    first = Place(b, k_tiles)

    def found(turn: Value) -> tuple[list[SSAValue], Located]:
        """Of a turn: whether its tile is small, its number, and of a large one its place."""
        is_small, number = turns.which(b, turn)
        origin = large.origin(large.place(number))
        return [b.value(v) for v in (is_small, number, *origin)], large.located(origin)

    def each(carried: Sequence[SSAValue]) -> tuple[SSAValue, Sequence[SSAValue]]:
        following, slot, is_small, number, row0, column0, *places = carried
        here = operands.like(places)

        def by_size(large_one: Work, small_one: Work) -> None:
            if turns.small == 0:
                large_one()
                return
            b.when(b.compare("eq", is_small, 0), large_one)
            b.when(b.compare("ne", is_small, 0), small_one)

        def small_origin() -> tuple[Value, Value]:
            return small.origin(turns.small_place(b, large.place, number))

        def multiply_large() -> None:
            clear_tiles(b, schedule)
            large.main_loops(here, k_tiles, fetched=True)

        def multiply_small() -> None:
            clear_tiles(b, small.schedule)
            small.main_loops(small.located(small_origin()).operands(), k_tiles)

        by_size(multiply_large, multiply_small)
        taken = turns.take(b)
        following_tile, located = found(following)

        def if_large(work: Work) -> None:
            exists = b.less(following, turns.count)
            is_large = b.both(exists, b.compare("eq", following_tile[0], 0))
            assert is_large is not None
            b.when(is_large, work)

        if_large(partial(large.plan.fetch_headers, b, located.headers, first))

        def fetch() -> None:
            large.prefetch(located.operands()).begin_values(first)

        store_large = partial(large.store, (row0, column0), None, partial(if_large, fetch))
        # beside a small tile's stores headers alone are fetched: with values, it measured slower
        by_size(store_large, lambda: small.store(small_origin()))
        carry = [turns.tell(b, taken, slot), b.value(b.xor(slot, 4)), *following_tile]
        return b.less(following, turns.count), carry + located.operands().flat()

    turn = b.id(tile.Id.CTA_X)
    own, located = found(turn)
    operands = located.operands()
    b.when(b.compare("eq", own[0], 0), partial(large.prefetch(operands).begin, first))
    start = [b.value(b.add(turn, turns.ctas)), b.value(0), *own, *operands.flat()]
    b.repeat(start, each)


def clear_tiles(b: KernelBuilder, schedule: ScheduleAttr) -> None:
    """Zeros in a warp's accumulation tiles."""
    wm, wn = schedule.warp_tile
    for t in range(wm * wn // TILE_M**2):
        b.builder.insert(tile.AccClearOp(t))


def always_wide(densities: tuple[float, float], window: int) -> bool:
    """Operands so dense that there is no loop for narrow tiles: no wait for what the rows have."""
    return all(surely_wide(density, window) for density in densities)


def surely_wide(density: float, window: int) -> bool:
    """Whether among many tiles with random zeros one has more than `NARROW_VALUES`."""
    return many_values(density, window, 3) > NARROW_VALUES
