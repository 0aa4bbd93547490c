"""Storage layouts that code generation, runtime and simulator agree on (docs/formats.md).

In: sizes. Out: offsets in bytes of the parts of an encoded operand, and the register and lane
positions of tensor operands.
"""

from __future__ import annotations

from dataclasses import dataclass

from .table import NM_VALUES, REGISTER_VALUES, TILE_K, TILE_M

VALUE_ALIGN = 16
"""Condensed values of a tile start at a multiple of this many bytes (one LDG.128 a lane)."""
HEADER_GROUP = 4
"""Headers that one 128-bit load brings: those of a row of tiles begin at a multiple of it."""
HEADER_SHIFT = 8
"""A tile's header: byte offset of its values within its row's, above so many bits of their number
in pieces of VALUE_ALIGN bytes, rounded up. The offset's low bits are 0, as values are aligned."""
PITCH_ALIGN = 32
"""A dense device tensor is a 2-D array (first dimension; the rest flattened) whose rows and
columns are padded with zeros to a multiple of this many elements."""


def ceil_div(a: int, b: int) -> int:
    """Quotient rounded up, for non-negative a."""
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """`a` rounded up to a multiple of b."""
    return ceil_div(a, b) * b


STEP_K = 32
"""Depth of a main-loop step of the dense kernel, whose operands are padded with zeros to whole
steps."""
SPLIT_STEP = 64
"""Products are split along K at multiples of this: whole steps of the dense kernel, and
`HEADER_GROUP` tiles of a bitmap."""


def split_ranges(k: int, parts: int) -> list[tuple[int, int]]:
    """Parts of K, each accumulated from zero, to be added in this order: [start, stop).

    All are equally long, but the last one may be shorter; there can be fewer than `parts`.
    """
    steps = ceil_div(k, SPLIT_STEP)
    length = ceil_div(steps, parts) * SPLIT_STEP
    return [(start, min(start + length, k)) for start in range(0, k, length)]


@dataclass(frozen=True)
class DenseLayout:
    """A dense tensor on the device: `rows` x `columns`, row-major, `pitch` elements a row.

    A 1-D tensor is one row. `padded_rows` rows are allocated; padding is zero and stays zero. Only
    a matrix has padding rows: it may be the operand of a product.
    """

    rows: int
    columns: int
    element_bytes: int
    matrix: bool = True
    """Two dimensions: there are padding rows."""

    @staticmethod
    def of(shape: tuple[int, ...], element_bytes: int) -> DenseLayout:
        """Layout of a tensor of `shape`: its first dimension by all the others."""
        if len(shape) <= 1:
            return DenseLayout(1, shape[0] if shape else 1, element_bytes, matrix=False)
        columns = 1
        for extent in shape[1:]:
            columns *= extent
        return DenseLayout(shape[0], columns, element_bytes, matrix=len(shape) == 2)

    @property
    def pitch(self) -> int:
        """Elements from one row to the next."""
        return round_up(self.columns, PITCH_ALIGN)

    @property
    def padded_rows(self) -> int:
        """Rows allocated."""
        return round_up(self.rows, PITCH_ALIGN) if self.matrix else self.rows

    @property
    def bytes(self) -> int:
        """Bytes allocated."""
        return self.padded_rows * self.pitch * self.element_bytes

    def covers(self, other: DenseLayout) -> bool:
        """What lies here lies in `other`'s layout too, padding included: one buffer serves both."""
        if (self.rows, self.columns) == (other.rows, other.columns):
            return self.bytes >= other.bytes
        packed = all(at.pitch == at.columns or at.rows == 1 for at in (self, other))
        return packed and self.bytes >= other.bytes


