"""The dual-side kernel of `dstc.matmul`: outer products of bitmap operands on SPWMMA. Not a pass.

In: a `dstc.matmul` with a dual schedule and bitmap operands (`BitmapLayout`). Out: a
`dstc_tile.kernel`. Each warp keeps its output tile in the accumulation buffer and walks along K;
operand tiles go from memory straight to registers, `stages` - 1 steps ahead, headers twice as far.
A tile is loaded only if the other side has a non-zero at this step; an empty step costs no tensor
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import BitmapLayout, ceil_div
from ..backend.isa.table import TILE_K, TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, MatmulOp, ScheduleAttr
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_store import read_tiles, store_tiles
from .matmul_encode import encode_tiles, lanes_are_rows
from .matmul_epilogue import Epilogue
from .matmul_split import SHARED_BYTES, Split
from .matmul_staging import STEP_K

_HEADER = VectorType(i32, [2])


@dataclass
class _Stage:
    """Registers of one step: for each operand tile, its values and its bitmap."""

    values: list[SSAValue]
    bitmaps: list[SSAValue]


@dataclass
class _Pipeline:
    """What is in flight: stages being loaded, and headers of the steps after them; oldest first."""

    stages: list[_Stage]
    headers: list[list[SSAValue]]

    def flat(self) -> list[SSAValue]:
        values = [v for stage in self.stages for v in (*stage.values, *stage.bitmaps)]
        return values + [v for headers in self.headers for v in headers]

    def like(self, flat: Sequence[SSAValue]) -> _Pipeline:
        """A pipeline of the same shape with other values."""
        items = iter(flat)
        stages = [
            _Stage([next(items) for _ in s.values], [next(items) for _ in s.bitmaps])
            for s in self.stages
        ]
        return _Pipeline(stages, [[next(items) for _ in h] for h in self.headers])


@dataclass(frozen=True)
class _Step:
    """A step along K: `later` steps after the loop's counter, or after the first step."""

    counter: SSAValue | None
    later: int

    def after(self, steps: int) -> _Step:
        return _Step(self.counter, self.later + steps)

    def address(self, b: KernelBuilder, start: Value, stride: int) -> Value:
        """Address at the counter, from that at step 0; the rest is the access's offset."""
        return start if self.counter is None else b.mad(self.counter, stride, start)


class _Operands:
    """Addresses and loads of a warp's operand tiles: first those along M, then those along N."""

    def __init__(
        self,
        b: KernelBuilder,
        layouts: tuple[BitmapLayout, BitmapLayout],
        first_tiles: tuple[Value, Value],
        counts: tuple[int, int],
        first_k_tile: Value,
    ):
        self.b = b
        self.counts = counts
        self.headers: list[Value] = []
        self.bitmaps: list[Value] = []
        self.values: list[Value] = []
        for which, name in enumerate(("a", "b")):
            layout, base = layouts[which], b.params[name]
            for i in range(counts[which]):
                v_tile = b.min_(b.add(first_tiles[which], i), layout.v_tiles - 1)
                index = b.mad(v_tile, layout.k_tiles, first_k_tile)
                self.headers.append(b.mad(index, 8, b.add(base, layout.headers_offset)))
                lane_base = b.mad(b.lane, 4, b.add(base, layout.bitmaps_offset))
                self.bitmaps.append(b.mad(index, TILE_K * 4, lane_base))
                self.values.append(b.mad(b.lane, 16, b.add(base, layout.values_offset)))
        self.word_lane = b.less(b.lane, TILE_K)

    def load_headers(self, step: _Step) -> list[SSAValue]:
        """(offset, count) of each tile."""
        return [
            self.b.load(
                tile.Space.GLOBAL,
                step.address(self.b, h, 8),
                _HEADER,
                offset=step.later * 8,
                hint="header",
            )
            for h in self.headers
        ]

    def fetch(self, step: _Step, headers: list[SSAValue]) -> _Stage:
        """The operands of a step; values only of tiles that meet a non-empty one."""
        b = self.b
        m = self.counts[0]
        counts = [b.extract(h, 1) for h in headers]
        others = [self._any(counts[m:]), self._any(counts[:m])]
        values: list[SSAValue] = []
        bitmaps: list[SSAValue] = []
        for i, header in enumerate(headers):
            wanted = b.compare("ne", others[i >= m], 0)
            count = b.select(wanted, counts[i], 0)
            address = b.value(b.add(self.values[i], b.extract(header, 0)))
            values.append(b.insert(tile.LoadValuesOp(address, count), "values"))
            bitmap = tile.LoadOp(
                tile.Space.GLOBAL,
                b.value(step.address(b, self.bitmaps[i], TILE_K * 4)),
                i32,
                offset=step.later * TILE_K * 4,
                predicate=self.word_lane,
            )
            bitmaps.append(b.insert(bitmap, "bitmap"))
        return _Stage(values, bitmaps)

    def _any(self, counts: Sequence[SSAValue]) -> Value:
        total: Value = counts[0]
        for c in counts[1:]:
            total = self.b.or_(total, c)
        return total


