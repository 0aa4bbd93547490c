"""The SM's side of memory timing: bank conflicts, coalescing, L1 tags, requests to L2.

In: lane addresses of an access. Out: shared-memory wavefronts; the 32-byte sectors of a global
access, looked up in L1, and a request for each one that must go to L2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inline
from .constants import LEVEL_BITS, PENDING, M, N, P, Q, Request
from .intrinsics import popcount

SECTOR_SHIFT, LINE_SHIFT, SECTORS = 5, 7, 4
ACCESS_SECTORS = 32
"""Sectors of an access, at most: one a lane."""
RUN_SECTORS = 128
"""Sectors of an LDV, at most: two slots of two a lane."""


@inline
def wavefronts(addr: Any, mask: int, width: int, words: Any) -> int:
    """Passes over the 32 banks. Lanes that want one word share it; 64-bit accesses go by half
    warps, 128-bit ones by quarter warps."""
    group = 32 if width <= 4 else (16 if width == 8 else 8)
    shift = 2 if width <= 4 else (3 if width == 8 else 4)
    per_lane = 1 << (shift - 2)
    total = 0
    for start in range(0, 32, group):
        # usual: every lane has banks of its own
        banks, lanes = np.int64(0), np.int64(0)
        for lane in range(start, start + group):
            on = (mask >> lane) & 1
            banks |= on << ((addr[lane] >> shift) & (group - 1))
            lanes += on
        if popcount(np.uint32(banks)) == lanes:
            total += 1 if lanes > 0 else 0
            continue
        worst = 0
        for bank in range(32):
            words[bank] = 0
        for lane in range(start, start + group):
            if (mask >> lane) & 1:
                for r in range(per_lane):
                    word = (addr[lane] >> 2) + r
                    bank = word & 31
                    # the bank's words so far stand in row `bank`, their number in words[bank]
                    first = 32 * (bank + 1)
                    used = words[bank]
                    i = 0
                    while i < used and words[first + i] != word:
                        i += 1
                    if i == used:
                        words[first + i] = word
                        words[bank] = used + 1
                        worst = max(worst, used + 1)
        total += worst
    return total


@inline
def coalesce(addr: Any, mask: int, width: int, sectors: Any, touched: Any, cover: Any) -> int:
    """Distinct sectors in order of first touch; for each, its lanes and a mask of its bytes."""
    count = 0
    bytes_ = (np.int64(1) << width) - 1
    last, at = np.int64(-1), 0
    for lane in range(32):
        if (mask >> lane) & 1:
            sector = addr[lane] >> SECTOR_SHIFT
            if sector != last:
                last = sector
                at = count - 1
                while at >= 0 and sectors[at] != sector:
                    at -= 1
                if at < 0:
                    at = count
                    sectors[at] = sector
                    touched[at] = 0
                    cover[at] = 0
                    count += 1
            touched[at] += 1
            cover[at] |= bytes_ << (addr[lane] & 31)
    return count


@inline
def find_way(tags: Any, line: int) -> int:
    """The way of a set that holds `line`, -1: none. Without early exit, it takes vectors."""
    hit = -1
    for way in range(tags.shape[0]):
        hit = max(hit, way if tags[way] == line else -1)
    return hit


@inline
def oldest_way(used: Any, stamp: int) -> int:
    """The first way of a set that was used longest ago, `stamp` being now."""
    oldest, victim = stamp, 0
    for way in range(used.shape[0]):
        if used[way] < oldest:
            oldest = used[way]
            victim = way
    return victim


@inline
def l1_find(
    sector: int, sm: int, sets: int, tags: Any, used: Any, fills: Any, sms: Any, allocate: bool
) -> int:
    """Flat index of the sector in L1, its line allocated if need be; -1: not there."""
    line = sector >> (LINE_SHIFT - SECTOR_SHIFT)
    index = (line ^ (line >> 5) ^ (line >> 11)) % sets
    ways = tags.shape[2]
    sms[sm, M.L1_CLOCK] += 1
    stamp = sms[sm, M.L1_CLOCK]
    hit = find_way(tags[sm, index], line)
    if hit >= 0:
        used[sm, index, hit] = stamp
        return (index * ways + hit) * SECTORS + (sector & 3)
    if not allocate:
        return -1
    victim = oldest_way(used[sm, index], stamp)
    tags[sm, index, victim] = line
    used[sm, index, victim] = stamp
    first = (index * ways + victim) * SECTORS
    for i in range(SECTORS):
        fills[sm, first + i] = -1
    return first + (sector & 3)


@inline
def request(
    sm: int, time: int, sector: int, kind: int, record: int, l1: int, requests: Any, sms: Any
) -> int:
    """Append a request; returns its number within the quantum."""
    n = sms[sm, M.REQUESTS]
    sms[sm, M.REQUESTS] = n + 1
    requests[sm, n, Q.TIME] = time
    requests[sm, n, Q.SECTOR] = sector
    requests[sm, n, Q.KIND] = kind
    requests[sm, n, Q.RECORD] = record
    requests[sm, n, Q.L1] = l1
    return n


@inline
def load_sectors(
    sm: int, count: int, sectors: Any, now: int, rate: int, latency: int, record: int, sets: int,
    tags: Any, used: Any, fills: Any, requests: Any, sms: Any, counters: Any,
) -> tuple[int, int]:  # fmt: skip
    """Pass a load's sectors through L1. Returns the stamp of its hits, and its misses.

    A sector's fill is -1 (absent), the stamp of its arrival, or -2 - n while request n fetches it.
    """
    slot = max(now * rate, sms[sm, M.L1_FREE])
    time, part = slot // rate, slot % rate
    done, misses = 0, 0
    counters[sm, N.L1_SECTORS] += count
    line, first = np.int64(-1), 0
    for i in range(count):
        if sectors[i] >> (LINE_SHIFT - SECTOR_SHIFT) != line:
            line = sectors[i] >> (LINE_SHIFT - SECTOR_SHIFT)
            first = l1_find(line * SECTORS, sm, sets, tags, used, fills, sms, True)
        at = first + (sectors[i] & (SECTORS - 1))
        fill = fills[sm, at]
        if fill >= 0:
            counters[sm, N.L1_HITS] += 1
            done = max(done, max(time << LEVEL_BITS, fill) + (latency << LEVEL_BITS))
        elif fill == -1:
            n = request(sm, time, sectors[i], Request.LOAD, record, at, requests, sms)
            fills[sm, at] = -2 - n
            sms[sm, M.MISSES] += 1
            misses += 1
        else:
            request(sm, time, sectors[i], Request.MERGE, record, -2 - fill, requests, sms)
            counters[sm, N.L1_HITS] += 1
            misses += 1
        part += 1
        if part == rate:
            time, part = time + 1, 0
    sms[sm, M.L1_FREE] = slot + count
    return done, misses


@inline
def room_after(
    asked: int, settled: int, limit: int, first: int, landings: Any, more: int = ACCESS_SECTORS
) -> int:
    """When an SM that asked for `asked` sectors can ask for `more`, `limit` being under way.

    `landings[first + i % limit]` is when the i-th sector gives its place back, in order, known for
    the first `settled`. `PENDING`: not known yet.
    """
    due = min(asked, asked + more - limit) - 1
    if due < 0:
        return 0
    return landings[first + due % limit] if due < settled else PENDING


@inline
def find_room(sm: int, param: Any, sms: Any, landings: Any) -> None:
    """Set when the SM has room for another load and for another store or atomic."""
    misses, stores = param[P.MISS_SECTORS], param[P.STORE_SECTORS]
    sms[sm, M.MISS_ROOM] = room_after(
        sms[sm, M.MISSES], sms[sm, M.MISSES_SETTLED], misses, 0, landings[sm]
    )
    sms[sm, M.RUN_ROOM] = room_after(
        sms[sm, M.MISSES], sms[sm, M.MISSES_SETTLED], misses, 0, landings[sm], RUN_SECTORS
    )
    sms[sm, M.STORE_ROOM] = room_after(
        sms[sm, M.STORES], sms[sm, M.STORES_SETTLED], stores, misses, landings[sm]
    )


@inline
def land(time: int, number: int, limit: int, first: int, landings: Any) -> None:
    """The `number`-th sector gives its place back at `time`, not before the one ahead of it."""
    before = landings[first + (number - 1) % limit]
    landings[first + number % limit] = max(before, time)
