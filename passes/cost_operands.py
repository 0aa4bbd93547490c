"""What the cost of a dual-side product hangs on: popcounts of its operands. Not a pass.

In: two bitmaps or their popcounts (counted), or sizes and densities (expected, for zeros that are
independent of each other), or one of each. Out: `Operands`: what each pair of strips keeps the
tensor core busy with, and how many bytes the tiles of a strip have.
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
from ..runtime.formats import OHMMA_A, OHMMA_B, Bitmap, Counts

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
        return _combined((_counted(a, 0), _counted(b, 1)), a.layout.depth, empty)

    @staticmethod
    def partly(
        counts: tuple[Counts | None, Counts | None],
        sizes: tuple[int, int, int],
        densities: tuple[float, float],
        empty: float = 1.0,
        window: int = TILE_M,
    ) -> Operands:
        """From the popcounts of the operands that are known, as `expected` of the others."""
        m, n, k = sizes
        known = zip(counts, (m, n), densities, strict=True)
        a, b = (
            _expected(size, k, density, window, which) if found is None else _counted(found, which)
            for which, (found, size, density) in enumerate(known)
        )
        return _combined((a, b), k, empty)

    @staticmethod
    @lru_cache(maxsize=64)
    def expected(
        sizes: tuple[int, int, int],
        densities: tuple[float, float],
        empty: float = 1.0,
        window: int = TILE_M,
    ) -> Operands:
        """From sizes M, N, K and the shares of non-zeros; vectors condense over `window`."""
        return Operands.partly((None, None), sizes, densities, empty, window)


@dataclass(frozen=True)
class _Vectors:
    """One operand: OHMMAs' worth of its vectors, each k's or, in one column, what every k has.

    `chunks[swap]`: (strips, K or 1); `occupied`: tiles with non-zeros, (strips, tiles along K or
    1).
    """

    side: Side
    chunks: tuple[F64, F64]
    occupied: F64


_TAKES = (OHMMA_A, OHMMA_B), (OHMMA_B, OHMMA_A)
"""By `swap`: values of A, of B that an OHMMA takes."""


def _counted(x: Bitmap | Counts, which: int) -> _Vectors:
    counts = x.counts()
    one, other = ((-(-counts // takes[which])).astype(np.float32) for takes in _TAKES)
    return _Vectors(_counted_side(x), (one, other), (x.tile_counts() > 0).astype(np.float32))  # type: ignore[arg-type]


def _expected(size: int, k: int, density: float, window: int, which: int) -> _Vectors:
    extents = _strip_extents(size, window)
    one, other = (
        _by_strip(extents, lambda r, c=takes[which]: expected_chunks(density, c, r))[:, None]
        for takes in _TAKES
    )
    full = _by_strip(extents, lambda r: 1 - (1 - density) ** (r * min(k, TILE_K)))
    return _Vectors(_expected_side(extents, k, density, window), (one, other), full[:, None])


def _combined(sides: tuple[_Vectors, _Vectors], k: int, empty: float) -> Operands:
    a, b = sides
    tiles = ceil_div(k, TILE_K)
    both = _sums(a.occupied, b.occupied, tiles)
    first, second = (
        _with_empty(_sums(x, y, k), both, tiles, empty)
        for x, y in zip(a.chunks, b.chunks, strict=True)
    )
    return Operands((a.side, b.side), tiles, (first, second), both)


def _sums(x: F64, y: F64, count: int) -> F64:
    """Of the products of each strip of `x` with each of `y`, over `count` columns."""
    if x.shape[1] == y.shape[1]:
        found: F64 = np.asarray(x @ y.T, np.float64)
        if x.shape[1] == 1:
            found *= count
        return found
    rows: F64 = np.asarray(x.sum(axis=1), np.float64)
    columns: F64 = np.asarray(y.sum(axis=1), np.float64)
    return np.outer(rows, columns)


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


def _counted_side(x: Bitmap | Counts) -> Side:
    counts, window = x.tile_counts(), x.layout.window
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
