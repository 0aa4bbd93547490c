"""One SM for one quantum: pick, execute, account.

In: an SM's warps and sub-cores, and the quantum's bounds. Out: the same later; what must go to L2
stands in the SM's request list. An SM touches only its own rows, so SMs run in parallel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .cache import coalesce, find_room, l1_find, load_sectors, request, wavefronts
from .collector import collect_product, collect_step
from .compiled import helper, inline
from .constants import (
    DECODED_COLUMNS,
    LEVEL_BITS,
    PENDING,
    PREDICATE_SLOTS,
    UNSETTLED,
    C,
    Cause,
    D,
    Fault,
    M,
    N,
    Op,
    P,
    Pipe,
    R,
    Request,
    S,
    W,
    WarpState,
)
from .dispatch import own_next, place_cta
from .events import Event, note, note_issue, watched
from .execute import atomic_kind, execute, fetch_operands, tensor_step
from .hazards import KNOWN, hold_sources, mark_results, operands_time, pipe_time, unwritten
from .intrinsics import natural, prefetch_1, prefetch_2
from .runs import PART_VALUES, load_parts
from .tensor import WIDE_SIZE


@inline
def leave_barrier(
    sm: int, cta: int, now: int, delay: int, ctas: Any, warps: Any, subs: Any, resident: int,
    per_cta: int,
) -> None:  # fmt: skip
    """Release the CTA's barrier if every warp that has not exited is there."""
    if ctas[sm, cta, C.ARRIVED] == 0 or ctas[sm, cta, C.ARRIVED] < ctas[sm, cta, C.LIVE]:
        return
    ctas[sm, cta, C.ARRIVED] = 0
    ctas[sm, cta, C.EPOCH] += 1
    first = sm * resident + cta * per_cta
    for other in range(first, first + per_cta):
        if warps[other, W.STATE] == WarpState.AT_BARRIER:
            warps[other, W.STATE] = WarpState.RUNNING
            warps[other, W.WAKE] = now + delay
            sub = warps[other, W.SUB]
            subs[sm, sub, S.WAKE] = min(subs[sm, sub, S.WAKE], now + delay)


@inline
def retire_warp(
    sm: int, s: int, w: int, ctas: Any, warps: Any, subs: Any, queue: Any, sms: Any
) -> None:
    """A warp whose lanes have all exited leaves its sub-core."""
    warps[w, W.STATE] = WarpState.EXITED
    ctas[sm, warps[w, W.CTA], C.LIVE] -= 1
    sms[sm, M.SPENT] = 0
    sms[sm, M.RETIRED] += 1
    count = subs[sm, s, S.WARPS]
    at = 0
    while queue[sm, s, at] != w:
        at += 1
    for i in range(at, count - 1):
        queue[sm, s, i] = queue[sm, s, i + 1]
    subs[sm, s, S.WARPS] = count - 1
    subs[sm, s, S.GREEDY] = -1


