"""Encoding one tile into bitmap, condensed values and header by a warp. Not a pass.

In: for each of 16 depths, the address of a vector's element and whether there is one; a lane has
one vector, or two with a window of 64. Out: stores to an operand in `BitmapLayout` with a
fixed-capacity slot a tile. The bits of the warp-bitmap are ORed into memory, since warps share its
words: it must be zero at launch, as fresh buffers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import (
    HEADER_SHIFT,
    NARROW_VALUES,
    VALUE_ALIGN,
    WIDE,
    BitmapLayout,
    ceil_div,
)
from ..backend.isa.table import TILE_K, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..runtime.machine import Machine
from .kernel_builder import KernelBuilder, Value

_PIECE = VALUE_ALIGN // 2
"""Values that a header counts as one."""
WARPS = 4
"""Warps a CTA of an encoding kernel; each takes one row of tiles."""

Element = tuple[Value, SSAValue | None]
"""Address of an f16, and the predicate that says whether it exists (None: always)."""
Elements = Callable[[Sequence[SSAValue], Value, SSAValue | None], Sequence[Sequence[SSAValue]]]
"""(the lane's vectors along M or N, the tile's first depth, whether there is the tile) -> of each
vector 16 elements, f16 in the low half of a word, zero where there is none."""


def loaded(b: KernelBuilder, addresses: Callable[[SSAValue, Value], Iterator[Element]]) -> Elements:
    """Elements that are loaded from where `addresses(vector, first depth)` says."""

    def elements(
        vectors: Sequence[SSAValue], depth0: Value, inside: SSAValue | None
    ) -> list[list[SSAValue]]:
        found: list[list[SSAValue]] = []
        for vector in vectors:
            found.append([])
            for address, exists in addresses(vector, depth0):
                here = b.both(inside, exists)
                found[-1].append(b.load(tile.Space.GLOBAL, address, i32, bits=16, predicate=here))
        return found

    return elements


def tiles_per_warp(layout: BitmapLayout, machine: Machine) -> int:
    """Depth tiles that a warp encodes one after the other; 1 until the machine is full of warps."""
    warps = int(machine["sm.count"]) * int(machine["sm.max_warps"])
    return max(1, min(layout.k_tiles, layout.tiles // warps))


def encode_grid(layout: BitmapLayout, machine: Machine) -> tuple[int, int, int]:
    """CTAs: x over rows of tiles, y over groups of depth tiles."""
    turns = tiles_per_warp(layout, machine)
    return ceil_div(layout.v_tiles, WARPS), ceil_div(layout.k_tiles, turns), 1


def encode_rows(
    b: KernelBuilder,
    layout: BitmapLayout,
    machine: Machine,
    base: Value,
    elements: Elements,
) -> None:
    """Encode this warp's tiles: `elements` gives a tile's, by the lane's vectors."""
    v_tile = b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp, "v_tile")
    lowest = b.value(b.mad(v_tile, layout.window, b.lane, "vector"))
    vectors = [b.value(b.add(lowest, i)) for i in range(0, layout.window, WARP_SIZE)]
    turns = tiles_per_warp(layout, machine)
    k_first = b.mul(b.id(tile.Id.CTA_Y), turns)
    tile_inside = b.less(v_tile, layout.v_tiles) if layout.v_tiles % WARPS else None

    def body(turn: Value, carried: Sequence[SSAValue]) -> list[SSAValue]:
        del carried
        k_tile = b.add(k_first, turn)
        last = b.less(k_tile, layout.k_tiles) if layout.k_tiles % turns else None
        inside = b.both(tile_inside, last)
        found = elements(vectors, b.mul(k_tile, TILE_K), inside)
        store_tile(b, layout, base, (v_tile, k_tile), found, inside)
        return []

    if turns == 1:
        body(0, [])
    else:
        b.loop(0, turns, 1, [], body)


def store_tile(
    b: KernelBuilder,
    layout: BitmapLayout,
    base: Value,
    place: tuple[Value, Value],
    found: Sequence[Sequence[SSAValue]],
    inside: SSAValue | None,
) -> None:
    """Store tile `place` (v_tile, k_tile) of the operand at `base`, if it is `inside`.

    `found`: 16 elements of each of the lane's vectors, which lie `WARP_SIZE` apart: f16 in the low
    half of a word, zero where there is none.
    """
    v_tile, k_tile = place
    below = b.sub(b.shl(b.value(1), b.lane), 1)
    index = b.mad(v_tile, layout.k_tiles, k_tile, "tile")
    slot = b.add(b.add(base, b.mul(index, layout.tile_bytes)), layout.values_offset)
    end: Value = slot
    word: SSAValue = b.value(0)
    for depth, values in enumerate(zip(*found, strict=True)):
        for half, value in enumerate(values):
            nonzero = b.compare("ne", b.and_(value, 0x7FFF), 0)
            ballot = b.insert(tile.BallotOp(nonzero))
            rank = b.insert(tile.PopulationCountOp(b.value(b.and_(ballot, below))))
            b.store(tile.Space.GLOBAL, value, b.mad(rank, 2, end), bits=16, predicate=nonzero)
            holder = b.compare("eq", b.lane, half * TILE_K + depth)
            word = b.select(holder, ballot, word)
            end = b.mad(b.insert(tile.PopulationCountOp(ballot)), 2, end)
    b.store(
        tile.Space.GLOBAL,
        word,
        b.mad(index, layout.bitmap_words * 4, b.mad(b.lane, 4, base)),
        offset=layout.bitmaps_offset,
        predicate=b.both(
            b.less(b.lane, TILE_K) if layout.bitmap_words < WARP_SIZE else None, inside
        ),
    )
    count = b.shr(b.sub(end, slot), 1)
    at_lane0 = b.both(b.compare("eq", b.lane, 0), inside)
    _store_directory(b, layout, base, place, count, at_lane0)


def _store_directory(
    b: KernelBuilder,
    layout: BitmapLayout,
    base: Value,
    place: tuple[Value, Value],
    count: Value,
    at_lane0: SSAValue | None,
) -> None:
    """Header, row start and bit of the warp-bitmap of tile `place`, which has `count` values."""
    v_tile, k_tile = place
    header = b.or_(
        b.mul(k_tile, layout.tile_bytes << HEADER_SHIFT),
        b.div(b.add(count, _PIECE - 1), _PIECE),
    )
    b.store(
        tile.Space.GLOBAL,
        b.value(header),
        b.mad(b.mad(v_tile, layout.header_stride, k_tile), 4, base),
        offset=layout.headers_offset,
        predicate=at_lane0,
    )
    first, wide = b.compare("eq", k_tile, 0), b.compare("ugt", count, NARROW_VALUES)
    start = b.select(first, b.mul(v_tile, layout.k_tiles * layout.tile_bytes), 0)
    start = b.or_(start, b.select(wide, WIDE, 0))
    b.builder.insert(
        tile.AtomicOrOp(
            b.value(start),
            b.value(b.mad(v_tile, 4, base)),
            offset=layout.starts_offset,
            predicate=b.both(at_lane0, b.compare("ne", start, 0)),
        )
    )
    bit = b.shl(b.value(1), b.and_(k_tile, 31))
    row = b.mad(v_tile, layout.warp_words, b.shr(k_tile, 5))
    b.builder.insert(
        tile.AtomicOrOp(
            b.value(bit),
            b.value(b.mad(row, 4, base)),
            predicate=b.both(at_lane0, b.compare("ne", count, 0)),
        )
    )
