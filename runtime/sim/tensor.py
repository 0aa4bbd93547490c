"""The dual-side extension: outer products of condensed values, and the accumulation buffer.

In: register offsets of condensed values and bitmaps. Out: updated accumulation tiles, and the
number of OHMMA cycles that the bitmaps leave.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inline
from .intrinsics import (
    bits_of_float,
    float_of_bits,
    lanes_and_union,
    popcount,
    row_update,
    trailing_zeros,
    widen_register,
)

TILE = 1024
"""Elements of an accumulation tile, row-major 32x32 f32."""
WIDE_A, WIDE_B, WIDE_ROW = 0, 1024, 2048
"""Where an SM's scratch holds the widened values of A, of B, and one row spread over columns."""
WIDE_SIZE = 2048 + 32


@inline
def widened_at(wide: Any, base: int, index: int) -> Any:
    """Value `index` of a condensed tile (layout.value_position) after `widen_tile`."""
    word = index >> 1
    register = 4 * (word >> 7) + (word & 3)
    return wide[base + register * 64 + (index & 1) * 32 + ((word & 127) >> 2)]


@inline
def widen_tile(wide: Any, base: int, regs: Any, source: int, count: int) -> None:
    """Widen the registers that hold the first `count` condensed values."""
    for register in range(4 * ((count + 255) >> 8)):
        widen_register(wide, base + register * 64, regs, source + register * 32)


@inline
def rank_one(
    acc: Any, tile: int, wide: Any, scratch: int, rows: int, columns: int, first_a: int,
    first_b: int,
) -> None:  # fmt: skip
    """acc[i, j] += a * b for the rows and columns in the two masks, in ascending row.

    The i-th row set takes A value first_a + i, the j-th column set B value first_b + j.
    """
    bits = columns
    index = first_b
    row_at = scratch + WIDE_ROW
    while bits != 0:
        column = np.int64(trailing_zeros(np.uint32(bits)))
        wide[row_at + column] = widened_at(wide, scratch + WIDE_B, index)
        index += 1
        bits &= bits - 1
    bits = rows
    index = first_a
    mask = np.uint32(columns)
    while bits != 0:
        row = np.int64(trailing_zeros(np.uint32(bits)))
        value = widened_at(wide, scratch + WIDE_A, index)
        row_update(acc, tile + row * 32, wide, row_at, value, mask)
        index += 1
        bits &= bits - 1


@inline
def spwmma(
    acc: Any, tile: int, regs: Any, a: int, b: int, map_a: int, map_b: int, words: int,
    room_a: int, room_b: int, wide: Any, scratch: int,
) -> Any:  # fmt: skip
    """One 32x32x16 step (`words` 1), or a 64x64x16 step (2) on four tiles from `tile` on.

    `map_a` and `map_b` are offsets of the first bitmap word: 16 of vectors 0 to 31, and with 2
    words a depth 16 of those above. Returns the OHMMAs left, the sum over k of ceil(nA / 8) *
    ceil(nB / 16); -1 if a side has more values than its `room`.
    """
    halves = np.int64(words)
    total_a, total_b = 0, 0
    for word in range(16 * halves):
        total_a += np.int64(popcount(regs[map_a + word]))
        total_b += np.int64(popcount(regs[map_b + word]))
    if total_a > room_a or total_b > room_b:
        return -1
    widen_tile(wide, scratch + WIDE_A, regs, a, total_a)
    widen_tile(wide, scratch + WIDE_B, regs, b, total_b)
    issued = 0
    for block in range(halves * halves):
        high_a, high_b = block >> 1, block & 1
        first_a, first_b = 0, 0
        for k in range(16):
            low_count_a = np.int64(popcount(regs[map_a + k]))
            low_count_b = np.int64(popcount(regs[map_b + k]))
            count_a, count_b = low_count_a, low_count_b
            if halves == 2:
                count_a += np.int64(popcount(regs[map_a + 16 + k]))
                count_b += np.int64(popcount(regs[map_b + 16 + k]))
            rows = np.int64(regs[map_a + 16 * high_a + k])
            columns = np.int64(regs[map_b + 16 * high_b + k])
            if rows != 0 and columns != 0:
                rank_one(
                    acc, tile + block * TILE, wide, scratch, rows, columns,
                    first_a + high_a * low_count_a, first_b + high_b * low_count_b,
                )  # fmt: skip
            if block == 0:
                issued += ((count_a + 7) >> 3) * ((count_b + 15) >> 4)
            first_a += count_a
            first_b += count_b
    return issued