@inline
def account(
    row: Any, w: int, sm: int, s: int, now: int, mask: int, out: Any, param: Any,
    regs: Any, base: int, addr: Any, scratch: Any, warps: Any, subs: Any, ring: Any, sms: Any,
    counters: Any, ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any,
    acc_transfer: Any, tags: Any, used: Any, fills: Any, requests: Any, records: Any,
    atomics: Any, sets: int, landings: Any, lags: Any, planes: Any,
) -> None:  # fmt: skip
    """Time of an issued instruction: pipes, queues, scoreboard, requests."""
    op = row[D.OP]
    pipe = row[D.PIPE]
    if pipe != Pipe.NONE:
        interval = row[D.INTERVAL] if mask != 0 or pipe != Pipe.LSU else param[P.LSU_OFF]
        # a SPWMMA, though switched off, issues while another has the pipe for longer
        subs[sm, s, S.PIPE + pipe] = max(subs[sm, s, S.PIPE + pipe], now + interval)
    warps[w, W.WAKE] = now + 1
    if row[D.PD] < 7:
        pred_ready[w, row[D.PD]] = now + param[P.PREDICATE]
    if mask == 0 and not Op.NOP <= op <= Op.EXIT:
        for r in range(row[D.DEST], row[D.DEST] + row[D.NDEST]):
            ready[w, r] = max(ready[w, r] if ready[w, r] < 2 * PENDING else 0, now + 1)
        return
    if pipe == Pipe.ALU or pipe == Pipe.FMA or pipe == Pipe.MUFU:
        mark_results(row, w, now + row[D.LATENCY], row[D.CAUSE], ready, meta)
    elif op == Op.LDS or op == Op.STS or op == Op.SHFL:
        start = max(now, sms[sm, M.SHARED_FREE])
        passes = 1
        latency = param[P.SHUFFLE]
        if op != Op.SHFL:
            passes = wavefronts(addr, mask, row[D.WIDTH], scratch)
            least = max(1, np.int64(row[D.WIDTH]) >> 2)
            counters[sm, N.SHARED_CONFLICTS] += max(0, passes - least)
            latency = param[P.SHARED]
        counters[sm, N.SHARED_WAVEFRONTS] += passes
        sms[sm, M.SHARED_FREE] = start + passes
        mark_results(row, w, start + passes - 1 + latency, row[D.CAUSE], ready, meta)
    elif pipe == Pipe.LSU:
        global_access(
            row, w, sm, now, mask, out[1], param, regs, base, addr, scratch, sms, counters, ready,
            meta, tags, used, fills, requests, records, atomics, sets, warps[w, W.LINEAR], landings,
        )  # fmt: skip
        if op == Op.RED or op == Op.ATOM:
            warps[w, W.ATOMIC] = 1
    elif pipe == Pipe.TENSOR:
        if row[D.HALVES] != 0:
            busy = max(out[1], param[P.SP_MIN])
            start = max(now + param[P.SP_STARTUP], subs[sm, s, S.PIPE + Pipe.TENSOR])
            start = max(start, sub_tensor_end(ring, sm, s, param))
            busy, lag = collect_step(
                regs, row[D.RC] + row[D.RC_REL] * base + row[D.MAP_A],
                row[D.RE] + row[D.RE_REL] * base + row[D.MAP_B], row[D.HALVES], busy, start,
                subs[sm, s], lags[sm, s], planes[sm], param, counters[sm],
            )  # fmt: skip
            end = start + busy
            place = subs[sm, s, S.RING]
            ring[sm, s, place] = end
            subs[sm, s, S.RING] = (place + 1) % param[P.SP_QUEUE]
            subs[sm, s, S.PIPE + Pipe.TENSOR] = end
            for tile in range(row[D.ACC], row[D.ACC] + row[D.TILES]):
                acc_ready[w, tile] = max(acc_ready[w, tile], end + lag + param[P.SP_LATENCY])
            hold_sources(row, w, end, release)
            counters[sm, N.OHMMA_ISSUED] += out[1]
            counters[sm, N.OHMMA_SKIPPED] += 128 * row[D.TILES] - out[1]
            counters[sm, N.TENSOR_BUSY] += busy
        elif op == Op.OHMMA:
            tile = row[D.ACC]
            busy, lag = row[D.INTERVAL], 0
            if out[1] != 0:
                busy, lag = collect_product(
                    regs, row[D.RC] + row[D.RC_REL] * base, row[D.M1], row[D.M2], busy, now,
                    subs[sm, s], lags[sm, s], planes[sm], param, counters[sm],
                )  # fmt: skip
                subs[sm, s, S.PIPE + Pipe.TENSOR] = max(
                    subs[sm, s, S.PIPE + Pipe.TENSOR], now + busy
                )
            acc_ready[w, tile] = max(acc_ready[w, tile], now + busy - 1 + lag + param[P.OHMMA])
            counters[sm, N.OHMMA_ISSUED] += out[1]
            counters[sm, N.OHMMA_SKIPPED] += out[2]
            counters[sm, N.TENSOR_BUSY] += busy
        else:
            mark_results(row, w, now + row[D.LATENCY], row[D.CAUSE], ready, meta)
            counters[sm, N.TENSOR_BUSY] += row[D.INTERVAL]
    elif pipe == Pipe.ACC:
        tile = row[D.ACC]
        duration = (8 + param[P.ACC_RATE] - 1) // param[P.ACC_RATE]
        subs[sm, s, S.PIPE + Pipe.ACC] = now + duration
        arrival = now + duration + param[P.ACC_LATENCY]
        if op == Op.ARD:
            acc_transfer[w, tile] = now + duration
            mark_results(row, w, arrival, row[D.CAUSE], ready, meta)
        else:
            acc_transfer[w, tile] = arrival
            hold_sources(row, w, now + duration, release)
    elif op == Op.ACLR:
        acc_transfer[w, row[D.ACC]] = now + param[P.ACC_CLEAR]
    elif op == Op.BRA or op == Op.BSYNC or op == Op.EXIT:
        warps[w, W.WAKE] = now + (param[P.TAKEN] if out[0] else param[P.BRANCH])
        warps[w, W.CAUSE] = Cause.BRANCH


