"""Two-level bitmap operands on the host: encode, decode, device image, statistics.

In: f16 matrices. Out: `Bitmap`s whose bytes are exactly what `BitmapLayout` puts in device memory,
and back; counts of the products and OHMMAs that a pair of operands leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import (
    HEADER_SHIFT,
    MOST_ROW_BYTES,
    NARROW_VALUES,
    VALUE_ALIGN,
    WIDE,
    BitmapLayout,
)
from ..backend.isa.table import TILE_K, TILE_M, WINDOWS

F16 = NDArray[np.float16]
U32 = NDArray[np.uint32]
ALIGN_VALUES = VALUE_ALIGN // 2
OHMMA_A = 8
"""Condensed A values that one OHMMA takes (OHMMA.8161)."""
OHMMA_B = 16
"""Condensed B values that one OHMMA takes."""


@dataclass(eq=False)
class Bitmap:
    """A matrix operand in the two-level bitmap format; see `BitmapLayout` for the parts.

    side "a": the matrix is vectors x depth (M x K); "b": depth x vectors (K x N).
    warp_words: u32 (v_tiles, warp_words); starts: u32 (v_tiles,), byte offsets into the values and
    `layout.WIDE`; headers: u32 (v_tiles, header_stride), see `layout.tile_header`; bitmaps: u32
    (tiles, layout.bitmap_words); values: u16 bit patterns of f16, with their gaps.
    """

    layout: BitmapLayout
    side: str
    warp_words: U32
    starts: U32
    headers: U32
    bitmaps: U32
    values: NDArray[np.uint16]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Bitmap)
            and (self.layout, self.side) == (other.layout, other.side)
            and self.to_bytes() == other.to_bytes()
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        vectors, depth = self.layout.vectors, self.layout.depth
        return (vectors, depth) if self.side == "a" else (depth, vectors)

    @property
    def nonzeros(self) -> int:
        """Values that are not zero."""
        return int(self.tile_counts().sum())

    @property
    def density(self) -> float:
        """Non-zeros by elements."""
        return self.nonzeros / (self.layout.vectors * self.layout.depth)

    def to_bytes(self) -> bytes:
        """The device image: the parts at the layout's offsets, zero between them."""
        parts = (
            (0, self.warp_words),
            (self.layout.starts_offset, self.starts),
            (self.layout.headers_offset, self.headers),
            (self.layout.bitmaps_offset, self.bitmaps),
            (self.layout.values_offset, self.values),
        )
        image = bytearray(self.layout.values_offset + self.values.nbytes)
        for offset, part in parts:
            raw = part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes()
            image[offset : offset + len(raw)] = raw
        return bytes(image)

    @staticmethod
    def from_bytes(
        data: bytes, vectors: int, depth: int, side: str, window: int = TILE_M
    ) -> Bitmap:
        """Reads a device image, packed or in slots.

        Raises `DstcError` if it is too short or its parts contradict one another. What lies in a
        slot beyond the tile's values is not looked at.
        """
        layout = _layout(vectors, depth, side, window)
        if len(data) < layout.values_offset or len(data) % 2:
            raise DstcError(
                f"bitmap of {vectors} x {depth}: {len(data)} bytes, its values alone begin at "
                f"{layout.values_offset}; pass the whole buffer"
            )

        def words(offset: int, rows: int, columns: int) -> U32:
            part = np.frombuffer(data, "<u4", rows * columns, offset)
            return part.astype(np.uint32).reshape(rows, columns)

        values = np.frombuffer(data, "<u2", offset=layout.values_offset).astype(np.uint16)
        bitmap = Bitmap(
            layout,
            side,
            words(0, layout.v_tiles, layout.warp_words),
            words(layout.starts_offset, layout.v_tiles, 1)[:, 0],
            words(layout.headers_offset, layout.v_tiles, layout.header_stride),
            words(layout.bitmaps_offset, layout.tiles, layout.bitmap_words),
            values,
        )
        _check(bitmap)
        return bitmap

    def offsets(self) -> NDArray[np.int64]:
        """Byte offset into the values of each tile's: int64 (v_tiles, k_tiles)."""
        headers = self.headers[:, : self.layout.k_tiles].astype(np.int64)
        return (self.starts & ~np.uint32(WIDE)).astype(np.int64)[:, None] + (
            headers >> HEADER_SHIFT
        )

    def tile_counts(self) -> NDArray[np.int64]:
        """Non-zeros of each tile: int64 (v_tiles, k_tiles)."""
        counts = np.bitwise_count(self.bitmaps).sum(axis=1, dtype=np.int64)
        return counts.reshape(self.layout.v_tiles, self.layout.k_tiles)

    def counts(self) -> NDArray[np.int64]:
        """Non-zeros of each vector of the window's length: int64 (v_tiles, k_tiles * 16)."""
        at = self.layout
        ones = np.bitwise_count(self.bitmaps).astype(np.int64).reshape(at.tiles, -1, TILE_K)
        return ones.sum(axis=1).reshape(at.v_tiles, at.k_tiles * TILE_K)


