"""A warp's operand tiles in the dual-side kernel: where they lie, how they are loaded. Not a pass.

In: layouts of bitmap operands, a warp's rows of tiles. Out: `Operands`: addresses and loads of
headers, bitmaps and condensed values; `Place`: the turn of a loop that addresses hang on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import HEADER_GROUP, VALUE_ALIGN, WIDE, BitmapLayout
from ..backend.isa.table import WARP_SIZE
from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value

_HEADERS = VectorType(i32, [HEADER_GROUP])


@dataclass
class OperandTile:
    """Where a row of operand tiles begins: byte addresses."""

    header: Value
    bitmap: Value
    values: Value


@dataclass(frozen=True)
class _Row:
    """A row of operand tiles: where warp-bitmap, headers, bitmaps and all values begin, and its
    start among these."""

    words: Value
    header: Value
    bitmap: Value
    base: Value
    start: SSAValue


@dataclass(frozen=True)
class Located:
    """Operand tiles of which all is known but where values begin: that load is under way."""

    b: KernelBuilder
    layouts: tuple[BitmapLayout, BitmapLayout]
    counts: tuple[int, int]
    rows: list[_Row]

    @property
    def headers(self) -> list[Value]:
        """Where headers begin."""
        return [row.header for row in self.rows]

    @property
    def words(self) -> tuple[list[Value], list[Value]]:
        """Where the warp-bitmaps of both sides' rows of tiles begin."""
        first = self.counts[0]
        return [r.words for r in self.rows[:first]], [r.words for r in self.rows[first:]]

    def operands(self) -> Operands:
        """As soon as their starts are there."""
        b, first = self.b, self.counts[0]
        tiles = [
            OperandTile(r.header, r.bitmap, b.add(r.base, b.and_(r.start, -VALUE_ALIGN)))
            for r in self.rows
        ]
        starts = [r.start for r in self.rows]
        a, other = (
            b.and_(reduce(b.or_, side), WIDE) if side else 0
            for side in (starts[:first], starts[first:])
        )
        return Operands(b, self.layouts, self.counts, tiles, b.mad(other, 2, a))


class Operands:
    """A warp's operand tiles, first those along M, then those along N: addresses and loads."""

    def __init__(
        self,
        b: KernelBuilder,
        layouts: tuple[BitmapLayout, BitmapLayout],
        counts: tuple[int, int],
        tiles: list[OperandTile],
        wide: Value,
    ):
        self.b, self.counts, self.layouts, self.layout = b, counts, layouts, layouts[0]
        self.bitmap_bytes = layouts[0].bitmap_words * 4
        self.shared = WARP_SIZE // layouts[0].bitmap_words
        """Steps whose bitmaps one load brings."""
        self.header_group = HEADER_GROUP
        """Steps whose headers one load brings."""
        self.tiles, self.wide = tiles, wide
        """`wide`: 1: a tile of the rows along M has more than `NARROW_VALUES`, 2: one along N,
        3: both."""
        self.values = [b.mad(b.lane, 16, t.values) for t in self.tiles]
        self.bitmaps = [b.mad(b.lane, 4, t.bitmap) for t in self.tiles]
        alone = layouts[0].k_tiles % self.shared
        self.lower = b.less(b.lane, alone * layouts[0].bitmap_words) if alone else None
        """Lanes with bitmaps in a load that brings those of the last steps."""

    @staticmethod
    def located(
        b: KernelBuilder,
        layouts: tuple[BitmapLayout, BitmapLayout],
        first_tiles: tuple[Value, Value],
        counts: tuple[int, int],
        first_k_tile: Value,
    ) -> Located:
        """From the numbers of their first rows of tiles and of the first tile along K."""
        bitmap_bytes = layouts[0].bitmap_words * 4
        rows: list[_Row] = []
        for layout, name, first, count in zip(
            layouts, ("a", "b"), first_tiles, counts, strict=True
        ):
            base = b.params[name]
            headers = b.mad(first_k_tile, 4, layout.headers_offset)
            bitmaps = b.mad(first_k_tile, bitmap_bytes, layout.bitmaps_offset)
            values = b.add(base, layout.values_offset)
            stride = layout.k_tiles * bitmap_bytes
            for i in range(count):
                row = b.min_(b.add(first, i), layout.v_tiles - 1)
                place = b.mad(row, 4, base)
                rows.append(
                    _Row(
                        b.mad(row, layout.warp_words * 4, base),
                        b.mad(row, layout.header_stride * 4, b.add(base, headers)),
                        b.mad(row, stride, b.add(base, bitmaps)),
                        values,
                        b.load(tile.Space.GLOBAL, place, i32, offset=layout.starts_offset),
                    )
                )
        return Located(b, layouts, counts, rows)

    def flat(self) -> list[SSAValue]:
        """What says where they are, for a loop to carry."""
        places = [v for t in self.tiles for v in (t.header, t.bitmap, t.values)]
        return [self.b.value(v) for v in (self.wide, *places)]

    def like(self, flat: Sequence[SSAValue]) -> Operands:
        """Operands elsewhere, as `flat` says."""
        wide, *places = flat
        tiles = [OperandTile(*places[i : i + 3]) for i in range(0, len(places), 3)]
        return Operands(self.b, self.layouts, self.counts, list[OperandTile](tiles), wide)

    def headers(self, i: int, at: Place, step: int) -> SSAValue:
        """Headers of tile i at `step`, a multiple of `HEADER_GROUP`, and the steps after it."""
        address = at.advanced(self.tiles[i].header, 4)
        return self.b.load(tile.Space.GLOBAL, address, _HEADERS, offset=4 * step, hint="headers")

    def load(self, i: int, header: SSAValue, registers: int) -> SSAValue:
        """The condensed values of tile i."""
        values = tile.LoadValuesOp(self.b.value(self.values[i]), header, registers)
        return self.b.insert(values, "values")

    def bitmap(self, i: int, at: Place, step: int) -> SSAValue:
        """The bitmaps of tile i at `step`, and the steps after it that share the load."""
        alone = at.counter is None and step + self.shared > at.k_tiles
        load = tile.LoadOp(
            tile.Space.GLOBAL,
            self.b.value(at.advanced(self.bitmaps[i], self.bitmap_bytes)),
            i32,
            offset=step * self.bitmap_bytes,
            predicate=self.lower if alone else None,
        )
        return self.b.insert(load, "bitmap")


@dataclass
class Place:
    """A turn of a loop over `k_tiles` steps: that which its counter says; `None`: the first."""

    b: KernelBuilder
    k_tiles: int
    counter: SSAValue | None = None
    made: dict[tuple[Value, int], Value] = field(default_factory=dict[tuple[Value, int], Value])

    def advanced(self, start: Value, stride: int) -> Value:
        """`start` and `stride` bytes for each step up to this turn; made when first asked for."""
        if self.counter is None:
            return start
        key = (start, stride)
        if key not in self.made:
            self.made[key] = self.b.mad(self.counter, stride, start)
        return self.made[key]
