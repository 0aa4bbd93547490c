"""The dual-side kernel's stores: from the accumulation buffer to the result. Not a pass.

In: a product's `Epilogue` and where a warp's accumulation tiles belong. Out: their reads, the
epilogue's arithmetic and the stores.
"""

from __future__ import annotations

from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue

_PARTS = 4
"""Parts of 8 rows in which an accumulator tile is read."""


def store_tiles(
    b: KernelBuilder,
    epilogue: Epilogue,
    blocks: tuple[int, int],
    origin: tuple[Value, Value],
    swapped: bool,
) -> None:
    """Store a warp's `blocks` (rows, columns) of accumulation tiles.

    `origin`: (row, column) of the first element. `swapped`: the tiles lie transposed in the
    accumulation buffer.
    """
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
