"""What the cost of a dual-side product hangs on: popcounts of its operands. Not a pass.

In: two bitmaps (counted), or sizes and densities (expected, for zeros that are independent of each
other). Out: `Operands`: what each pair of 32-long strips keeps the tensor core busy with, and how
many bytes the tiles of a strip have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import comb, erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.layout import NARROW_VALUES, VALUE_ALIGN, ceil_div
from ..backend.isa.table import TILE_K, TILE_M
from ..runtime.formats import OHMMA_A, OHMMA_B, Bitmap

F64 = NDArray[np.float64]
Size2 = tuple[int, int]


_PIECE = VALUE_ALIGN // 2
"""Values of f16 in the unit by which a tile's values are aligned."""


@cache
def expected_chunks(density: float, chunk: int, window: int = 32) -> float:
    """Mean of ceil(nonzeros / chunk) for a vector of `window` independent elements."""
    return sum(
        comb(window, n) * density**n * (1 - density) ** (window - n) * ceil_div(n, chunk)
        for n in range(window + 1)
    )


@dataclass(frozen=True)
class Side:
    """One operand: strips of a window's vectors along M or N, cut into tiles of 16 along K.

    `pieces`: 16-byte pieces of values of a tile, `sectors`: 32-byte sectors that a load of them
    touches, both means over all tiles. `occupied`: share of tiles with non-zeros, `density` of
    non-zeros in the operand. `loads`: tiles that a 128-bit load a lane finds values for, by its
    number within the tile, `wide`: strips with a tile that the first load does not bring all of;
    both shares.
    """

    strips: int
    pieces: float
    sectors: float
    occupied: float
    density: float
    loads: tuple[float, ...]
    wide: float


@dataclass(frozen=True)
class Operands:
    """A (M x K) and B (K x N): their sides, K in tiles of 16, and tensor cycles.

    `busy[swap]`: (strips of A, strips of B) OHMMAs over all of K, where a step that has none counts
    as `empty`.
    """

    sides: tuple[Side, Side]
    k_tiles: int
    busy: tuple[F64, F64]
    both: F64
    """(strips of A, strips of B): steps along K at which both tiles have non-zeros."""
    _of_warps: dict[tuple[object, ...], F64] = field(
        default_factory=dict[tuple[object, ...], F64], compare=False, repr=False
    )

    def by_warp(self, swap: bool, grid: Size2, cta: Size2, warp: Size2, window: int) -> F64:
        """`busy[swap]` of the tiles of each warp: (CTAs, warps of a CTA); summed up once."""
        key = swap, cta, warp
        if key not in self._of_warps:
            self._of_warps[key] = _by_warp(self.busy[swap], grid, cta, warp, window)
        return self._of_warps[key]

    @staticmethod
    def counted(a: Bitmap, b: Bitmap, empty: float = 1.0) -> Operands:
        """From the popcounts of two encoded operands."""
        occupied = [(_tile_counts(x) > 0).astype(np.float32) for x in (a, b)]
        both = (occupied[0] @ occupied[1].T).astype(np.float64)
        chunks = [_chunks(a, b), _chunks(a, b, swap=True)]
        busy = [
            _with_empty((x @ y.T).astype(np.float64), both, a.layout.k_tiles, empty)
            for x, y in chunks
        ]
        sides = [_counted_side(x) for x in (a, b)]
        return Operands((sides[0], sides[1]), a.layout.k_tiles, (busy[0], busy[1]), both)

    @staticmethod
    @lru_cache(maxsize=64)
    def expected(
        sizes: tuple[int, int, int],
        densities: tuple[float, float],
        empty: float = 1.0,
        window: int = TILE_M,
    ) -> Operands:
        """From sizes M, N, K and the shares of non-zeros; vectors condense over `window`."""
        m, n, k = sizes
        tiles = ceil_div(k, TILE_K)
        extents = [_strip_extents(size, window) for size in (m, n)]
        sides = [
            _expected_side(rows, k, density, window)
            for rows, density in zip(extents, densities, strict=True)
        ]
        busy: list[F64] = []
        full = [
            _by_strip(rows, lambda r, d=d: 1 - (1 - d) ** (r * min(k, TILE_K)))
            for rows, d in zip(extents, densities, strict=True)
        ]
        both = tiles * np.outer(*full)
        for chunk in ((OHMMA_A, OHMMA_B), (OHMMA_B, OHMMA_A)):
            means = [
                _by_strip(rows, lambda r, d=d, c=c: expected_chunks(d, c, r))
                for rows, d, c in zip(extents, densities, chunk, strict=True)
            ]
            busy.append(_with_empty(k * np.outer(*means), both, tiles, empty))
        return Operands((sides[0], sides[1]), tiles, (busy[0], busy[1]), both)


