"""Memories of a kernel under interpretation: bounds, alignment, gather and scatter of lanes.

In: byte addresses, u32 arrays that broadcast to (CTAs, warps, 32), and masks of lanes. Out: values
of lanes; the mask of the lanes whose access is wrong, with the reason, for the error message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.layout import round_up
from ...backend.isa.table import WARP_SIZE

Array = NDArray[Any]
Mask = NDArray[np.bool_]

BASE = 256
"""Address of the first allocation; 0 to BASE - 1 stay unmapped, so that null addresses fail."""
ALIGN = 256
"""Allocations start at multiples of this many bytes."""
LOAD_ALIGN = 16
"""An allocation may be read up to the next multiple of this: the widest access of a lane."""
UNSET = 0xFF
"""Byte that shared memory starts with: NaNs, should a kernel read what nobody wrote."""


@dataclass(frozen=True)
class Fault(Exception):
    """A wrong access: the lanes concerned (broadcasts to the grid), their addresses, the reason."""

    lanes: Mask
    addresses: NDArray[np.int64]
    reason: str


class Memory:
    """Bytes with allocations; one for all CTAs (global) or one a CTA (shared).

    `extents`: (start, end) of each allocation, ascending. `ctas`: number of private copies.
    """

    def __init__(self, extents: Sequence[tuple[int, int]], ctas: int = 1, fill: int = 0):
        self.extents = tuple(extents)
        self._starts = np.array([start for start, _ in extents], np.int64)
        self._ends = np.array([end for _, end in extents], np.int64)
        size = round_up(max((end for _, end in extents), default=0), LOAD_ALIGN)
        self._stride = size if ctas > 1 else 0
        self.bytes = np.full(max(size * ctas, LOAD_ALIGN), fill, np.uint8)
        self._cta = np.arange(ctas, dtype=np.int64).reshape(ctas, 1, 1) * self._stride
        self._races: Races | None = None

    @staticmethod
    def shared(size: int, ctas: int, warps: int = 0) -> Memory:
        """Shared memory of `size` bytes for each of `ctas` CTAs.

        `warps`: of a CTA, if races between them are to be found.
        """
        memory = Memory([(0, size)] if size else [], ctas, UNSET)
        if warps:
            memory._races = Races(len(memory.bytes), (ctas, warps, WARP_SIZE))
        return memory

    def synchronize(self, ctas: Mask | None) -> None:
        """A barrier: what the warps of these CTAs (bool by CTA; None: all) did is done."""
        if self._races is not None:
            self._races.synchronize(ctas)

    @staticmethod
    def device(sizes: Sequence[int]) -> Memory:
        """Global memory with one zeroed allocation a size, in order from BASE, ALIGN-aligned."""
        extents: list[tuple[int, int]] = []
        at = BASE
        for size in sizes:
            extents.append((at, at + round_up(size, LOAD_ALIGN)))
            at = round_up(extents[-1][1], ALIGN)
        return Memory(extents)

    def load(
        self, address: Array, offset: int, unit: np.dtype[Any], count: int, mask: Mask | None
    ) -> Array:
        """`count` elements of dtype `unit` a lane, on a new last axis; of masked lanes anything."""
        width = unit.itemsize * count
        at = self._checked(address, offset, width, mask)
        if at is None:
            return np.zeros((*address.shape, count), unit)
        if self._races is not None:
            self._races.access(at, width, mask, address, write=False)
        return self.bytes.view(unit).reshape(-1, count)[at // width]

    def store(self, address: Array, offset: int, value: Array, mask: Mask | None,
              grid: tuple[int, int, int]) -> None:  # fmt: skip
        """Write `value` (broadcasts to grid + (elements,)); of lanes in conflict the last wins."""
        count = value.shape[-1]
        width = value.dtype.itemsize * count
        at = self._checked(address, offset, width, mask)
        if at is None:
            return
        if self._races is not None:
            self._races.access(at, width, mask, address, write=True)
        rows = self.bytes.view(value.dtype).reshape(-1, count)
        where = np.broadcast_to(at // width, grid)
        what = np.broadcast_to(value, (*grid, count))
        if mask is None:
            rows[where.ravel()] = what.reshape(-1, count)
        else:
            lanes = np.broadcast_to(mask, grid)
            rows[where[lanes]] = what[lanes]

    def set_bits(self, address: Array, offset: int, value: Array, mask: Mask | None,
                 grid: tuple[int, int, int]) -> None:  # fmt: skip
        """OR u32 words (broadcast to the grid) into memory, whichever lanes meet."""
        at = self._checked(address, offset, 4, mask)
        if at is None:
            return
        where = np.broadcast_to(at // 4, grid)
        what = np.broadcast_to(value, grid)
        lanes = np.broadcast_to(True if mask is None else mask, grid)
        np.bitwise_or.at(self.bytes.view(np.uint32), where[lanes], what[lanes])

    def fetch_add(self, address: Array, value: Array, mask: Mask | None,
                  grid: tuple[int, int, int]) -> Array:  # fmt: skip
        """Add u32 or f32 words to memory, lane by lane in ascending order; what each found."""
        found = np.zeros(grid, value.dtype)
        at = self._checked(address, 0, 4, mask)
        if at is None:
            return found
        words = self.bytes.view(value.dtype)
        where, what = np.broadcast_to(at // 4, grid), np.broadcast_to(value, grid)
        lanes = np.broadcast_to(True if mask is None else mask, grid)
        for lane in zip(*np.nonzero(lanes), strict=True):
            found[lane] = words[where[lane]]
            words[where[lane]] += what[lane]
        return found

    def _checked(
        self, address: Array, offset: int, width: int, mask: Mask | None
    ) -> NDArray[np.int64] | None:
        """Positions in `bytes` (0 in masked lanes); None if no lane is active."""
        at = address.astype(np.int64) + offset
        if mask is not None:
            if not mask.any():
                return None
            at, mask = np.broadcast_arrays(at, mask)
            if not mask.all():
                # masked lanes repeat the first active address, which makes them harmless
                at = np.where(mask, at, at[np.unravel_index(np.argmax(mask), mask.shape)])
        bad = at & (width - 1) != 0
        if bad.any():
            raise Fault(bad if mask is None else bad & mask, at, f"not a multiple of {width}")
        if not self._within_one(int(at.min()), int(at.max()) + width):
            bad = ~self._inside(at, width)
            if bad.any():
                raise Fault(bad if mask is None else bad & mask, at, self._outside(width))
        return at + self._cta if self._stride else at

    def _within_one(self, low: int, high: int) -> bool:
        i = int(np.searchsorted(self._starts, low, "right")) - 1
        return i >= 0 and high <= int(self._ends[i])

    def _inside(self, at: NDArray[np.int64], width: int) -> Mask:
        if not self.extents:
            return np.zeros(at.shape, np.bool_)
        i = np.searchsorted(self._starts, at, "right") - 1
        return (i >= 0) & (at + width <= self._ends[np.maximum(i, 0)])

    def _outside(self, width: int) -> str:
        ranges = ", ".join(f"{a:#x}..{b - 1:#x}" for a, b in self.extents[:6]) or "none"
        more = f" and {len(self.extents) - 6} more" if len(self.extents) > 6 else ""
        return f"{width} bytes there are not within one allocation ({ranges}{more})"


_NOBODY, _SEVERAL = -1, -2


class Races:
    """Who touched each byte of shared memory since the last barrier.

    Two warps race if both touch a byte between barriers and one of them writes it: which comes
    first is nobody's to say, though an interpreter runs them in one order.
    """

    def __init__(self, size: int, grid: tuple[int, int, int]):
        self._reader = np.full(size, _NOBODY, np.int16)
        self._writer = np.full(size, _NOBODY, np.int16)
        self._grid = grid

    def synchronize(self, ctas: Mask | None) -> None:
        """Forget what these CTAs did."""
        for touched in (self._reader, self._writer):
            if ctas is None or self._grid[0] == 1:
                touched[:] = _NOBODY
            else:
                touched.reshape(self._grid[0], -1)[ctas] = _NOBODY

    def access(
        self, at: NDArray[np.int64], width: int, mask: Mask | None, address: Array, *, write: bool
    ) -> None:
        """Lanes access `width` bytes from `at` (CTAs, warps, lanes). Raises `Fault` at a race."""
        shape = self._grid
        places = (np.broadcast_to(at, shape)[..., None] + np.arange(width)).reshape(-1)
        warps = np.broadcast_to(
            np.arange(shape[1], dtype=np.int16).reshape(1, -1, 1, 1), (*shape, width)
        ).reshape(-1)
        bad = np.zeros(len(places), np.bool_)
        lanes = None if mask is None else np.repeat(np.broadcast_to(mask, shape).reshape(-1), width)
        some = slice(None) if lanes is None else lanes
        where, who = places[some], warps[some]

        def others(touched: NDArray[np.int16]) -> Mask:
            return (touched[where] != _NOBODY) & (touched[where] != who)

        wrong = others(self._writer)
        if write:
            wrong |= others(self._reader)
            self._writer[where] = who
            wrong |= self._writer[where] != who
        else:
            mixed = others(self._reader)
            self._reader[where] = who
            mixed |= self._reader[where] != who
            self._reader[where[mixed]] = _SEVERAL
        if wrong.any():
            bad[some] = wrong
            raise Fault(
                np.asarray(bad.reshape(*shape, width).any(axis=-1)), address.astype(np.int64),
                f"another warp {'touched' if write else 'wrote'} these bytes of shared memory, "
                "with no barrier in between",
            )  # fmt: skip
