"""The dual-side kernel's result as the bitmap operand of the next product. Not a pass.

In: a product's `Epilogue`, a warp's accumulation tiles. Out: reads of 16 depths a lane (columns of
its row for side a, rows of its column for side b), the epilogue's arithmetic, encoded tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.ir import SSAValue

from ..backend.isa.layout import BitmapLayout
from ..backend.isa.table import TILE_K, TILE_M, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, MatmulOp, ScheduleAttr, Side
from .encode_tile import store_tile
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_store import PART, read_part
from .matmul_epilogue import Epilogue


def lanes_are_rows(op: MatmulOp) -> bool:
    """Lanes take rows of the accumulation tiles: where the result is encoded for side a."""
    return isinstance(op.result.type, BitmapType) and op.result.type.side.data == Side.A


def encode_tiles(
    b: KernelBuilder,
    epilogue: Epilogue,
    schedule: ScheduleAttr,
    origin: tuple[Value, Value],
    sums: Sequence[SSAValue] | None = None,
    halfway: Callable[[], None] | None = None,
) -> None:
    """As `store_tiles`, for a bitmap result, whose memory must be zero at launch."""
    assert isinstance(epilogue.op.result.type, BitmapType)
    layout = epilogue.op.result.type.layout
    encoder = _Encoder(b, epilogue, schedule, layout, sums)
    along_lanes, along_depth = encoder.axes
    tile_vectors, tile_depths = (schedule.warp_tile[axis] for axis in encoder.axes)
    if halfway is not None:
        halfway()
    for v in range(0, tile_vectors, layout.window):
        vectors = [
            encoder.vector(v + i, b.add(b.add(origin[along_lanes], v + i), b.lane))
            for i in range(0, layout.window, WARP_SIZE)
        ]
        v_tile = b.div(b.add(origin[along_lanes], v), layout.window)
        for d in range(0, tile_depths, TILE_K):
            depth = b.add(origin[along_depth], d)
            k_tile = b.div(depth, TILE_K)
            # a block for each tile: comparisons are made anew in it, so that few are live
            exists = b.both(b.less(k_tile, layout.k_tiles), b.less(v_tile, layout.v_tiles))
            assert exists is not None
            b.when(exists, partial(encoder.put, vectors, d, depth, (v_tile, k_tile)))


@dataclass(frozen=True)
class _Vector:
    """What a lane takes of one 32x32 block: its row or column."""

    first: int
    """Of the block, within the warp's tile."""
    index: Value
    exists: SSAValue
    bias: SSAValue | None
    """If it goes along M or N, as the lanes do."""


@dataclass(frozen=True)
class _Encoder:
    """Emits one tile of the encoded result after the other."""

    b: KernelBuilder
    epilogue: Epilogue
    schedule: ScheduleAttr
    layout: BitmapLayout
    sums: Sequence[SSAValue] | None

    @property
    def rows(self) -> bool:
        return lanes_are_rows(self.epilogue.op)

    @property
    def axes(self) -> tuple[int, int]:
        """Axes of the result along which lanes and depths lie: 0 for M, 1 for N."""
        return (0, 1) if self.rows else (1, 0)

    @property
    def bias_axis(self) -> int | None:
        along = self.epilogue.op.bias_along
        return None if along is None else "mn".index(along.data)

    def vector(self, first: int, index: Value) -> _Vector:
        """The lane's row or column, number `index` of the result."""
        own = self.epilogue.bias(index, index) if self.bias_axis == self.axes[0] else None
        return _Vector(first, index, self.b.less(index, self.layout.vectors), own)

    def put(
        self, vectors: Sequence[_Vector], d: int, depth: Value, place: tuple[Value, Value]
    ) -> None:
        """Encode a tile; `d` is where it begins along the depth, within the warp's tile."""
        biases: Sequence[SSAValue | None] = [None] * TILE_K
        if self.bias_axis == self.axes[1]:
            biases = self.epilogue.bias_run(depth, TILE_K)
        found = [self._halves(vector, d, depth, biases) for vector in vectors]
        store_tile(self.b, self.layout, self.b.params["c"], place, found, None)

    def _halves(
        self, vector: _Vector, d: int, depth: Value, biases: Sequence[SSAValue | None]
    ) -> list[SSAValue]:
        """16 finished elements of a vector, f16 in the low half of a word; 0 beyond the result."""
        b, halves = self.b, list[SSAValue]()
        residuals = self._residuals(vector.index, depth)
        for r, value in enumerate(self._values(vector.first, d)):
            bias = vector.bias if vector.bias is not None else biases[r]
            finished = self.epilogue.finish(value, bias, residuals[r])
            half = b.insert(tile.PackOp(finished, b.float(0.0)))
            inside = b.both(b.less(b.add(depth, r), self.layout.depth), vector.exists)
            assert inside is not None
            halves.append(b.select(inside, half, 0))
        return halves

    def _values(self, first: int, d: int) -> list[SSAValue]:
        """16 accumulators of each lane's row or column."""
        block = first // TILE_M, d // TILE_M
        t = self.schedule.accumulator_tile(*(block if self.rows else block[::-1]))
        transposed = self.rows != self.schedule.swapped
        part = d % TILE_M // PART
        return [
            value
            for i in range(TILE_K // PART)
            for value in read_part(self.b, t, part + i, self.sums, transposed=transposed)
        ]

    def _residuals(self, index: Value, depth: Value) -> list[SSAValue | None]:
        if self.rows:
            return self.epilogue.residuals(index, depth, TILE_K)
        rows = [self.b.add(depth, r) for r in range(TILE_K)]
        return [x for row in rows for x in self.epilogue.residuals(row, index)]
