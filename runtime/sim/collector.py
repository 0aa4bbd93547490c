"""The banks of the accumulation buffer: what scattered products cost beside their OHMMA slots.

In: the bitmap words of a SPWMMA, or the rows and columns of an OHMMA. Out: the cycles that the
tensor core is busy, by the busiest bank and what the operand collector can put off.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inline
from .constants import N, P, S
from .intrinsics import popcount64
from .tensor import chunk_of, product_masks

BANKS = 128
"""Banks of a sub-core's buffer: as many as an OHMMA has products.

Position (i, j) of a tile lies in bank 16 * (i % 8 ^ 4 * (j / 16)) + (j % 16 ^ 4 * (i / 8)): a full
8x16 block has all its products in different banks, and so has a block of every other column or row.
The four tiles of a 64x64 block share the banks, each mapped so.
"""
_HALF = 8 + 4 + 4
"""Planes of 32 rows and 32 columns; a 64x64 block has those of both halves."""
SCRATCH = 2 * _HALF
_ONES = np.uint64(0x0001000100010001)


@inline
def _rows(word: Any, k: Any, planes: Any, first: int) -> None:
    """Enter bit i of `word` as bit 16 * (i / 8) + k of planes[first + i % 8]."""
    x = np.uint64(word)
    x = (x | (x << np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    x = (x | (x << np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    for r in range(8):
        planes[first + r] |= ((x >> np.uint64(r)) & _ONES) << k


@inline
def _columns(half: Any, k: Any, planes: Any, first: int) -> None:
    """Enter bit j of 16 as bit 16 * (j / 4) + k of planes[first + j % 4]."""
    x = (half | (half << np.uint64(24))) & np.uint64(0x000000FF000000FF)
    x = (x | (x << np.uint64(12))) & np.uint64(0x000F000F000F000F)
    for e in range(4):
        planes[first + e] |= ((x >> np.uint64(e)) & _ONES) << k


@inline
def _enter(rows: Any, columns: Any, k: int, planes: Any, half: int) -> None:
    at = np.uint64(k)
    first = half * _HALF
    _rows(rows, at, planes, first)
    word = np.uint64(columns)
    _columns(word & np.uint64(0xFFFF), at, planes, first + 8)
    _columns(word >> np.uint64(16), at, planes, first + 12)


@inline
def _swapped(x: Any, h: int) -> Any:
    """Lane g of the result is lane g ^ h of four lanes of 16 bits."""
    if h & 1:
        low = np.uint64(0x0000FFFF0000FFFF)
        x = ((x & low) << np.uint64(16)) | ((x >> np.uint64(16)) & low)
    if h & 2:
        x = (x << np.uint64(32)) | (x >> np.uint64(32))
    return x


@inline
def _meeting(planes: Any, half: int, r: int, low: Any, high: Any) -> Any:
    """Products of rows r modulo 8 of a half with the columns in `low` and, 4 rows on, in `high`."""
    first = half * _HALF
    return popcount64(planes[first + r] & low) + popcount64(planes[first + (r ^ 4)] & high)


@inline
def _settle(
    planes: Any, halves: int, lags: Any, idle: int, busy: int, depth: int
) -> tuple[int, int]:
    """Add the products in `planes` to the banks' lags; see `collect_step`."""
    worst = 0
    for h in range(4):
        for e in range(4):
            low, high = _swapped(planes[8 + e], h), _swapped(planes[12 + e], h)
            low_1, high_1 = _swapped(planes[_HALF + 8 + e], h), _swapped(planes[_HALF + 12 + e], h)
            for r in range(8):
                load = _meeting(planes, 0, r, low, high)
                if halves == 2:  # the same banks take the products of all four tiles
                    load += _meeting(planes, 0, r, low_1, high_1)
                    load += _meeting(planes, 1, r, low, high)
                    load += _meeting(planes, 1, r, low_1, high_1)
                bank = (4 * h + e) * 8 + r
                lag = max(lags[bank] - idle, 0) + np.int64(load)
                lags[bank] = lag
                worst = max(worst, lag)
    busy = max(busy, worst - depth)
    if worst > 0:
        for bank in range(BANKS):
            lags[bank] = max(lags[bank] - busy, 0)
    return busy, max(0, worst - busy)


@inline
def _caught_up(end: int, sub: Any, lags: Any, busy: int) -> tuple[int, int]:
    """No bank lags at `end`: what is to be noted, and the result."""
    if sub[S.LAGGING] > 0:
        for bank in range(BANKS):
            lags[bank] = 0
    sub[S.LAGGING] = 0
    sub[S.COLLECTED] = end
    return busy, 0


@inline
def collect_step(
    regs: Any, map_a: int, map_b: int, words: int, busy: int, start: int, sub: Any, lags: Any,
    planes: Any, param: Any, counters: Any,
) -> tuple[int, int]:  # fmt: skip
    """A SPWMMA that starts at `start` and has `busy` cycles of OHMMAs: cycles that it takes.

    `words`: those of a depth, 2 for a 64x64 block. A bank does one product a cycle; one that has
    more lags behind, by `accumulator.collector` cycles at most. Also returns by how much the
    busiest bank lags at the end.
    """
    halves = np.int64(words)
    idle = max(0, start - sub[S.COLLECTED])
    if busy >= 128 * halves * halves and sub[S.LAGGING] <= idle:
        # no bank has more than 8 positions * 16 depths of a tile: none can lag behind
        return _caught_up(start + busy, sub, lags, busy)
    for i in range(SCRATCH):
        planes[i] = 0
    for half in range(halves):
        for k in range(16):
            word = 16 * half + k
            _enter(regs[map_a + word], regs[map_b + word], k, planes, half)
    taken, lag = _settle(planes, halves, lags, idle, busy, param[P.ACC_COLLECTOR])
    sub[S.COLLECTED] = start + taken
    sub[S.LAGGING] = lag
    counters[N.ACCUMULATOR_CONFLICTS] += taken - busy
    return taken, lag


@inline
def one_a_bank(rows: int, columns: int) -> bool:
    """Whether no two products can meet in a bank: rows of eight classes, columns of one half."""
    if columns > 0xFFFF and columns & 0xFFFF != 0:
        return False
    classes = (rows | rows >> 8 | rows >> 16 | rows >> 24) & 0xFF
    return popcount64(np.uint64(classes)) == popcount64(np.uint64(rows))


@inline
def collect_product(
    regs: Any, c: int, chunk_a: int, chunk_b: int, busy: int, start: int, sub: Any, lags: Any,
    planes: Any, param: Any, counters: Any,
) -> tuple[int, int]:  # fmt: skip
    """The same for an OHMMA, whose positions are at `c`."""
    rows, columns = product_masks(regs, c)
    rows, columns = chunk_of(rows, 8 * chunk_a, 8), chunk_of(columns, 16 * chunk_b, 16)
    idle = max(0, start - sub[S.COLLECTED])
    if sub[S.LAGGING] <= idle and one_a_bank(rows, columns):
        return _caught_up(start + busy, sub, lags, busy)
    for i in range(SCRATCH):
        planes[i] = 0
    _enter(rows, columns, 0, planes, 0)
    taken, lag = _settle(planes, 1, lags, idle, busy, param[P.ACC_COLLECTOR])
    sub[S.COLLECTED] = start + taken
    sub[S.LAGGING] = lag
    counters[N.ACCUMULATOR_CONFLICTS] += taken - busy
    return taken, lag