@dataclass(frozen=True)
class BitmapLayout:
    """A two-level bitmap operand on the device: `vectors` x `depth`, cut into `window` x 16 tiles.

    `vectors` runs along M (A side) or N (B side), `depth` along K. Tile (v, k) has index
    v * k_tiles + k. One allocation holds, in this order: warp-bitmap words (one bit a tile, 32
    k-tiles a word, one row of words a v-tile), starts (u32 byte offset into the values of a row of
    tiles, see `WIDE`), headers (u32 a tile, see `tile_header`; `header_stride` a row), element
    bitmaps (16 words a tile, word j = the 32 vectors at depth j, bit i = vector i; with window 64
    the 16 words of vectors 32 to 63 follow), values (f16, depth by depth, within a depth by
    ascending vector). Values of a tile are 16-byte aligned, packed one after the other (weights) or
    in slots of `tile_bytes` (encoded on the device).
    """

    vectors: int
    depth: int
    window: int = TILE_M
    """Vectors that a condensed vector runs over: 32 or 64."""

    @property
    def v_tiles(self) -> int:
        """Tiles along M or N."""
        return ceil_div(self.vectors, self.window)

    @property
    def bitmap_words(self) -> int:
        """Words of a tile's element bitmap."""
        return TILE_K * self.window // 32

    @property
    def tile_bytes(self) -> int:
        """Bytes of a full tile's values, which is the size of a slot."""
        return self.window * TILE_K * 2

    @property
    def value_registers(self) -> int:
        """Registers of a warp that hold the values of a full tile."""
        return self.window * TILE_K // REGISTER_VALUES

    @property
    def k_tiles(self) -> int:
        """Tiles along K."""
        return ceil_div(self.depth, TILE_K)

    @property
    def tiles(self) -> int:
        """All tiles."""
        return self.v_tiles * self.k_tiles

    @property
    def warp_words(self) -> int:
        """Warp-bitmap words a row of tiles."""
        return ceil_div(self.k_tiles, 32)

    @property
    def header_stride(self) -> int:
        """Headers from a row of tiles to the next; those past `k_tiles` are 0."""
        return round_up(self.k_tiles, HEADER_GROUP)

    @property
    def starts_offset(self) -> int:
        """Byte offset of the starts of rows of tiles."""
        return round_up(self.v_tiles * self.warp_words * 4, 32)

    @property
    def headers_offset(self) -> int:
        """Byte offset of the headers."""
        return round_up(self.starts_offset + self.v_tiles * 4, 32)

    @property
    def bitmaps_offset(self) -> int:
        """Byte offset of the element bitmaps."""
        return round_up(self.headers_offset + self.v_tiles * self.header_stride * 4, 64)

    @property
    def values_offset(self) -> int:
        """Byte offset of the values."""
        return round_up(self.bitmaps_offset + self.tiles * self.bitmap_words * 4, 64)

    @property
    def slot_bytes(self) -> int:
        """Bytes allocated when every tile has a slot."""
        return self.values_offset + self.tiles * self.tile_bytes


MOST_ROW_BYTES = 1 << 32 - HEADER_SHIFT
"""Bytes of the values of a row of tiles, at most: a header holds no larger offset."""


NARROW_VALUES = 256
"""Values that one 128-bit load a lane brings."""
WIDE = 1
"""Bit of a row's start (a multiple of VALUE_ALIGN): a tile has more than NARROW_VALUES values."""