def dual_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M, z over the parts of K."""
    m, n, k = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    rows, columns = wm // TILE_M, wn // TILE_M
    split = Split.of(k, schedule)
    grid = (ceil_div(n, cn), ceil_div(m, cm), split.parts)
    shared = SHARED_BYTES if split.parts > 1 else 0
    b = KernelBuilder(name, params, grid, warps=schedule.warps, shared=shared, acc=rows * columns)
    part = b.id(tile.Id.CTA_Z) if split.parts > 1 else 0
    k_tiles = split.steps * STEP_K // TILE_K
    columns_of_warps = cn // wn
    row0 = b.mad(b.id(tile.Id.CTA_Y), cm, b.mul(b.div(b.warp, columns_of_warps), wm), "row0")
    column0 = b.mad(b.id(tile.Id.CTA_X), cn, b.mul(b.rem(b.warp, columns_of_warps), wn), "column0")
    assert isinstance(op.lhs.type, BitmapType) and isinstance(op.rhs.type, BitmapType)
    operands = _Operands(
        b,
        (op.lhs.type.layout, op.rhs.type.layout),
        (b.div(row0, TILE_M), b.div(column0, TILE_M)),
        (rows, columns),
        b.mul(part, k_tiles),
    )
    for t in range(rows * columns):
        b.builder.insert(tile.AccClearOp(t))
    last_k_tiles = ceil_div(k, TILE_K) - (split.parts - 1) * k_tiles

    def main_loop(length: int) -> None:
        _main_loop(b, operands, (rows, columns), schedule, length)

    split.each(b, part, (k_tiles, last_k_tiles), main_loop)
    blocks, origin, swapped = (rows, columns), (row0, column0), schedule.swapped
    put = encode_tiles if isinstance(op.result.type, BitmapType) else store_tiles

    def store(sums: Sequence[SSAValue] | None) -> None:
        put(b, Epilogue(b, op), blocks, origin, swapped, sums)

    if split.parts == 1:
        store(None)
    else:
        transposed = swapped != lanes_are_rows(op)
        split.finish(b, schedule, part, read_tiles(b, blocks, transposed), store)
    return b.finish()


def _main_loop(
    b: KernelBuilder,
    operands: _Operands,
    blocks: tuple[int, int],
    schedule: ScheduleAttr,
    k_tiles: int,
) -> None:
    rows, columns = blocks
    depth = schedule.stages.value.data
    ahead = depth - 1

    def multiply(stage: _Stage) -> None:
        for i in range(rows):
            for j in range(columns):
                pair = [(stage.values[k], stage.bitmaps[k]) for k in (i, rows + j)]
                if schedule.swapped:
                    pair.reverse()
                (av, am), (bv, bm) = pair
                b.builder.insert(tile.SpwmmaOp(i * columns + j, av, am, bv, bm))

    def fetch(pipe: _Pipeline, step: _Step, *, headers: bool) -> None:
        """Start loading the operands of `step`, whose headers are there, and headers far ahead."""
        pipe.stages.append(operands.fetch(step, pipe.headers.pop(0)))
        if headers:
            pipe.headers.append(operands.load_headers(step.after(ahead)))

    def fetch_known(pipe: _Pipeline, step: int) -> None:
        """The same outside the loop, up to the end of K."""
        if step < k_tiles:
            fetch(pipe, _Step(None, step), headers=step + ahead < k_tiles)

    known = [_Step(None, s) for s in range(min(ahead, k_tiles))]
    pipe = _Pipeline([], [operands.load_headers(step) for step in known])
    for s in range(ahead):
        fetch_known(pipe, s)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        inner = pipe.like(carried)
        for s in range(depth):
            multiply(inner.stages.pop(0))
            fetch(inner, _Step(counter, s + ahead), headers=True)
        return inner.flat()

    # The loop runs whole turns of `depth` steps, as long as all that they load exists; the last
    # steps, which load less and less, come after it.
    looped = max(0, k_tiles - 2 * ahead) // depth * depth
    if looped:
        pipe = pipe.like(b.loop(0, looped, depth, pipe.flat(), body))
    for step in range(looped, k_tiles):
        multiply(pipe.stages.pop(0))
        fetch_known(pipe, step + ahead)