def _layout(vectors: int, depth: int, side: str, window: int) -> BitmapLayout:
    if side not in ("a", "b"):
        raise DstcError(f"bitmap side must be 'a' or 'b', not {side!r}")
    if vectors < 1 or depth < 1:
        raise DstcError(f"a bitmap needs a non-empty matrix, not {vectors} x {depth}")
    if window not in WINDOWS:
        raise DstcError(f"a bitmap's window is 32 or 64 vectors, not {window}")
    return BitmapLayout(vectors, depth, window)


def _pack_bits(bits: NDArray[np.bool_]) -> U32:
    """(..., 32) bits to (...) words, bit i from position i."""
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return packed.view("<u4")[..., 0].astype(np.uint32)


def _warp_words(layout: BitmapLayout, occupied: NDArray[np.bool_]) -> U32:
    padded = np.zeros((layout.v_tiles, layout.warp_words * 32), np.bool_)
    padded[:, : layout.k_tiles] = occupied.reshape(layout.v_tiles, layout.k_tiles)
    return _pack_bits(padded.reshape(layout.v_tiles, layout.warp_words, 32))


def _value_index(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index into the values of each non-zero, tile by tile."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def encode(
    matrix: NDArray[np.floating], side: str, slots: bool = False, window: int = TILE_M
) -> Bitmap:
    """Encodes a 2-D f16 matrix: M x K for side "a", K x N for "b".

    Values are packed tile after tile, or with `slots` in one slot a tile. `window`: vectors that
    condense together, 32 or 64. -0 counts as
    zero, NaN and infinity as non-zero. `DstcError` for another dtype or rank or an empty matrix.
    """
    if matrix.ndim != 2 or matrix.dtype != np.float16:
        raise DstcError(
            f"only a 2-D f16 matrix can be encoded, not {matrix.dtype} of shape {matrix.shape}"
        )
    by_vector = matrix if side == "a" else matrix.T
    layout = _layout(by_vector.shape[0], by_vector.shape[1], side, window)
    tiles = _to_tiles(by_vector.view(np.uint16), layout)
    occupied = (tiles & np.uint16(0x7FFF)) != 0
    counts = np.count_nonzero(occupied.reshape(layout.tiles, -1), axis=1).astype(np.int64)
    if slots:
        sizes = np.full(layout.tiles, layout.tile_bytes // 2, np.int64)
    else:
        sizes = -(-counts // ALIGN_VALUES) * ALIGN_VALUES
    ends = np.cumsum(sizes)
    if layout.values_offset + 2 * int(ends[-1]) >= 1 << 32:
        raise DstcError(f"a bitmap of {layout.vectors} x {layout.depth} does not fit 4 GiB")
    starts = ends - sizes
    values = np.zeros(int(ends[-1]), np.uint16)
    values[_value_index(starts, counts)] = tiles[occupied]
    rows = 2 * starts.reshape(layout.v_tiles, layout.k_tiles)
    if int((rows[:, -1] - rows[:, 0]).max()) >= MOST_ROW_BYTES:
        raise DstcError(
            f"a bitmap of {layout.vectors} x {layout.depth}: the values of a row of tiles take "
            f"more than {MOST_ROW_BYTES} bytes; split the depth"
        )
    wide = np.where(counts.reshape(rows.shape).max(axis=1) > NARROW_VALUES, WIDE, 0)
    headers = np.zeros((layout.v_tiles, layout.header_stride), np.uint32)
    pieces = -(-counts // ALIGN_VALUES).reshape(rows.shape)
    headers[:, : layout.k_tiles] = (rows - rows[:, :1]) << HEADER_SHIFT | pieces
    return Bitmap(
        layout,
        side,
        _warp_words(layout, counts > 0),
        (rows[:, 0] | wide).astype(np.uint32),
        headers,
        _bitmaps(occupied, layout),
        values,
    )


def _to_tiles(by_vector: NDArray[np.uint16], layout: BitmapLayout) -> NDArray[np.uint16]:
    """(vectors, depth) to (v_tiles, k_tiles, 16, window), padded with zeros."""
    v_tiles, k_tiles, window = layout.v_tiles, layout.k_tiles, layout.window
    padded = by_vector
    if by_vector.shape != (v_tiles * window, k_tiles * TILE_K):
        padded = np.zeros((v_tiles * window, k_tiles * TILE_K), np.uint16)
        padded[: layout.vectors, : layout.depth] = by_vector
    split = padded.reshape(v_tiles, window, k_tiles, TILE_K)
    return np.ascontiguousarray(split.transpose(0, 2, 3, 1))


def _bitmaps(occupied: NDArray[np.bool_], layout: BitmapLayout) -> U32:
    """Words of each tile: 16 of vectors 0 to 31, then 16 of those above."""
    packed = _pack_bits(occupied.reshape(layout.tiles, TILE_K, -1, 32))
    return np.ascontiguousarray(packed.swapaxes(1, 2)).reshape(layout.tiles, -1)


def _occupied(bitmap: Bitmap) -> NDArray[np.bool_]:
    """The converse of `_bitmaps`: bits by tile, depth and vector, in one axis."""
    words = bitmap.bitmaps.astype("<u4").reshape(bitmap.layout.tiles, -1, TILE_K).swapaxes(1, 2)
    raw = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(raw, bitorder="little").astype(np.bool_)


def decode(bitmap: Bitmap) -> F16:
    """The f16 matrix: the non-zeros bit for bit, +0 elsewhere."""
    layout = bitmap.layout
    occupied = _occupied(bitmap)
    counts = np.bitwise_count(bitmap.bitmaps).sum(axis=1, dtype=np.int64)
    starts = bitmap.offsets().reshape(-1) // 2
    tiles = np.zeros(occupied.size, np.uint16)
    tiles[occupied] = bitmap.values[_value_index(starts, counts)]
    split = tiles.reshape(layout.v_tiles, layout.k_tiles, TILE_K, layout.window)
    whole = split.transpose(0, 3, 1, 2).reshape(layout.v_tiles * layout.window, -1)
    matrix = whole[: layout.vectors, : layout.depth]
    matrix = matrix if bitmap.side == "a" else matrix.T
    return np.ascontiguousarray(matrix).view(np.float16)


def _check(bitmap: Bitmap) -> None:
    layout = bitmap.layout
    counts, offsets = bitmap.tile_counts().reshape(-1), bitmap.offsets().reshape(-1)
    stated = (bitmap.headers[:, : layout.k_tiles] & (1 << HEADER_SHIFT) - 1).reshape(-1)
    wide = (bitmap.starts & WIDE != 0).repeat(layout.k_tiles)
    inside = np.ones((layout.vectors, layout.depth), np.uint16)
    allowed = _bitmaps(_to_tiles(inside, layout) != 0, layout)
    wrong = (
        (
            "its header's count is not its bitmap's number of ones in eighths",
            stated != -(-counts // ALIGN_VALUES),
        ),
        ("it is wide, its row does not say so", ~wide & (counts > NARROW_VALUES)),
        ("its values are misaligned", (counts > 0) & (offsets % VALUE_ALIGN != 0)),
        (
            "its values are past the end",
            (counts > 0) & (offsets // 2 + counts > len(bitmap.values)),
        ),
        ("it has bits outside the matrix", (bitmap.bitmaps & ~allowed).any(axis=1)),
    )
    for what, tiles in wrong:
        if tiles.any():
            raise DstcError(
                f"bitmap of {layout.vectors} x {layout.depth}: tile {int(tiles.argmax())}: {what}"
            )
    if not np.array_equal(bitmap.warp_words, _warp_words(layout, counts > 0)):
        raise DstcError(
            f"bitmap of {layout.vectors} x {layout.depth}: its warp-bitmap does not match its tiles"
        )


@dataclass(frozen=True, eq=False)
class Counts:
    """Where the non-zeros of a matrix operand are, by vector: what `statistics` takes of it.

    `by_vector`: as of `Bitmap.counts`.
    """

    layout: BitmapLayout
    side: str
    by_vector: NDArray[np.int64]

    @property
    def density(self) -> float:
        """Non-zeros by elements."""
        return int(self.by_vector.sum()) / (self.layout.vectors * self.layout.depth)

    def counts(self) -> NDArray[np.int64]:
        """As of `Bitmap`."""
        return self.by_vector

    def tile_counts(self) -> NDArray[np.int64]:
        """As of `Bitmap`."""
        return self.by_vector.reshape(self.layout.v_tiles, -1, TILE_K).sum(axis=2)


def count(
    matrix: NDArray[np.floating] | NDArray[np.bool_], side: str, window: int = TILE_M
) -> Counts:
    """The counts of `encode(matrix, side, window=window)`, without its bitmaps and values.

    `matrix` may also say (bool) which elements are not zero.
    """
    vectors, depth = matrix.shape if side == "a" else matrix.shape[::-1]
    layout = _layout(vectors, depth, side, window)
    there = matrix if matrix.dtype == np.bool_ else matrix != 0
    if matrix.dtype == np.float16:  # comparing bits is faster by far; -0 is zero
        there = np.ascontiguousarray(matrix).view(np.uint16) << 1 != 0
    whole = vectors // window * window
    counts = np.zeros((layout.v_tiles, layout.k_tiles * TILE_K), np.int64)
    if side == "a":
        tiles = there[:whole].reshape(-1, window, depth)
        counts[: len(tiles), :depth] = np.add.reduce(tiles, axis=1, dtype=np.uint8)
        rest = there[whole:].sum(axis=0)
    else:
        tiles = there[:, :whole].reshape(depth, -1, window)
        counts[: tiles.shape[1], :depth] = np.add.reduce(tiles, axis=2, dtype=np.uint8).T
        rest = there[:, whole:].sum(axis=1)
    if whole < vectors:
        counts[-1, :depth] = rest
    return Counts(layout, side, counts)


@dataclass(frozen=True)
class Statistics:
    """What a product of two operands costs: multiply-adds, OHMMAs and warp-tile steps (SPWMMA).

    `_dense`: without skipping, padding to whole tiles included in OHMMAs and steps; `_effective`:
    products of two non-zeros; `_issued`: those that the bitmaps leave.
    """

    products_dense: int
    products_effective: int
    ohmma_dense: int
    ohmma_issued: int
    steps_dense: int
    steps_issued: int

    @staticmethod
    def total(parts: Iterable[Statistics]) -> Statistics:
        """The sum of those of several products."""
        columns = zip(*(astuple(p) for p in parts), strict=True)
        return Statistics(*map(sum, columns))


def statistics(a: Bitmap | Counts, b: Bitmap | Counts) -> Statistics:
    """Counts for the product of side-a operand M x K with side-b operand K x N.

    OHMMAs of a step k of a tile pair: ceil(nA/8) * ceil(nB/16), n the non-zeros of the two vectors
    of the window's length (Wang et al., ISCA 2021). Summed over all pairs of tiles that is, for
    each k, a product of two sums, so no pair is ever visited.
    """
    kinds = [(x.layout.depth, x.layout.window) for x in (a, b)]
    if (a.side, b.side) != ("a", "b") or kinds[0] != kinds[1]:
        raise DstcError(
            f"statistics need sides a and b of one depth and window, not side {a.side} of depth "
            f"{a.layout.depth} and side {b.side} of depth {b.layout.depth}, windows "
            f"{a.layout.window} and {b.layout.window}"
        )
    counts_a, counts_b = a.counts(), b.counts()

    def total(left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
        return int(left.sum(axis=0) @ right.sum(axis=0))

    def occupied(bitmap: Bitmap | Counts) -> NDArray[np.int64]:
        return (bitmap.tile_counts() > 0).astype(np.int64)

    steps = a.layout.v_tiles * b.layout.v_tiles * a.layout.k_tiles
    per_set = (a.layout.window // OHMMA_A) * (a.layout.window // OHMMA_B)
    return Statistics(
        products_dense=a.layout.vectors * b.layout.vectors * a.layout.depth,
        products_effective=total(counts_a, counts_b),
        ohmma_dense=steps * TILE_K * per_set,
        ohmma_issued=total(-(-counts_a // OHMMA_A), -(-counts_b // OHMMA_B)),
        steps_dense=steps,
        steps_issued=total(occupied(a), occupied(b)),
    )