def _by_warp(strips: F64, grid: Size2, cta: Size2, warp: Size2, window: int) -> F64:
    """Sums over the tiles of each warp: (CTAs, warps); the last strip stands for those beyond."""
    (gy, gx), (cm, cn), (wm, wn) = grid, cta, warp
    rows = np.minimum(np.arange(gy * cm // window), strips.shape[0] - 1)
    columns = np.minimum(np.arange(gx * cn // window), strips.shape[1] - 1)
    full = strips[np.ix_(rows, columns)]
    by_warp = full.reshape(gy, cm // wm, wm // window, gx, cn // wn, wn // window).sum((2, 5))
    return by_warp.transpose(0, 2, 1, 3).reshape(gy * gx, -1)


def _with_empty(ohmmas: F64, both: F64, k_tiles: int, empty: float) -> F64:
    """Tensor cycles of strips: steps with fewer OHMMAs, or without any, take `empty`.

    `both`: steps in which both tiles have non-zeros; of them, as many are empty as if OHMMAs fell
    on steps at random.
    """
    mean = ohmmas / np.maximum(both, 1e-9)
    short = np.maximum(0.0, empty - mean) + np.minimum(mean, empty) * np.exp(-mean.clip(0, 50))
    return ohmmas + empty * (k_tiles - both) + both * short


def _tile_counts(x: Bitmap) -> NDArray[np.int64]:
    """Non-zeros of each tile: (strips, k_tiles)."""
    return x.tile_counts()


def _chunks(a: Bitmap, b: Bitmap, *, swap: bool = False) -> tuple[F64, F64]:
    """ceil(popcount / what an OHMMA takes) of each vector, f32: (strips, K)."""
    takes = (OHMMA_B, OHMMA_A) if swap else (OHMMA_A, OHMMA_B)
    found = [(-(-x.counts() // t)).astype(np.float32) for x, t in zip((a, b), takes, strict=True)]
    return found[0], found[1]  # type: ignore[return-value]


def _counted_side(x: Bitmap) -> Side:
    counts, window = _tile_counts(x), x.layout.window
    pieces = -(-counts // _PIECE)
    occupied, full = counts > 0, window * TILE_K
    return Side(
        len(counts),
        float(pieces.mean()),
        float(np.where(occupied, (pieces + 1) / 2, 0).mean()),
        float(occupied.mean()),
        float(counts.sum()) / (x.layout.vectors * x.layout.depth),
        tuple(float((counts > least).mean()) for least in range(0, full, NARROW_VALUES)),
        float((counts > NARROW_VALUES).any(axis=1).mean()),
    )


def _expected_side(extents: tuple[int, int, int], k: int, density: float, window: int) -> Side:
    """The side of strips of `extents`, k deep."""
    strips, rows, last = extents
    tiles = ceil_div(k, TILE_K)
    depth = k / tiles  # mean depth of a tile
    values = density * depth * ((strips - 1) * rows + last) / strips
    filled = 1 - (1 - density) ** (rows * depth)
    pieces = 0.0 if density == 0 else values / _PIECE + (0.5 * filled if density < 1 else 0)
    most = rows * min(k, TILE_K)
    spread = sqrt(2 * most * density * (1 - density)) or 1e-3
    beyond = [
        erfc((least + 0.5 - most * density) / spread) / 2
        for least in range(0, window * TILE_K, NARROW_VALUES)
    ]
    wide = 1 - (1 - min(beyond[1], 1.0)) ** tiles
    return Side(strips, pieces, (pieces + filled) / 2, filled, density, (filled, *beyond[1:]), wide)


def _strip_extents(size: int, window: int) -> tuple[int, int, int]:
    """(strips, vectors of each but the last, vectors of the last)."""
    strips = ceil_div(size, window)
    return strips, window if strips > 1 else size, size - (strips - 1) * window


def _by_strip(extents: tuple[int, int, int], value: Callable[[int], float]) -> F64:
    """`value` of the vectors of each strip."""
    strips, rows, last = extents
    found = np.full(strips, value(rows))
    found[-1] = value(last)
    return found
