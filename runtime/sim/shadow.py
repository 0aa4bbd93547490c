"""Full checks: what each byte of memory has been through, beside its value.

In: lane addresses of accesses that are within bounds. Out: the fault of the first lane that reads
what was never written, or that races with another warp of its CTA between two barriers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inline
from .constants import Fault, M

_ALL_WRITTEN = np.uint32(0x01010101)
_WARP_BITS, _MANY = 7, 127
_WARP = (1 << _WARP_BITS) - 1
_WRITTEN = 1 << 2 * _WARP_BITS
_EPOCH = 2 * _WARP_BITS + 1
"""A byte of shared memory: the warp (plus 1) that wrote it since the last barrier, the one that
read it (127: several), whether it was ever written, the barriers that its CTA had passed then."""


@inline
def audit_global(
    addr: Any, mask: int, width: int, stores: bool, written: Any, words: Any, sms: Any, sm: int
) -> int:
    """Mark the bytes that a store writes; fault if another access reads one that is not marked.

    `written`: uint8, one a byte of device memory, 1 where written; `words`: the same by four.
    """
    for lane in range(32):
        if (mask >> lane) & 1:
            at = addr[lane]
            if width >= 4:
                for word in range(at >> 2, (at + width) >> 2):
                    if stores:
                        words[word] = _ALL_WRITTEN
                    elif words[word] != _ALL_WRITTEN:
                        return _blame(Fault.GLOBAL_UNINITIALISED, lane, at, 0, sms, sm)
            else:
                for byte in range(at, at + width):
                    if stores:
                        written[byte] = 1
                    elif written[byte] == 0:
                        return _blame(Fault.GLOBAL_UNINITIALISED, lane, at, 0, sms, sm)
    return 0


@inline
def audit_shared(
    addr: Any, mask: int, width: int, stores: bool, base: int, warp: int, epoch: int, marks: Any,
    sms: Any, sm: int,
) -> int:  # fmt: skip
    """Enter a shared access of `warp` after `epoch` barriers in `marks` (int64, one a byte).

    Faults for a read of what was never written, and when another warp accessed the byte since the
    last barrier and one of the two wrote it, the same value or not.
    """
    own = warp + 1
    for lane in range(32):
        if (mask >> lane) & 1:
            for at in range(base + addr[lane], base + addr[lane] + width):
                mark = marks[at]
                if not stores and mark & _WRITTEN == 0:
                    return _blame(Fault.SHARED_UNINITIALISED, lane, addr[lane], 0, sms, sm)
                if mark >> _EPOCH != epoch:
                    mark = (epoch << _EPOCH) | (mark & _WRITTEN)
                writer, reader = mark & _WARP, (mark >> _WARP_BITS) & _WARP
                other = 0
                if writer != 0 and writer != own:
                    other = writer
                elif stores and reader != 0 and reader != own:
                    other = reader
                if other != 0:
                    return _blame(Fault.SHARED_RACE, lane, addr[lane], other, sms, sm)
                if stores:
                    mark = (mark | _WRITTEN) & ~_WARP | own
                elif reader == 0:
                    mark |= own << _WARP_BITS
                elif reader != own:
                    mark |= _MANY << _WARP_BITS
                marks[at] = mark
    return 0


@inline
def _blame(fault: int, lane: int, address: int, other: int, sms: Any, sm: int) -> int:
    sms[sm, M.FAULT_LANE] = lane
    sms[sm, M.FAULT_ADDRESS] = address
    sms[sm, M.FAULT_OTHER] = other
    return fault
