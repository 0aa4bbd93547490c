"""The chip's side of memory timing: L2 slices, what they ask of DRAM, and the atomics' values.

In: the requests that the SMs made in a quantum. Out: completion times, written to the scoreboards
and the L1 fills; requests are served in (time, SM, sequence) order, so the result does not hang on
the order in which the SMs were simulated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .access import atomic_lane
from .cache import find_room, find_way, land, oldest_way
from .compiled import helper, inline
from .constants import (
    FULL_MASK,
    LEVEL_BITS,
    PENDING,
    TICKS,
    Cause,
    L,
    Level,
    M,
    N,
    P,
    Q,
    R,
    Request,
    S,
    W,
    WarpState,
)
from .dram import dram_transfer
from .intrinsics import prefetch_1

SECTOR_BYTES = 32
FETCHED = 4
"""Requests ahead of which the host fetches where their sector goes in L1."""


@inline
def slice_of(line: int, slices: int) -> int:
    """The slice that holds a line."""
    return (line ^ (line >> 7) ^ (line >> 13)) % slices


@inline
def l2_access(
    sector: int, time: int, write: bool, cover: int, param: Any, tags: Any, used: Any,
    valid: Any, dirty: Any, fills: Any, slices_free: Any, dram: Any, clock: Any, counters: Any,
) -> int:  # fmt: skip
    """One sector in L2 from `time` on (request path included). Returns the stamp when L2 has it.

    `cover`: mask of the bytes that a store writes; 0: a load, or an atomic (`write`). Write-back,
    write-allocate, lazy fetch on read: a sector that is not there is not fetched for a store. The
    bytes written are noted (in `fills`): it is valid once they are all, and fetched if it is read
    before.
    """
    line, part = sector >> 2, sector & 3
    at, index, hit = clock[L.SLICE], clock[L.SET], clock[L.WAY]
    again = tags[at, index, hit] == line  # the line of the access before
    if not again:
        at, index = slice_of(line, tags.shape[0]), (line // tags.shape[0]) % tags.shape[1]
    start = max(time * param[P.L2_RATE], slices_free[at])
    slices_free[at] = start + 1
    start = start // param[P.L2_RATE]
    clock[L.STAMP] += 1
    if not again:
        hit = find_way(tags[at, index], line)
    bit = 1 << part
    counters[N.L2_ACCESSES] += 1
    if hit < 0:
        hit = oldest_way(used[at, index], clock[L.STAMP])
        lost = dirty[at, index, hit]
        while lost != 0:
            lost &= lost - 1
            counters[N.DRAM_WRITTEN] += SECTOR_BYTES
            begun = dram_transfer(dram, tags[at, index, hit], start, param, counters)
            # what evicts waits while DRAM has more to write than its queue holds
            start = max(start, begun - param[P.DRAM_WRITES])
        slices_free[at] = max(slices_free[at], start * param[P.L2_RATE])
        tags[at, index, hit] = line
        valid[at, index, hit] = 0
        dirty[at, index, hit] = 0
    used[at, index, hit] = clock[L.STAMP]
    clock[L.SLICE], clock[L.SET], clock[L.WAY] = at, index, hit
    begun_before = dirty[at, index, hit] & bit
    if write:
        dirty[at, index, hit] |= bit
    if valid[at, index, hit] & bit:
        counters[N.L2_HITS] += 1
        there = fills[at, index, hit, part]
        if there > start:
            return (there << LEVEL_BITS) | Level.DRAM
        return (start << LEVEL_BITS) | Level.L2
    if cover != 0:
        if begun_before:
            cover |= fills[at, index, hit, part]
        if cover == FULL_MASK:
            valid[at, index, hit] |= bit
        fills[at, index, hit, part] = start if cover == FULL_MASK else cover
        return (start << LEVEL_BITS) | Level.L2
    valid[at, index, hit] |= bit
    counters[N.DRAM_READ] += SECTOR_BYTES
    begun = dram_transfer(dram, line, start, param, counters)
    done = begun + param[P.DRAM] - param[P.DRAM_OPEN] - param[P.L2]
    fills[at, index, hit, part] = done
    return (start << LEVEL_BITS) | Level.L2 if write else (done << LEVEL_BITS) | Level.DRAM


@helper
def drain(
    sms_count: int, begin: int, end: int, param: Any, sms: Any, subs: Any, warps: Any,
    requests: Any, records: Any, atomics: Any, ready: Any, meta: Any, l1_fills: Any, regs: Any,
    mem32: Any, tags: Any, used: Any, valid: Any, dirty: Any, fills: Any, slices_free: Any,
    dram: Any, clock: Any, counters: Any, next_request: Any, landings: Any,
) -> None:  # fmt: skip
    """Serve every request of the quantum begin..end-1 and clear the SMs' lists."""
    request_path = param[P.L2_REQUEST]
    read_ticks = SECTOR_BYTES * TICKS // param[P.PORT_READ]
    miss_limit, store_limit = param[P.MISS_SECTORS], param[P.STORE_SECTORS]
    level_mask = (1 << LEVEL_BITS) - 1
    write_ticks = SECTOR_BYTES * TICKS // param[P.PORT_WRITE]
    left, have = 0, 0
    for sm in range(sms_count):
        next_request[sm] = 0
        left += sms[sm, M.REQUESTS]
    time = begin
    while left > 0:
        later = np.int64(1) << 60
        for sm in range(sms_count):
            n = next_request[sm]
            while n < sms[sm, M.REQUESTS]:
                at = requests[sm, n, Q.TIME]
                if at > time:
                    later = min(later, at)
                    break
                left -= 1
                soon = requests[sm, min(n + FETCHED, requests.shape[1] - 1), Q.L1]
                prefetch_1(l1_fills, sm * l1_fills.shape[1] + soon)
                kind = requests[sm, n, Q.KIND]
                sector = requests[sm, n, Q.SECTOR]
                record = requests[sm, n, Q.RECORD]
                if kind == Request.MERGE:
                    done = requests[sm, requests[sm, n, Q.L1], Q.DONE]
                    done = max(done, (at + param[P.L1]) << LEVEL_BITS)
                    records[sm, record, R.DONE] = max(records[sm, record, R.DONE], done)
                else:
                    asked = at
                    if kind == Request.STORE:
                        ticks = max(at * TICKS, sms[sm, M.PORT_WRITE])
                        sms[sm, M.PORT_WRITE] = ticks + write_ticks
                        asked = ticks // TICKS
                    have = l2_access(
                        sector, asked + request_path, kind != Request.LOAD,
                        record if kind == Request.STORE else 0, param, tags, used, valid, dirty,
                        fills, slices_free, dram, clock, counters,
                    )  # fmt: skip
                if kind == Request.LOAD:
                    ticks = max(((have >> LEVEL_BITS) + param[P.L2] - request_path) * TICKS,
                                sms[sm, M.PORT_READ])  # fmt: skip
                    sms[sm, M.PORT_READ] = ticks + read_ticks
                    arrival = max(ticks // TICKS, end)
                    land(arrival, sms[sm, M.MISSES_SETTLED], miss_limit, 0, landings[sm])
                    sms[sm, M.MISSES_SETTLED] += 1
                    done = (arrival << LEVEL_BITS) | (have & level_mask)
                    requests[sm, n, Q.DONE] = done
                    l1 = requests[sm, n, Q.L1]
                    if l1_fills[sm, l1] == -2 - n:
                        l1_fills[sm, l1] = max(0, done - (param[P.L1] << LEVEL_BITS))
                    records[sm, record, R.DONE] = max(records[sm, record, R.DONE], done)
                elif kind == Request.STORE:
                    have >>= LEVEL_BITS
                    counters[N.STORE_END] = max(counters[N.STORE_END], have)
                    land(have, sms[sm, M.STORES_SETTLED], store_limit, miss_limit, landings[sm])
                    sms[sm, M.STORES_SETTLED] += 1
                elif kind == Request.ATOMIC:
                    have >>= LEVEL_BITS
                    lanes = requests[sm, n, Q.L1]
                    place = slice_of(sector >> 2, tags.shape[0])
                    slices_free[place] += lanes * param[P.ATOMIC] * param[P.L2_RATE]
                    counters[N.ATOMIC_LANES] += lanes
                    counters[N.STORE_END] = max(counters[N.STORE_END], have)
                    done = max(have + lanes * param[P.ATOMIC] + param[P.L2] - request_path, end)
                    land(done, sms[sm, M.STORES_SETTLED], store_limit, miss_limit, landings[sm])
                    sms[sm, M.STORES_SETTLED] += 1
                    done = (done << LEVEL_BITS) | Level.L2
                    records[sm, record, R.DONE] = max(records[sm, record, R.DONE], done)
                    if records[sm, record, R.SLOT] >= 0:
                        update_memory(sm, record, records, atomics, regs, mem32, warps)
                n += 1
            next_request[sm] = n
        time = later
    for sm in range(sms_count):
        for record in range(sms[sm, M.RECORDS]):
            w = records[sm, record, R.WARP]
            if warps[w, W.LINEAR] != records[sm, record, R.LINEAR]:
                continue  # the warp exited without waiting for it
            warps[w, W.ATOMIC] = 0
            done = records[sm, record, R.DONE]
            first = records[sm, record, R.DEST]
            for r in range(first, first + records[sm, record, R.COUNT]):
                ready[w, r] = (done >> LEVEL_BITS) + records[sm, record, R.EXTRA]
                meta[w, r] = Cause.SCOREBOARD_L1 + (done & level_mask)
            wake_pending(w, sm, end, warps, subs)
        if sms[sm, M.REQUESTS] > 0:
            full = max(sms[sm, M.RUN_ROOM], sms[sm, M.STORE_ROOM]) >= PENDING
            find_room(sm, param, sms, landings)
            if full:
                for w in range(sm * param[P.RESIDENT], (sm + 1) * param[P.RESIDENT]):
                    if warps[w, W.CAUSE] == Cause.GLOBAL_QUEUE:
                        wake_pending(w, sm, end, warps, subs)
        sms[sm, M.REQUESTS] = 0
        sms[sm, M.RECORDS] = 0
        sms[sm, M.ATOMICS] = 0


@inline
def wake_pending(w: int, sm: int, end: int, warps: Any, subs: Any) -> None:
    """Let a warp that waits for what the quantum's end fixes look again."""
    if warps[w, W.STATE] == WarpState.RUNNING and warps[w, W.WAKE] > PENDING // 2:
        warps[w, W.WAKE] = end
        warps[w, W.DATA] = -1
        sub = warps[w, W.SUB]
        subs[sm, sub, S.WAKE] = min(subs[sm, sub, S.WAKE], end)


@inline
def update_memory(
    sm: int, record: int, records: Any, atomics: Any, regs: Any, mem32: Any, warps: Any
) -> None:
    """Carry out a RED or ATOM, lane by lane, at its first request."""
    slot = records[sm, record, R.SLOT]
    records[sm, record, R.SLOT] = -1
    kind = records[sm, record, R.KIND]
    mask = records[sm, record, R.MASK]
    alive = warps[records[sm, record, R.WARP], W.LINEAR] == records[sm, record, R.LINEAR]
    for lane in range(32):
        if (mask >> lane) & 1:
            value = np.uint32(atomics[sm, slot, 32 + lane])
            old = atomic_lane(mem32, atomics[sm, slot, lane], value, kind)
            if kind == 3 and alive:
                regs[records[sm, record, R.OFFSET] + lane] = old
