"""The dual-side kernel's result as the bitmap operand of the next product. Not a pass.

In: a product's `Epilogue`, a warp's accumulation tiles. Out: reads of 16 depths a lane (columns of
its row for side a, rows of its column for side b), the epilogue's arithmetic, encoded tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from ..backend.isa.table import TILE_K, TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, MatmulOp, Side
from .encode_tile import store_tile
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue

_PART = 8
"""Depths that one read of an accumulation tile gives a lane."""
_READS = TILE_K // _PART
_PARTS = TILE_M // _PART


def lanes_are_rows(op: MatmulOp) -> bool:
    """Lanes take rows of the accumulation tiles: where the result is encoded for side a."""
    return isinstance(op.result.type, BitmapType) and op.result.type.side.data == Side.A


def encode_tiles(
    b: KernelBuilder,
    epilogue: Epilogue,
    blocks: tuple[int, int],
    origin: tuple[Value, Value],
    swapped: bool,
    sums: Sequence[SSAValue] | None = None,
) -> None:
    """As `store_tiles`, for a bitmap result, whose memory must be zero at launch."""
    op = epilogue.op
    assert isinstance(op.result.type, BitmapType)
    layout = op.result.type.layout
    rows = lanes_are_rows(op)
    lane_axis, depth_axis = (0, 1) if rows else (1, 0)
    along = None if op.bias_along is None else "mn".index(op.bias_along.data)
    for v in range(blocks[lane_axis]):
        first_vector = b.add(origin[lane_axis], TILE_M * v)
        vector = b.add(first_vector, b.lane)
        own = epilogue.bias(vector, vector) if along == lane_axis else None
        exists = b.less(vector, layout.vectors)
        v_tile = b.div(first_vector, TILE_M)
        for d in range(blocks[depth_axis] * TILE_M // TILE_K):
            depth = b.add(origin[depth_axis], TILE_K * d)
            k_tile = b.div(depth, TILE_K)

            def put(
                v: int = v,
                d: int = d,
                depth: Value = depth,
                k_tile: Value = k_tile,
                vector: Value = vector,
                v_tile: Value = v_tile,
                own: SSAValue | None = own,
                exists: SSAValue = exists,
            ) -> None:
                block, half = divmod(d, TILE_M // TILE_K)
                t = v * blocks[1] + block if rows else block * blocks[1] + v
                parts = range(_READS * half, _READS * (half + 1))
                vectors = [
                    b.insert(tile.AccReadOp(t, part, transposed=rows != swapped))
                    if sums is None
                    else sums[t * _PARTS + part]
                    for part in parts
                ]
                values = [b.extract(x, e) for x in vectors for e in range(_PART)]
                biases = [own] * TILE_K
                if along == depth_axis:
                    biases = [*epilogue.bias_run(depth, TILE_K)]
                if rows:
                    residuals = epilogue.residuals(vector, depth, TILE_K)
                else:
                    residuals = [
                        x
                        for r in range(TILE_K)
                        for x in epilogue.residuals(b.add(depth, r), vector)
                    ]
                found: list[SSAValue] = []
                for r, value in enumerate(values):
                    finished = epilogue.finish(value, biases[r], residuals[r])
                    half_word = b.insert(tile.PackOp(finished, b.float(0.0)))
                    inside = b.both(b.less(b.add(depth, r), layout.depth), exists)
                    assert inside is not None
                    found.append(b.select(inside, half_word, 0))
                store_tile(b, layout, b.params["c"], (v_tile, k_tile), found, None)

            # a block for each tile: comparisons are made anew in it, so that few are live
            tile_exists = b.both(b.less(k_tile, layout.k_tiles), b.less(v_tile, layout.v_tiles))
            assert tile_exists is not None
            b.when(tile_exists, put)
