"""An SM's global stores of a quantum: seen by itself at once, by the other SMs from its end on.

In: stores and loads as lane addresses and registers. Out: entries of the SM's log, loads that see
them, and memory once the quantum is over; so no result hangs on the order SMs are simulated in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .access import store_lanes
from .compiled import inline
from .constants import Log, M
from .shadow import mark_written

DATA_REGISTERS = 4
"""Registers that a store can have: 16 bytes a lane."""
LOG_DATA = DATA_REGISTERS * 32
"""Words of data an entry."""


@inline
def extent(addr: Any, mask: int, width: int) -> tuple[int, int]:
    """First byte and end of the bytes that the lanes touch."""
    low, high = 1 << 40, 0
    for lane in range(32):
        if (mask >> lane) & 1:
            low = min(low, addr[lane])
            high = max(high, addr[lane])
    return low, high + width


@inline
def log_store(
    regs: Any, source: int, addr: Any, mask: int, width: int, count: int, sm: int, sms: Any,
    log: Any, log_data: Any,
) -> None:  # fmt: skip
    """Enter a store of `count` registers a lane from `source` on."""
    n = sms[sm, M.LOGGED]
    low, high = extent(addr, mask, width)
    if n == 0:
        sms[sm, M.LOGGED_LOW], sms[sm, M.LOGGED_HIGH] = low, high
    sms[sm, M.LOGGED] = n + 1
    sms[sm, M.LOGGED_LOW] = min(low, sms[sm, M.LOGGED_LOW])
    sms[sm, M.LOGGED_HIGH] = max(high, sms[sm, M.LOGGED_HIGH])
    entry = log[sm, n]
    entry[Log.LOW], entry[Log.HIGH] = low, high
    entry[Log.MASK], entry[Log.WIDTH], entry[Log.COUNT] = mask, width, count
    data = (sm * log.shape[1] + n) * LOG_DATA
    for lane in range(32):
        entry[Log.ADDRESS + lane] = addr[lane]
    for i in range(32 * count):
        log_data[data + i] = regs[source + i]


@inline
def see_stores(
    regs: Any, to: int, addr: Any, mask: int, width: int, sm: int, sms: Any, log: Any,
    log_data: Any,
) -> None:  # fmt: skip
    """Put what the SM itself stored in this quantum into the registers of a load from memory."""
    if sms[sm, M.LOGGED] == 0:
        return
    low, high = extent(addr, mask, width)
    if high <= sms[sm, M.LOGGED_LOW] or low >= sms[sm, M.LOGGED_HIGH]:
        return
    for n in range(sms[sm, M.LOGGED]):
        entry = log[sm, n]
        if high <= entry[Log.LOW] or low >= entry[Log.HIGH]:
            continue
        data = (sm * log.shape[1] + n) * LOG_DATA
        for source in range(32):
            if (entry[Log.MASK] >> source) & 1 == 0:
                continue
            first = entry[Log.ADDRESS + source]
            end = first + entry[Log.WIDTH]
            for lane in range(32):
                if (mask >> lane) & 1 and addr[lane] < end and first < addr[lane] + width:
                    for at in range(max(first, addr[lane]), min(end, addr[lane] + width)):
                        give, take = at - first, at - addr[lane]
                        word = np.int64(log_data[data + (give >> 2) * 32 + source])
                        byte = (word >> (8 * (give & 3))) & 0xFF
                        place = to + (take >> 2) * 32 + lane
                        kept = np.int64(regs[place]) & ~(0xFF << (8 * (take & 3)))
                        regs[place] = np.uint32(kept | (byte << (8 * (take & 3))))


@inline
def store_all(sms: Any, log: Any, log_data: Any, mem8: Any, mem32: Any, written: Any) -> None:
    """Carry out the stores of the quantum, SM by SM, and clear the logs.

    `written`: the shadow of device memory; empty without full checks.
    """
    for sm in range(sms.shape[0]):
        for n in range(sms[sm, M.LOGGED]):
            entry = log[sm, n]
            store_lanes(
                log_data, (sm * log.shape[1] + n) * LOG_DATA, entry[Log.ADDRESS :],
                entry[Log.MASK], entry[Log.WIDTH], entry[Log.COUNT], mem8, mem32, 0,
            )  # fmt: skip
            if len(written) > 0:
                mark_written(entry[Log.ADDRESS :], entry[Log.MASK], entry[Log.WIDTH], written)
        sms[sm, M.LOGGED] = 0
