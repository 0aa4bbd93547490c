"""Full checks: what each byte of memory has been through, beside its value.

In: lane addresses of accesses that are within bounds. Out: the fault of the first lane that reads
what was never written, or that races with another warp of its CTA between two barriers.
"""

from __future__ import annotations

from typing import Any

from .compiled import helper, inline
from .constants import Fault, Log, M

_WARP_BITS, _MANY = 7, 127
_WARP = (1 << _WARP_BITS) - 1
_WRITTEN = 1 << 2 * _WARP_BITS
_EPOCH = 2 * _WARP_BITS + 1
"""A byte of shared memory: the warp (plus 1) that wrote it since the last barrier, the one that
read it (127: several), whether it was ever written, the barriers that its CTA had passed then."""


@inline
def mark_written(addr: Any, mask: int, width: int, written: Any) -> None:
    """Mark the bytes that a store writes in `written` (uint8, one a byte of device memory)."""
    for lane in range(32):
        if (mask >> lane) & 1:
            for byte in range(addr[lane], addr[lane] + width):
                written[byte] = 1


@helper
def audit_global(
    addr: Any, mask: int, width: int, written: Any, sm: int, sms: Any, log: Any
) -> int:
    """Fault of the first lane that reads a byte neither marked nor in the SM's store log."""
    for lane in range(32):
        if (mask >> lane) & 1:
            for byte in range(addr[lane], addr[lane] + width):
                if written[byte] == 0 and not _stored(byte, sm, sms, log):
                    return _blame(Fault.GLOBAL_UNINITIALISED, lane, addr[lane], 0, sms, sm)
    return 0


@inline
def _stored(byte: int, sm: int, sms: Any, log: Any) -> bool:
    """Whether the SM itself wrote the byte in this quantum."""
    for n in range(sms[sm, M.LOGGED]):
        entry = log[sm, n]
        if entry[Log.LOW] <= byte < entry[Log.HIGH]:
            for lane in range(32):
                if (entry[Log.MASK] >> lane) & 1:
                    first = entry[Log.ADDRESS + lane]
                    if first <= byte < first + entry[Log.WIDTH]:
                        return True
    return False


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