@inline
def sub_tensor_end(ring: Any, sm: int, s: int, param: Any) -> int:
    """End of the last SPWMMA in the sub-core's queue."""
    end = 0
    for i in range(param[P.SP_QUEUE]):
        end = max(end, ring[sm, s, i])
    return end


@inline
def global_access(
    row: Any, w: int, sm: int, now: int, mask: int, values: int, param: Any, regs: Any, base: int,
    addr: Any, scratch: Any, sms: Any, counters: Any, ready: Any, meta: Any, tags: Any, used: Any,
    fills: Any, requests: Any, records: Any, atomics: Any, sets: int, linear: int,
    landings: Any,
) -> None:  # fmt: skip
    """A global load, store or atomic: through L1, what misses to the request list.

    `values`: of an LDV, how many it loads; their addresses stand in `addr` from 32 on.
    """
    op = row[D.OP]
    rate = param[P.L1_RATE]
    sectors, touched, cover = scratch[0:32], scratch[32:64], scratch[64:96]
    count = 0
    if op != Op.LDV:
        count = coalesce(addr, mask, row[D.WIDTH], sectors, touched, cover)
    record = sms[sm, M.RECORDS]
    load = op == Op.LDG or op == Op.PREFETCH or op == Op.LDV
    extra = 0
    if load:
        if op == Op.LDV:
            extra = param[P.RUNS]
            done, misses = load_parts(
                sm, addr[32:], values, scratch[0:PART_VALUES], now, rate, param[P.L1], record,
                sets, tags, used, fills, requests, sms, counters,
            )  # fmt: skip
        else:
            done, misses = load_sectors(
                sm, count, sectors, now, rate, param[P.L1], record, sets, tags, used, fills,
                requests, sms, counters,
            )  # fmt: skip
        if misses == 0:
            level = done & ((1 << LEVEL_BITS) - 1)
            at = (done >> LEVEL_BITS) + extra
            mark_results(row, w, at, Cause.SCOREBOARD_L1 + level, ready, meta)
            return
        find_room(sm, param, sms, landings)
        records[sm, record, R.DONE] = done
        records[sm, record, R.KIND] = 0
    else:
        slot = max(now * rate, sms[sm, M.L1_FREE])
        kind = Request.STORE if op == Op.STG else Request.ATOMIC
        for i in range(count):
            # a store keeps a sector that L1 holds (write-through, the value is in memory)
            about = record if op != Op.STG else cover[i]
            if op != Op.STG:
                at = l1_find(sectors[i], sm, sets, tags, used, fills, sms, False)
                if at >= 0 and fills[sm, at] >= 0:
                    fills[sm, at] = -1  # atomics act in L2
            request(sm, slot // rate, sectors[i], kind, about, touched[i], requests, sms)
            slot += 1
        sms[sm, M.L1_FREE] = slot
        sms[sm, M.STORES] += count
        find_room(sm, param, sms, landings)
        if op == Op.STG:
            counters[sm, N.GLOBAL_SECTORS_WRITTEN] += count
            return
        row_of = sms[sm, M.ATOMICS]
        sms[sm, M.ATOMICS] = row_of + 1
        b = row[D.RB] + row[D.RB_REL] * base
        for lane in range(32):
            atomics[sm, row_of, lane] = addr[lane]
            atomics[sm, row_of, 32 + lane] = np.int64(regs[b + lane])
        records[sm, record, R.DONE] = 0
        records[sm, record, R.KIND] = atomic_kind(row)
        records[sm, record, R.MASK] = mask
        records[sm, record, R.OFFSET] = base + row[D.RD]
        records[sm, record, R.SLOT] = row_of
    sms[sm, M.RECORDS] = record + 1
    records[sm, record, R.EXTRA] = extra
    records[sm, record, R.WARP] = w
    records[sm, record, R.LINEAR] = linear
    records[sm, record, R.DEST] = row[D.DEST]
    records[sm, record, R.COUNT] = row[D.NDEST]
    cause = UNSETTLED if load else Cause.SCOREBOARD_L2
    mark_results(row, w, PENDING, cause, ready, meta)


@inline
def private(sm: int, sms: Any, ctas: Any) -> bool:
    """Whether nothing at the quantum's end can change what the SM does next."""
    if sms[sm, M.REQUESTS] != 0 or sms[sm, M.RECORDS] != 0:
        return False
    for slot in range(ctas.shape[1]):
        if ctas[sm, slot, C.BUSY] != 0 and ctas[sm, slot, C.LIVE] == 0:
            return False
    return True


@helper
def run_sm(
    sm: int, begin: int, end: int, limit: int, timed: bool, chip: Any, pool: Any, param: Any,
    program: Any,
    regs: Any, fregs: Any, preds: Any, acc: Any, acc_bits: Any, wide: Any,
    shared8: Any, shared32: Any, mem8: Any, mem32: Any, addresses: Any, scratches: Any,
    warps: Any, stack: Any, ctas: Any, subs: Any, queue: Any, ring: Any, sms: Any,
    counters: Any, stalls: Any, pc_issued: Any, pc_stalled: Any, alloc_low: Any, alloc_high: Any,
    ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any, acc_transfer: Any,
    tags: Any, used: Any, fills: Any, requests: Any, records: Any, atomics: Any, outs: Any,
    grid: Any, sets: int, constant_elements: int, landings: Any, lags: Any, planes: Any,
    log: Any, log_data: Any, shadow: Any, trace: Any,
) -> None:  # fmt: skip
    """Run SM `sm` over cycles begin..end-1, and ahead up to limit-1 while nobody can tell.

    Beyond `end` it stops before the first instruction that reaches outside of the SM, and leaves
    the time in M.RESUME; it does not go there at all with requests that the quantum's end must
    answer, or a CTA that it ended. Stops at a fault, which it leaves in `sms`.
    """
    sm = natural(sm)
    subs_count = param[P.SUBS]
    frame = param[P.FRAME]
    resident = param[P.RESIDENT]
    per_cta = param[P.WARPS_PER_CTA]
    acc_tiles = param[P.ACC_TILES]
    shared_size = param[P.SHARED_BYTES]
    shared_stride = shared8.shape[0] // max(1, ctas.shape[0] * ctas.shape[1])
    checks = param[P.CHECKS] != 0
    holds = param[P.HOLDS] != 0
    most = param[P.MAX_INSTRUCTIONS]
    most_launch = param[P.MAX_LAUNCH]
    code_size = program.shape[0]
    addr = addresses[sm]
    scratch = scratches[sm]
    out = outs[sm]
    # this SM's rows
    chip_sm = sms[sm]
    own_subs, own_queue, own_ring = subs[sm], queue[sm], ring[sm]
    own_stalls, own_issued, own_stalled = stalls[sm], pc_issued[sm], pc_stalled[sm]
    own_counters = counters[sm]
    chip_sm[M.RESUME] = 0
    for w in range(sm * resident, (sm + 1) * resident):  # other SMs' have displaced them
        prefetch_2(warps, w * warps.shape[1])
        prefetch_2(preds, w * PREDICATE_SLOTS)
        prefetch_2(pred_ready, w * PREDICATE_SLOTS)
    for w in range(sm * resident, (sm + 1) * resident):
        place = natural(min(max(warps[w, W.PC], 0), code_size - 1))
        fetch_operands(program[place], w, regs, constant_elements + w * frame, ready, meta)
    now = begin
    while True:
        soonest = 2 * PENDING
        for s in range(subs_count):
            sub = own_subs[s]
            if sub[S.WAKE] > now:
                soonest = min(soonest, sub[S.WAKE])
                continue
            # account for the idle cycles since the last look
            idle = now - sub[S.IDLE_FROM]
            if idle > 0:
                if sub[S.IDLE_CAUSE] == UNSETTLED:
                    warps[sub[S.IDLE_WARP], W.OWED] += idle
                else:
                    own_stalls[sub[S.IDLE_CAUSE]] += idle
                    if sub[S.IDLE_PC] >= 0:
                        own_stalled[sub[S.IDLE_PC], sub[S.IDLE_CAUSE]] += idle
                if trace is not None and watched(trace, sm, now):
                    note(
                        trace, sm, Event.STALL, sub[S.IDLE_FROM], s,
                        max(0, sub[S.IDLE_WARP] - sm * resident), max(0, sub[S.IDLE_PC]),
                        sub[S.IDLE_CAUSE], now, 0,
                    )  # fmt: skip
                sub[S.IDLE_FROM] = now
            squashes = param[P.SQUASH]
            while True:
                # pick: the greedy warp, then the oldest that can
                chosen = -1
                soon, soon_cause, soon_pc, soon_warp = 2 * PENDING, Cause.NO_WARP, -1, -1
                greedy = sub[S.GREEDY]
                for i in range(-1, sub[S.WARPS]):
                    w = greedy if i < 0 else own_queue[s, i]
                    if w < 0 or (i >= 0 and w == greedy):
                        continue
                    w = natural(w)
                    warp = warps[w]
                    if warp[W.WAKE] <= now:
                        pc = warp[W.PC]
                        if not timed or pc < 0 or pc >= code_size:
                            chosen = w
                            break
                        row = program[natural(pc)]
                        time = warp[W.DATA]
                        if time < 0:
                            time, cause = operands_time(
                                row, w, now, holds, warp[W.OWED], ready, release, meta, pred_ready,
                                acc_ready, acc_transfer, acc_tiles, warp[W.ATOMIC],
                                param[P.BARRIERS],
                            )  # fmt: skip
                            warp[W.DATA] = time
                            warp[W.DATA_CAUSE] = cause
                            if warp[W.OWED] != 0 and time < PENDING:
                                own_stalls[cause] += warp[W.OWED]
                                own_stalled[natural(pc), cause] += warp[W.OWED]
                                warp[W.OWED] = 0
                                if trace is not None and watched(trace, sm, now):
                                    note(
                                        trace, sm, Event.SETTLED, now, s, w - sm * resident, 0,
                                        cause, now, 0,
                                    )  # fmt: skip
                        free, pipe_cause = pipe_time(row, sub, own_ring[s], chip_sm, param)
                        if free <= now and time <= now:
                            chosen = w
                            break
                        warp[W.WAKE] = max(free, time)
                        warp[W.CAUSE] = pipe_cause if free > time else warp[W.DATA_CAUSE]
                    if warp[W.WAKE] < soon:
                        soon = warp[W.WAKE]
                        soon_cause = warp[W.CAUSE]
                        soon_pc = warp[W.PC] if soon_cause != Cause.NO_WARP else -1
                        soon_warp = w
                if chosen < 0:
                    sub[S.WAKE] = soon
                    sub[S.IDLE_CAUSE] = soon_cause
                    sub[S.IDLE_PC] = soon_pc
                    sub[S.IDLE_WARP] = soon_warp
                    soonest = min(soonest, soon)
                    break
                # issue
                w = natural(chosen)
                warp = warps[w]
                pc = warp[W.PC]
                place = natural(min(max(pc, 0), code_size - 1))
                row = program[place]
                if now >= end and row[D.OUTSIDE] != 0 and 0 <= pc < code_size:
                    chip_sm[M.RESUME] = now
                    return
                warp[W.COUNT] += 1
                chip_sm[M.SPENT] += 1
                fault = 0
                if pc < 0 or pc >= code_size:
                    fault = Fault.BAD_PC
                elif warp[W.COUNT] > most:
                    fault = Fault.RUNAWAY
                elif chip_sm[M.SPENT] > most_launch:
                    fault = Fault.RUNAWAY_LAUNCH
                op = row[D.OP]
                mask = warp[W.ACTIVE] & (preds[w, row[D.GUARD]] ^ row[D.GUARD_NOT])
                if checks and fault == 0 and not (timed and warp[W.DATA_CAUSE] == KNOWN):
                    fault = unwritten(row, w, mask, ready, pred_ready, acc_transfer, acc_tiles)
                warp[W.DATA] = -1
                cta = natural(warp[W.CTA])
                base = constant_elements + w * frame
                upcoming = natural(min(pc + 1, code_size - 1))
                fetch_operands(program[upcoming], w, regs, base, ready, meta)
                prefetch_1(pc_issued, sm * pc_issued.shape[1] + place + 1)
                prefetch_1(pc_stalled, (sm * code_size + place + 1) * pc_stalled.shape[2])
                prefetch_2(program, min(pc + 2, code_size - 1) * DECODED_COLUMNS)
                if (op == Op.HMMA or op == Op.HMMA_SP) and mask != 0 and fault == 0:
                    tensor_step(row, regs, fregs, base, frame, mask, wide, sm * WIDE_SIZE)
                    warp[W.PC] = pc + 1
                    if timed:
                        sub[S.PIPE + Pipe.TENSOR] = now + row[D.INTERVAL]
                        warp[W.WAKE] = now + 1
                        own_counters[N.TENSOR_BUSY] += row[D.INTERVAL]
                        mark_results(row, w, now + row[D.LATENCY], row[D.CAUSE], ready, meta)
                    else:
                        mark_results(row, w, 0, 0, ready, meta)
                elif fault == 0 and op != Op.BAR:
                    shared_base = (sm * ctas.shape[1] + cta) * shared_stride
                    fault = execute(
                        row, pc, w, sm, mask, now, timed, regs, fregs, preds, acc, acc_bits, wide,
                        shared8, shared32, mem8, mem32, addr, warps, stack, ctas[sm, cta], grid,
                        sms, alloc_low, alloc_high, base, frame, shared_base, shared_size,
                        acc_tiles, out, log, log_data, shadow,
                    )  # fmt: skip
                    if timed and fault == 0:
                        account(
                            row, w, sm, s, now, mask, out, param, regs, base, addr, scratch,
                            warps, subs, ring, sms, counters, ready, release, meta, pred_ready,
                            acc_ready, acc_transfer, tags, used, fills, requests, records,
                            atomics, sets, landings, lags, planes,
                        )  # fmt: skip
                    elif fault == 0:
                        mark_results(row, w, 0, 0, ready, meta)
                        out[1] *= op != Op.LDV
                        pred_ready[w, row[D.PD]] = 0
                        if op == Op.ACLR or op == Op.AWR:
                            acc_transfer[w, row[D.ACC]] = 0
                        own_counters[N.OHMMA_ISSUED] += out[1]
                        if row[D.HALVES] != 0:
                            own_counters[N.OHMMA_SKIPPED] += 128 * row[D.TILES] - out[1]
                        elif op == Op.OHMMA:
                            own_counters[N.OHMMA_SKIPPED] += out[2]
                elif fault == 0:
                    warp[W.PC] = pc + 1
                    if mask != 0:
                        if mask != warp[W.ALIVE]:
                            fault = Fault.DIVERGENT_BARRIER
                        warp[W.STATE] = WarpState.AT_BARRIER
                        warp[W.WAKE] = PENDING
                        warp[W.CAUSE] = Cause.BARRIER
                        ctas[sm, cta, C.ARRIVED] += 1
                        sub[S.GREEDY] = -1
                if fault != 0:
                    chip_sm[M.FAULT] = fault
                    chip_sm[M.FAULT_PC] = pc
                    chip_sm[M.FAULT_WARP] = w
                    chip_sm[M.FAULT_TIME] = now
                    return
                own_issued[place] += 1
                if trace is not None:
                    note_issue(trace, sm, s, now, w, pc, mask, row, warp, sub, sms, addr, param)
                if warp[W.STATE] == WarpState.RUNNING:
                    sub[S.GREEDY] = w
                if op == Op.EXIT and warp[W.ALIVE] == 0:
                    retire_warp(sm, s, w, ctas, warps, subs, queue, sms)
                    leave_barrier(
                        sm, cta, now, param[P.BARRIER], ctas, warps, subs, resident, per_cta
                    )
                    if ctas[sm, cta, C.LIVE] == 0:
                        start = now + param[P.DISPATCH]
                        ctas[sm, cta, C.FREE] = start
                        following = own_next(sm, sms, chip, pool)
                        if following >= 0:
                            place_cta(
                                sm, cta, following, start, param, ctas, warps, subs, queue, preds,
                                ready, release, meta, pred_ready, acc_ready, acc_transfer, regs,
                                shared32, constant_elements, shadow,
                            )  # fmt: skip
                elif op == Op.BAR and mask != 0:
                    leave_barrier(
                        sm, cta, now, param[P.BARRIER], ctas, warps, subs, resident, per_cta
                    )
                elif op == Op.OHMMA and out[2] != 0 and squashes > 0:
                    squashes -= 1  # dropped by the front end: the issue slot is still there
                    warp[W.WAKE] = now
                    sub[S.PIPE + Pipe.TENSOR] = now
                    continue
                own_stalls[Cause.ISSUED] += 1
                chip_sm[M.LAST] = now + 1
                sub[S.IDLE_FROM] = now + 1
                sub[S.WAKE] = now + 1
                soonest = now + 1
                break
        if soonest > now + 1:
            for s in range(subs_count):
                soonest = min(soonest, own_subs[s, S.WAKE])
        following = max(now + 1, soonest)
        if following >= limit or (now < end <= following and not private(sm, sms, ctas)):
            return
        now = following
