"""Device memory: a 32-bit address space that grows as it is used.

In: allocations and bytes. Out: addresses; numpy arrays that the simulator reads and writes.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import round_up

_FIRST = 0x10000
"""No allocation starts lower: small integers are never addresses."""
GUARD = 256
"""Bytes between allocations that belong to none."""
_LIMIT = 1 << 32


class Memory:
    """Bytes of the device. `allocate` is a bump allocator that reuses freed space first.

    With `track`, `written` (uint8, one a byte) is 1 where a byte was written since its allocation.
    """

    def __init__(self, track: bool = False) -> None:
        self.track = track
        self.written = np.zeros(0, np.uint8)
        self._starts: list[int] = []
        self._sizes: dict[int, int] = {}
        self._arenas: dict[int, int] = {}
        self._set(np.zeros(1 << 20, np.uint8))

    def _set(self, data: NDArray[np.uint8]) -> None:
        self.bytes: NDArray[np.uint8] = data
        self.words: NDArray[np.uint32] = data.view(np.uint32)
        if self.track:
            written = np.zeros(len(data), np.uint8)
            written[: len(self.written)] = self.written
            self.written = written

    def allocate(self, size: int, align: int = 256) -> int:
        """Address of `size` fresh zero bytes, a multiple of `align` (a power of two)."""
        if size < 0 or align < 1 or align & (align - 1):
            raise DstcError(f"cannot allocate {size} bytes aligned to {align}")
        address = self._hole(max(size, 1), align)
        end = address + max(size, 1)
        if end > _LIMIT:
            raise DstcError(
                f"device memory is full: {size} bytes do not fit in the 32-bit address space"
            )
        if end > len(self.bytes):
            grown = np.zeros(
                min(_LIMIT, max(round_up(end, 1 << 20), 2 * len(self.bytes))), np.uint8
            )
            grown[: len(self.bytes)] = self.bytes
            self._set(grown)
        self.bytes[address:end] = 0
        self.written[address:end] = 0
        bisect.insort(self._starts, address)
        self._sizes[address] = size
        return address

    def _hole(self, size: int, align: int) -> int:
        """First gap that takes `size` bytes and a guard on either side."""
        at = _FIRST
        for start in self._starts:
            place = round_up(at, align)
            if place + size + GUARD <= start:
                return place
            at = start + self._sizes[start] + GUARD
        return round_up(at, align)

    def mark(self, address: int, written: NDArray[np.bool_]) -> None:
        """Add the bytes from `address` on whose flags are set to those written."""
        if self.track:
            self.written[address : address + written.size] |= written.view(np.uint8)

    def free(self, address: int) -> None:
        """Give an allocation back."""
        if address in self._arenas:
            size = self._arenas.pop(address)
            inside = [s for s in self._sizes if address <= s < address + max(size, 1)]
            for start in inside:
                del self._sizes[start]
            self._starts = sorted(self._sizes)
            return
        if address not in self._sizes:
            raise DstcError(f"cannot free {address:#x}: no allocation starts there")
        del self._sizes[address]
        self._starts.remove(address)

    def carve(self, address: int, pieces: Mapping[int, int]) -> None:
        """Let of the allocation at `address` only `pieces` (size by offset) be valid for now.

        What was not valid before counts as not written. `free` of the allocation frees it all.
        """
        size = self._arenas.setdefault(address, self._sizes.get(address, 0))
        old = {s: n for s, n in self._sizes.items() if address <= s < address + max(size, 1)}
        for start in old:
            del self._sizes[start]
        for offset, length in pieces.items():
            start = address + offset
            self._sizes[start] = length
            if self.track and old.get(start) != length:
                self.written[start : start + length] = 0
        self._starts = sorted(self._sizes)

    def check(self, address: int, size: int) -> None:
        """Raises `DstcError` unless the range lies in one allocation."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0 or address + size > self._starts[i] + self._sizes[self._starts[i]]:
            raise DstcError(f"{size} bytes at {address:#x} are not inside one allocation")

    def intervals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and past-the-end addresses of the live allocations, ascending; never empty."""
        starts = self._starts or [0]
        ends = [s + self._sizes.get(s, 0) for s in starts]
        return np.array(starts, np.int64), np.array(ends, np.int64)
