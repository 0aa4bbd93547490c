"""LDV: the condensed values of several lanes' runs, one lane's after the other's.

In: lanes' addresses and counts. Out: the address of each value, registers as SPWMMA takes them, and
the sectors of each part of the result on their way through L1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend.isa.table import REGISTER_VALUES, RUN_LANES, RUN_SLOT_BYTES
from .access import in_allocation
from .cache import SECTOR_SHIFT, load_sectors
from .compiled import inline
from .constants import FULL_MASK, LEVEL_BITS, Fault, M

RUN_VALUES = max(RUN_LANES.registers) * REGISTER_VALUES
"""Values that an LDV loads at most."""
PART_VALUES = 64
"""Values of the result that the load/store unit puts together at a time: 128 bytes."""
_LOW, _HIGH, _ALL = range(3)
_SLOT = RUN_SLOT_BYTES
_LOW_ROOM = RUN_LANES.registers[0] * REGISTER_VALUES


@inline
def find_runs(
    regs: Any, a: int, b: int, offset: int, lanes: int, mask: int, addr: Any, low: Any, high: Any,
    sms: Any, sm: int,
) -> int:  # fmt: skip
    """Each value's address in order, in `addr` from 32 on; returns their number, or -fault."""
    total: Any = 0
    room = RUN_VALUES if lanes == _ALL else _LOW_ROOM
    for i in range(32 if lanes == _ALL else 16):
        lane = (i >> 1) + 16 * (i & 1) if lanes == _ALL else i + 16 * lanes
        if (mask >> lane) & 1 == 0:
            continue
        address = (np.int64(regs[a + lane]) + offset) & FULL_MASK
        word = np.int64(regs[b + lane])
        first, count = word & 0xFF, (word >> 8) & 0xFF
        if count == 0 and first == 0:
            continue
        following = (address & ~(_SLOT - 1)) + _SLOT
        fault = 0
        if address & 1:
            fault = Fault.MISALIGNED
        elif first > count or address + 2 * first > following or 2 * (count - first) > _SLOT:
            fault = Fault.RUN_SLOT
        elif (
            first > 0 and not in_allocation(low, high, sms, sm, address, address + 2 * first)
        ) or (
            count > first
            and not in_allocation(low, high, sms, sm, following, following + 2 * (count - first))
        ):
            fault = Fault.GLOBAL_BOUNDS
        elif total + count > room:
            fault = Fault.CAPACITY
        if fault != 0:
            sms[sm, M.FAULT_LANE] = lane
            sms[sm, M.FAULT_ADDRESS] = address
            return -fault
        for j in range(first):
            addr[32 + total + j] = address + 2 * j
        for j in range(count - first):
            addr[32 + total + first + j] = following + 2 * j
        total += count
    return total


@inline
def clear_rows(regs: Any, first: int, rows: int) -> None:
    """Zeros in `rows` registers."""
    for i in range(32 * rows):
        regs[first + i] = np.uint32(0)


@inline
def place_values(regs: Any, d: int, source: int, first: int, count: int) -> None:
    """Put the halves in the first `count` lanes at `source` where values from `first` on belong."""
    for i in range(count):
        index = first + i
        word = index >> 1
        at = d + (4 * (word >> 7) + (word & 3)) * 32 + ((word & 127) >> 2)
        regs[at] |= regs[source + i] << np.uint32(16 * (index & 1))


@inline
def load_parts(
    sm: int, places: Any, values: int, sectors: Any, now: int, rate: int, latency: int,
    record: int, sets: int, tags: Any, used: Any, fills: Any, requests: Any, sms: Any,
    counters: Any,
) -> tuple[int, int]:  # fmt: skip
    """As `load_sectors`, part after part of the result: each reads the sectors that it needs.

    A part takes whole cycles: those of 128 bytes at least, as it is written to registers.
    """
    done, misses = (now + latency) << LEVEL_BITS, 0
    for first in range(0, values, PART_VALUES):
        count = 0
        last = np.int64(-1)
        for i in range(first, min(values, first + PART_VALUES)):
            sector = places[i] >> SECTOR_SHIFT
            if sector != last:
                last = sector
                at = count - 1
                while at >= 0 and sectors[at] != sector:
                    at -= 1
                if at < 0:
                    sectors[count] = sector
                    count += 1
        sms[sm, M.L1_FREE] = max(now * rate, (sms[sm, M.L1_FREE] + rate - 1) // rate * rate)
        part, missing = load_sectors(
            sm, count, sectors, now, rate, latency, record, sets, tags, used, fills, requests, sms,
            counters,
        )  # fmt: skip
        sms[sm, M.L1_FREE] = (sms[sm, M.L1_FREE] + rate - 1) // rate * rate
        done = max(done, part)
        misses += missing
    return done, misses
