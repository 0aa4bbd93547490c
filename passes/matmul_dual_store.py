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
from .matmul_epilogue import Epilogue

_PART = 8
"""Rows of an accumulation tile that one read gives."""
_PARTS = TILE_M // _PART
_LINE_BYTES = 128
_AHEAD = 2
"""Units whose loads are under way while one is stored."""


def store_tiles(
    b: KernelBuilder,
    epilogue: Epilogue,
    blocks: tuple[int, int],
    origin: tuple[Value, Value],
    schedule: ScheduleAttr,
) -> None:
    """Store a warp's `blocks` (rows, columns) of accumulation tiles.

    `origin`: (row, column) of the first element. `schedule`: says which accumulation tile is
    which, and whether they lie transposed.
    """
    tiles = _Tiles(b, epilogue, blocks, origin, schedule)
    along_m, along_n = (tiles.bias_along == which for which in "mn")
    columns = [b.add(tiles.line(1, j), b.lane) for j in range(blocks[1])]
    starts = [b.add(epilogue.column_offset(column), b.params["c"]) for column in columns]
    # a row's comparison is made anew for each column's, so that few predicates are live
    ragged = tiles.reaches_beyond(0)
    insides = [
        b.less(column, epilogue.op.sizes[1]) if ragged or tiles.reaches_beyond(1) else None
        for column in columns
    ]
    of_column = [epilogue.bias(0, column) if along_n else None for column in columns]

    def load(first: Value) -> list[SSAValue | None]:
        return [*epilogue.bias_run(first, _PART)] if along_m else [None] * _PART

    def store(
        place: tuple[int, int], line: range, first: Value, of_row: Sequence[SSAValue | None]
    ) -> None:
        i, part = place
        inside = [
            b.less(b.add(first, r), epilogue.op.sizes[0]) if ragged else None for r in range(_PART)
        ]
        for j in line:
            start = b.mad(first, epilogue.row_stride, starts[j])
            for r, value in enumerate(tiles.read(i, j, part)):
                epilogue.store(
                    [epilogue.finish(value, of_column[j] if along_n else of_row[r])],
                    start,
                    offset=r * epilogue.row_stride,
                    predicate=b.both(insides[j], inside[r]),
                )

    units: list[_Unit] = []
    step = _LINE_BYTES // (TILE_M * epilogue.out.element_bytes)
    for j in range(0, blocks[1], step):
        line = range(j, min(j + step, blocks[1]))
        for place in ((i, part) for i in range(blocks[0]) for part in range(_PARTS)):
            first = b.add(tiles.line(0, place[0]), _PART * place[1])
            units.append(_Unit(partial(load, first), partial(store, place, line, first)))
    _run_ahead(units)


@dataclass(frozen=True)
class _Tiles:
    """A warp's accumulation tiles and their place in the result."""

    b: KernelBuilder
    epilogue: Epilogue
    blocks: tuple[int, int]
    origin: tuple[Value, Value]
    schedule: ScheduleAttr

    def read(self, i: int, j: int, part: int) -> list[SSAValue]:
        """8 rows of tile (i, j), from 8 * part on; lanes are columns."""
        b = self.b
        number, transposed = self.schedule.accumulator_tile(i, j), self.schedule.swapped
        vector = b.insert(tile.AccReadOp(number, part, transposed=transposed))
        return [b.extract(vector, e) for e in range(_PART)]

    def line(self, axis: int, block: int) -> Value:
        """First row (axis 0) or column (axis 1) of a block of tiles."""
        return self.b.add(self.origin[axis], TILE_M * block)

    def reaches_beyond(self, axis: int) -> bool:
        """Some CTA's tile has rows (axis 0) or columns (axis 1) that the result has not."""
        op = self.epilogue.op
        assert op.schedule is not None
        return op.sizes[axis] % op.schedule.cta_tile[axis] != 0

    @property
    def bias_along(self) -> str | None:
        """m, n, or no bias."""
        along = self.epilogue.op.bias_along
        return None if along is None else along.data


@dataclass(frozen=True)
class _Unit:
    """Stores that belong together, and the loads that they need."""

    load: Callable[[], list[SSAValue | None]]
    store: Callable[[Sequence[SSAValue | None]], None]


def _run_ahead(units: Sequence[_Unit]) -> None:
    """Load and store every unit, loads some units ahead: no load passes a store later on."""
    loaded: list[list[SSAValue | None]] = []
    for at, unit in enumerate(units):
        loaded += [later.load() for later in units[len(loaded) : at + 1 + _AHEAD]]
        unit.store(loaded[at])
