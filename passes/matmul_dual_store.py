"""The dual-side kernel's stores: from the accumulation buffer to the result. Not a pass.

In: a product's `Epilogue` and where a warp's accumulation tiles belong. Out: their reads, the
epilogue's arithmetic and the stores, a row at a time, one element a lane. Stores to one line of 128
bytes follow each other: so L2 hands DRAM whole lines, and the stores go at the rate of DRAM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.ir import SSAValue

from ..backend.isa.table import TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc import ScheduleAttr
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue, Unit, run_ahead

PART = 8
"""Rows of an accumulation tile that one read gives a lane; columns if it is transposed."""
PARTS = TILE_M // PART
_LINE_BYTES = 128
_AHEAD = 2
"""Units whose loads are under way while one is stored."""


def store_tiles(
    b: KernelBuilder,
    epilogue: Epilogue,
    schedule: ScheduleAttr,
    origin: tuple[Value, Value],
    sums: Sequence[SSAValue] | None = None,
    halfway: Callable[[], None] | None = None,
) -> None:
    """Store a warp's accumulation tiles, which lie as `schedule` says.

    `origin`: (row, column) of the first element. `sums`: what is stored instead of the buffer's
    contents, as `read_tiles` gives it. `halfway` is called when half of them are stored.
    """
    blocks = blocks_of(schedule)
    tiles = _Tiles(b, epilogue, schedule, origin, sums)
    along_m, along_n = (tiles.bias_along == which for which in "mn")
    columns = [epilogue.column(b.add(tiles.line(1, j), b.lane)) for j in range(blocks[1])]
    starts = [b.add(epilogue.column_offset(column), b.params["c"]) for column in columns]
    # a row's comparison is made anew for each column's, so that few predicates are live
    ragged = tiles.reaches_beyond(0)
    insides = [
        b.less(column, epilogue.op.sizes[1]) if ragged or tiles.reaches_beyond(1) else None
        for column in columns
    ]
    of_column = [epilogue.bias(0, column) if along_n else None for column in columns]

    def load(line: range, first: Value) -> list[SSAValue | None]:
        """Biases of the rows, then the residuals of each tile of the line."""
        biases = [*epilogue.bias_run(first, PART)] if along_m else [None] * PART
        rows = [b.add(first, r) for r in range(PART)]
        return biases + [
            v for j in line for row in rows for v in epilogue.residuals(row, columns[j])
        ]

    def store(
        place: tuple[int, int], line: range, first: Value, loaded: Sequence[SSAValue | None]
    ) -> None:
        i, part = place
        inside = [
            b.less(b.add(first, r), epilogue.op.sizes[0]) if ragged else None for r in range(PART)
        ]
        for at, j in enumerate(line, 1):
            start = b.mad(first, epilogue.row_stride, starts[j])
            for r, value in enumerate(tiles.read(i, j, part)):
                bias = of_column[j] if along_n else loaded[r]
                epilogue.store(
                    [epilogue.finish(value, bias, loaded[PART * at + r])],
                    start,
                    offset=r * epilogue.row_stride,
                    predicate=b.both(insides[j], inside[r]),
                )

    units: list[Unit] = []
    step = _LINE_BYTES // (TILE_M * epilogue.out.element_bytes)
    if epilogue.residual is not None:
        step = blocks[1]  # the rows' places in the residual are worked out once, and not kept
    for j in range(0, blocks[1], step):
        line = range(j, min(j + step, blocks[1]))
        for place in ((i, part) for i in range(blocks[0]) for part in range(PARTS)):
            first = b.add(tiles.line(0, place[0]), PART * place[1])
            units.append(Unit(partial(load, line, first), partial(store, place, line, first)))
    half = len(units) // 2
    run_ahead(units[:half], _AHEAD)
    if halfway is not None:
        halfway()
    run_ahead(units[half:], _AHEAD)


def blocks_of(schedule: ScheduleAttr) -> tuple[int, int]:
    """Rows and columns of a warp's accumulation tiles."""
    wm, wn = schedule.warp_tile
    return wm // TILE_M, wn // TILE_M


def read_tiles(b: KernelBuilder, schedule: ScheduleAttr, transposed: bool) -> list[SSAValue]:
    """The whole of a warp's tiles, 8 rows a vector (`transposed`: columns of the buffer's)."""
    rows, columns = blocks_of(schedule)
    return [
        b.insert(tile.AccReadOp(t, part, transposed=transposed))
        for t in range(rows * columns)
        for part in range(PARTS)
    ]


def read_part(
    b: KernelBuilder, t: int, part: int, sums: Sequence[SSAValue] | None, *, transposed: bool
) -> list[SSAValue]:
    """What one read of tile `t` gives a lane, or what `sums`, as of `read_tiles`, has instead."""
    if sums is None:
        vector = b.insert(tile.AccReadOp(t, part, transposed=transposed))
    else:
        vector = sums[t * PARTS + part]
    return [b.extract(vector, e) for e in range(PART)]


@dataclass(frozen=True)
class _Tiles:
    """A warp's accumulation tiles and their place in the result."""

    b: KernelBuilder
    epilogue: Epilogue
    schedule: ScheduleAttr
    origin: tuple[Value, Value]
    sums: Sequence[SSAValue] | None

    def read(self, i: int, j: int, part: int) -> list[SSAValue]:
        """8 rows of tile (i, j), from 8 * part on; lanes are columns."""
        t = self.schedule.accumulator_tile(i, j)
        return read_part(self.b, t, part, self.sums, transposed=self.schedule.swapped)

    def line(self, axis: int, block: int) -> Value:
        """First row (axis 0) or column (axis 1) of a block of tiles."""
        return self.b.add(self.origin[axis], TILE_M * block)

    def reaches_beyond(self, axis: int) -> bool:
        """Some CTA's tile has rows (axis 0) or columns (axis 1) that the result has not."""
        op = self.epilogue.op
        assert op.schedule is not None
        if axis == 1 and self.epilogue.encoded_image is not None:
            return True
        return op.sizes[axis] % op.schedule.cta_tile[axis] != 0

    @property
    def bias_along(self) -> str | None:
        """m, n, or no bias."""
        along = self.epilogue.op.bias_along
        return None if along is None else along.data
