"""Encoding one 32 x 16 tile into bitmap, condensed values and header by a warp. Not a pass.

In: for each of 16 depths, the address of the lane's element and whether there is one. Out: stores
to an operand in `BitmapLayout` with a fixed-capacity slot a tile. The bits of the warp-bitmap are
ORed into memory, since warps share its words: it must be zero at launch, as fresh buffers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import SLOT_BYTES, BitmapLayout, ceil_div
from ..backend.isa.table import TILE_K
from ..dialects import dstc_tile as tile
from ..runtime.machine import Machine
from .kernel_builder import KernelBuilder, Value

WARPS = 4
"""Warps a CTA of an encoding kernel; each takes one row of tiles."""

Element = tuple[Value, SSAValue | None]
"""Address of an f16, and the predicate that says whether it exists (None: always)."""


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
    elements: Callable[[SSAValue, Value], Iterator[Element]],
) -> None:
    """Encode this warp's tiles; `elements(lane_vector, depth0)` gives the 16 elements of a lane.

    `lane_vector` is the lane's index along M or N, `depth0` the tile's first depth.
    """
    v_tile = b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp, "v_tile")
    vector = b.value(b.mad(v_tile, 32, b.lane, "vector"))
    turns = tiles_per_warp(layout, machine)
    k_first = b.mul(b.id(tile.Id.CTA_Y), turns)
    tile_inside = b.less(v_tile, layout.v_tiles) if layout.v_tiles % WARPS else None

    def body(turn: Value, carried: Sequence[SSAValue]) -> list[SSAValue]:
        del carried
        k_tile = b.add(k_first, turn)
        last = b.less(k_tile, layout.k_tiles) if layout.k_tiles % turns else None
        inside = b.both(tile_inside, last)
        found: list[SSAValue] = []
        for address, exists in elements(vector, b.mul(k_tile, TILE_K)):
            predicate = b.both(inside, exists)
            found.append(b.load(tile.Space.GLOBAL, address, i32, bits=16, predicate=predicate))
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
    found: Sequence[SSAValue],
    inside: SSAValue | None,
) -> None:
    """Store tile `place` (v_tile, k_tile) of the operand at `base`, if it is `inside`.

    `found`: the lane's 16 elements, f16 in the low half of a word, zero where there is none.
    """
    v_tile, k_tile = place
    below = b.sub(b.shl(b.value(1), b.lane), 1)
    is_lane0 = b.compare("eq", b.lane, 0)
    lane_words = b.less(b.lane, TILE_K)
    index = b.mad(v_tile, layout.k_tiles, k_tile, "tile")
    slot_offset = b.mul(index, SLOT_BYTES)
    slot = b.add(b.add(base, slot_offset), layout.values_offset)
    at: Value = slot
    word: SSAValue = b.value(0)
    for depth, value in enumerate(found):
        nonzero = b.compare("ne", b.and_(value, 0x7FFF), 0)
        ballot = b.insert(tile.BallotOp(nonzero))
        rank = b.insert(tile.PopulationCountOp(b.value(b.and_(ballot, below))))
        b.store(tile.Space.GLOBAL, value, b.mad(rank, 2, at), bits=16, predicate=nonzero)
        word = b.select(b.compare("eq", b.lane, depth), ballot, word)
        at = b.mad(b.insert(tile.PopulationCountOp(ballot)), 2, at)
    count = b.shr(b.sub(at, slot), 1)
    words = b.mad(index, TILE_K * 4, b.mad(b.lane, 4, base))
    b.store(
        tile.Space.GLOBAL,
        word,
        words,
        offset=layout.bitmaps_offset,
        predicate=b.both(lane_words, inside),
    )
    header = b.mad(index, 8, base)
    at_lane0 = b.both(is_lane0, inside)
    for offset, field in ((0, slot_offset), (4, count)):
        b.store(
            tile.Space.GLOBAL,
            b.value(field),
            header,
            offset=layout.headers_offset + offset,
            predicate=at_lane0,
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