@inline
def product_masks(regs: Any, c: int) -> Any:
    """Rows and columns of a BOHMMA result: rows with a one, and the union of their words."""
    both = lanes_and_union(regs, c)
    return np.int64(both & np.uint64(0xFFFFFFFF)), np.int64(both >> np.uint64(32))


@inline
def chunk_of(mask: int, first: int, size: int) -> Any:
    """The ones of `mask` from the first-th on, `size` at most."""
    bits = mask
    for _ in range(first):
        bits &= bits - 1
    rest = bits
    for _ in range(size):
        rest &= rest - 1
    return bits ^ rest


@inline
def value_at(regs: Any, base: int, index: int) -> Any:
    """Value `index` of a condensed tile in the registers at `base`, as f32."""
    word = index >> 1
    register = 4 * (word >> 7) + (word & 3)
    pair = regs[base + register * 32 + ((word & 127) >> 2)]
    half = (pair >> np.uint32(16 * (index & 1))) & np.uint32(0xFFFF)
    magnitude = (half & np.uint32(0x7FFF)) << np.uint32(13)
    bits = bits_of_float(float_of_bits(np.uint32(magnitude)) * np.float32(2.0**112))
    if magnitude >= np.uint32(0x7C00 << 13):
        bits |= np.uint32(0x7F800000)  # infinities and NaN
    return float_of_bits(np.uint32(bits | ((half & np.uint32(0x8000)) << np.uint32(16))))


@inline
def ohmma(
    acc: Any, tile: int, regs: Any, a: int, b: int, c: int, start_a: int, start_b: int,
    chunk_a: int, chunk_b: int, room_a: int, room_b: int, wide: Any, scratch: int,
) -> Any:  # fmt: skip
    """One OHMMA; returns 1, 0 if it lies beyond the vectors (squashed), -1 beyond the stream.

    `start_a`, `start_b`: where in `regs` the words are that tell where the vectors start; `room_a`,
    `room_b`: values of the streams.
    """
    rows, columns = product_masks(regs, c)
    rows = chunk_of(rows, 8 * chunk_a, 8)
    columns = chunk_of(columns, 16 * chunk_b, 16)
    if rows == 0 or columns == 0:
        return 0
    first_a = np.int64(regs[start_a] & np.uint32(0xFFFF)) + 8 * chunk_a
    first_b = np.int64(regs[start_b] >> np.uint32(16)) + 16 * chunk_b
    if first_a + np.int64(popcount(np.uint32(rows))) > room_a:
        return -1
    if first_b + np.int64(popcount(np.uint32(columns))) > room_b:
        return -1
    bits = columns
    row_at = scratch + WIDE_ROW
    while bits != 0:
        wide[row_at + np.int64(trailing_zeros(np.uint32(bits)))] = value_at(regs, b, first_b)
        first_b += 1
        bits &= bits - 1
    bits = rows
    while bits != 0:
        row = np.int64(trailing_zeros(np.uint32(bits)))
        value = value_at(regs, a, first_a)
        row_update(acc, tile + row * 32, wide, row_at, value, np.uint32(columns))
        first_a += 1
        bits &= bits - 1
    return 1


@inline
def bit_product(regs: Any, to: int, a: int, b: int) -> None:
    """BOHMMA of the words at `a` and `b` into the row `to`."""
    rows, word = np.int64(regs[a]), regs[b]
    for lane in range(32):
        regs[to + lane] = word if (rows >> lane) & 1 else np.uint32(0)


@inline
def read_part(regs: Any, to: int, acc_bits: Any, tile: int, part: int, transpose: int,
              mask: int) -> None:  # fmt: skip
    """ARD into eight registers from `to`, in the lanes of `mask`."""
    for register in range(8):
        line = 8 * part + register
        for lane in range(32):
            if (mask >> lane) & 1:
                at = lane * 32 + line if transpose else line * 32 + lane
                regs[to + register * 32 + lane] = acc_bits[tile + at]


@inline
def write_part(regs: Any, source: int, relative: int, acc_bits: Any, tile: int, part: int,
               transpose: int) -> None:  # fmt: skip
    """AWR from eight registers at `source` (`relative` 0: eight rows of zeros)."""
    for register in range(8):
        line = 8 * part + register
        for lane in range(32):
            at = lane * 32 + line if transpose else line * 32 + lane
            acc_bits[tile + at] = regs[source + register * 32 + lane]


@inline
def clear(acc_bits: Any, tile: int) -> None:
    """ACLR."""
    for i in range(TILE):
        acc_bits[tile + i] = np.uint32(0)