def tile_header(offset: int, count: int) -> int:
    """Header of a tile of `count` values that begin `offset` bytes after its row's start."""
    return offset << HEADER_SHIFT | ceil_div(count, VALUE_ALIGN // 2)


def value_position(index: int) -> tuple[int, int, int]:
    """Where value `index` of a condensed tile sits: (register 0..15, lane, half 0 or 1).

    Values go two a 32-bit word; word w is in register 4*(w // 128) + w % 4 of lane
    (w % 128) // 4, so that an LDG.128 or LDS.128 loads 256 values.
    """
    word, half = divmod(index, 2)
    block, within = divmod(word, 128)
    return 4 * block + within % 4, within // 4, half


def hmma_a_position(layout: str, row: int, k: int) -> tuple[int, int]:
    """(lane, half) of A[row, k] (row 0..15, k 0..3) in HMMA's operand a."""
    if layout == "AROW":  # lane 2*row + k//2 holds two consecutive k of a row
        return 2 * row + k // 2, k % 2
    return 8 * k + row // 2, row % 2  # ACOL: two consecutive rows of one k


def hmma_b_position(layout: str, k: int, column: int) -> tuple[int, int]:
    """(lane, half) of B[k, column] (k 0..3, column 0..15) in HMMA's operand b."""
    if layout == "BCOL":  # lane 2*column + k//2 holds two consecutive k of a column
        return 2 * column + k // 2, k % 2
    return 8 * k + column // 2, column % 2  # BROW: two consecutive columns of one k


NM_BLOCK_K = 64
"""k that one register of indices describes (HMMA.SP's e), and that a tile of `NmLayout` is deep."""
NM_BLOCK_LINES = 64
"""Lines of a tile of `NmLayout`: four fragments of 16."""
NM_INDEX_BYTES = 512
"""Bytes of a tile's indices: a register of each of the four fragments."""


@dataclass(frozen=True)
class NmLayout:
    """An n:m operand on the device: `lines` (along M or N) by `depth` (along K), n of each m kept.

    Cut into tiles of 64 lines x 64 k; tile (l, k) has index l * k_tiles + k. One allocation: the
    values of all tiles, then the indices. Line 8p + 2f + o of a tile is line 2p + o of fragment f.
    Values of a tile: slice by slice (4 values of each line), in a slice lane by lane, in a lane the
    words of the four fragments (`nm_value_position`). Indices: lane by lane, the words of the four
    fragments (`nm_index_position`). So a lane fetches four fragments with one 16-byte access.
    """

    lines: int
    depth: int
    n: int
    m: int

    @property
    def line_tiles(self) -> int:
        """Tiles along M or N."""
        return ceil_div(self.lines, NM_BLOCK_LINES)

    @property
    def k_tiles(self) -> int:
        """Tiles along K."""
        return ceil_div(self.depth, NM_BLOCK_K)

    @property
    def slice_depth(self) -> int:
        """k that one HMMA.SP covers."""
        return NM_VALUES * self.m // self.n

    @property
    def slices(self) -> int:
        """HMMA.SPs deep that a tile is."""
        return NM_BLOCK_K // self.slice_depth

    @property
    def tile_bytes(self) -> int:
        """Bytes of a tile's values."""
        return NM_BLOCK_LINES * NM_VALUES * self.slices * 2

    @property
    def indices_offset(self) -> int:
        """Byte offset of the indices."""
        return self.line_tiles * self.k_tiles * self.tile_bytes

    @property
    def bytes(self) -> int:
        """Bytes allocated."""
        return self.indices_offset + self.line_tiles * self.k_tiles * NM_INDEX_BYTES


def nm_value_position(line: int, value: int) -> tuple[int, int]:
    """(lane, half) of value 0..3 of a line (0..15) in HMMA.SP's operand a."""
    return 2 * line + value // 2, value % 2


def nm_index_position(depth: int, line: int, part: int, value: int) -> tuple[int, int]:
    """(lane, lowest bit) of where a value belongs, in HMMA.SP's operand e.

    depth: k an instruction (8: 2:4, indices of 2 bits; 16: 4:16, of 4 bits), part: its slice. Lane
    2 * line has the indices of the first 32 k, the next lane those of the others. An index counts
    from the first k of its group.
    """
    bits = depth // 4
    within = part * depth % 32 // depth * 4 + value
    return 2 * line + part * depth // 32, within * bits


def nm_dense_position(layout: str, depth: int, k: int, line: int) -> tuple[int, int, int]:
    """(lane, register, half) of the element at k (0..depth-1) of a line in HMMA.SP's operand b."""
    if layout == "ALONG":  # lane 2*line + h holds half the k of a line, side by side
        h, within = divmod(k, depth // 2)
        return 2 * line + h, within // 2, within % 2
    return 8 * (k % 4) + line // 2, k // 4, line % 2  # ACROSS: two lines at every fourth k


def hmma_d_position(step: int, row: int, column: int) -> tuple[int, int]:
    """(lane, register 0 or 1) of D[row, column] (within the 8x8 quadrant `step`)."""
    del step
    return 4 * row + column // 2, column % 2
