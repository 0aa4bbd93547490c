"""A kernel on the whole chip: CTA dispatch, quanta, completion. The compiled entry point.

In: all state arrays of a launch. Out: the same, after some quanta or at the end; a status.
"""

from __future__ import annotations

from typing import Any

from .compiled import entry, inline
from .constants import PENDING, C, Fault, M, N, P, S, W, WarpState
from .dispatch import (
    END,
    FAULT_SM,
    GIVEN,
    LIMIT,
    LISTED,
    NOW,
    POOLED,
    QUANTUM_END,
    SKIPPED,
    deal,
    dispatch,
    refill,
)
from .l2 import drain
from .sm import run_sm
from .stores import store_all
from .threads import Sync, back_off, fetch_add, observe, publish

FINISHED, RUNNING, FAULTED = 0, 1, 2
AHEAD = 64
"""Quanta by which an SM may be ahead of the others."""


@inline
def blame(fault: int, chip: Any, sms: Any, warps: Any, resident: int) -> int:
    """Record a fault of the launch: the running warp that issued most, else one at a barrier."""
    worst = 0
    for w in range(len(warps)):
        state, best = warps[w, W.STATE], warps[worst, W.STATE]
        if state == WarpState.RUNNING:
            if best != WarpState.RUNNING or warps[w, W.COUNT] > warps[worst, W.COUNT]:
                worst = w
        elif state == WarpState.AT_BARRIER and best != WarpState.RUNNING:
            worst = w
    sm = worst // resident
    chip[FAULT_SM] = sm
    sms[sm, M.FAULT] = fault
    sms[sm, M.FAULT_WARP] = worst
    at_barrier = warps[worst, W.STATE] == WarpState.AT_BARRIER
    sms[sm, M.FAULT_PC] = warps[worst, W.PC] - (1 if at_barrier else 0)
    return FAULTED


@inline
def next_event(sm: int, param: Any, sms: Any, subs: Any) -> int:
    """When SM `sm` next does something, as far as its warps know; its fault, if it has one."""
    if sms[sm, M.FAULT] != 0:
        return sms[sm, M.FAULT_TIME]
    wake = 2 * PENDING
    for s in range(param[P.SUBS]):
        if subs[sm, s, S.WARPS] > 0:
            wake = min(wake, subs[sm, s, S.WAKE])
    return max(wake, sms[sm, M.RESUME])


@inline
def go_on(quantum: int, timed: bool, chip: Any, param: Any, sms: Any, subs: Any, ctas: Any) -> int:
    """Move chip[NOW] on to the next time at which a warp can move or a CTA be dispatched.

    Returns a fault of the launch as a whole, or 0.
    """
    begin, end = chip[NOW], chip[QUANTUM_END]
    spent, retired = 0, 0
    for sm in range(sms.shape[0]):
        spent += sms[sm, M.SPENT]
        retired += sms[sm, M.RETIRED]
    if retired > 0:
        for sm in range(sms.shape[0]):
            sms[sm, M.SPENT] = 0
            sms[sm, M.RETIRED] = 0
    elif spent > param[P.MAX_LAUNCH]:
        return Fault.RUNAWAY_LAUNCH
    following = 2 * PENDING
    freed = False
    for sm in range(sms.shape[0]):
        following = min(following, next_event(sm, param, sms, subs))
        for slot in range(ctas.shape[1]):
            if ctas[sm, slot, C.BUSY] and ctas[sm, slot, C.LIVE] == 0:
                freed = True
    if not timed:
        chip[NOW] = begin + 1
    elif freed:
        chip[NOW] = end
    else:  # to a multiple of the quantum: how far single SMs are ahead leaves no trace
        chip[NOW] = max(end, following - following % quantum)
    chip[SKIPPED] = timed and chip[NOW] > end
    chip[QUANTUM_END] = 0
    # No kernel gets here: a barrier opens when all live warps are there, and what else waits
    # without a known end waits for the quantum's. It would otherwise be an endless loop.
    return Fault.STUCK if not freed and following >= PENDING else 0


@entry
def run_kernel(
    thread: int, quanta: int, quantum: int, timed: bool, sync: Any, work: Any, chip: Any, pool: Any,
    param: Any, program: Any,
    regs: Any, fregs: Any, preds: Any, acc: Any, acc_bits: Any, wide: Any,
    shared8: Any, shared32: Any, mem8: Any, mem32: Any, addresses: Any, scratches: Any,
    warps: Any, stack: Any, ctas: Any, subs: Any, queue: Any, ring: Any, sms: Any,
    counters: Any, stalls: Any, pc_issued: Any, pc_stalled: Any, alloc_low: Any, alloc_high: Any,
    ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any, acc_transfer: Any,
    l1_tags: Any, l1_used: Any, l1_fills: Any, requests: Any, records: Any, atomics: Any,
    outs: Any, grid: Any, l1_sets: int, constant_elements: int,
    log: Any, log_data: Any, l2_tags: Any, l2_used: Any, l2_valid: Any, l2_dirty: Any,
    l2_fills: Any, slices_free: Any, dram: Any, clock: Any, chip_counters: Any, next_request: Any,
    landings: Any, lags: Any, planes: Any, shadow: Any, trace: Any,
) -> int:  # fmt: skip
    """Run for `quanta` quanta at most. Returns FINISHED, RUNNING or FAULTED.

    Each quantum: dispatch, every SM alone, then the requests of all. chip[NOW] moves on to the
    next time at which anything can happen. Thread 0 does this; others only take SMs off the list
    that it publishes, until told to stop. Who simulates an SM makes no difference to it.
    """
    total = param[P.CTAS]
    sms_count = sms.shape[0]
    turn = 0
    while True:
        # an SM of the list, while there is one left
        if observe(sync, Sync.LEFT) > 0:
            place = fetch_add(sync, Sync.LEFT, -1) - 1
            if place >= 0:
                sm = work[place]
                run_sm(
                    sm, max(chip[NOW], next_event(sm, param, sms, subs)), chip[QUANTUM_END],
                    chip[LIMIT], timed, chip, pool, param, program, regs, fregs, preds, acc,
                    acc_bits, wide, shared8, shared32, mem8, mem32, addresses, scratches, warps,
                    stack, ctas, subs, queue, ring, sms, counters, stalls, pc_issued, pc_stalled,
                    alloc_low, alloc_high, ready, release, meta, pred_ready, acc_ready,
                    acc_transfer, l1_tags, l1_used, l1_fills, requests, records, atomics, outs,
                    grid, l1_sets, constant_elements, landings, lags, planes, log,
                    log_data, shadow, trace,
                )  # fmt: skip
                fetch_add(sync, Sync.FINISHED, 1)
            turn = 0
            continue
        if observe(sync, Sync.STOP) != 0:
            return RUNNING
        if thread > 0 or observe(sync, Sync.FINISHED) < chip[LISTED]:
            back_off(turn)
            turn += 1
            continue
        turn = 0
        begin, end = chip[NOW], chip[QUANTUM_END]
        if end > begin:  # the quantum's SMs have run
            store_all(sms, log, log_data, mem8, mem32, shadow[0])
            worst = -1
            for sm in range(sms_count):
                if sms[sm, M.FAULT] != 0 and sms[sm, M.FAULT_TIME] < (
                    end if worst < 0 else sms[worst, M.FAULT_TIME]
                ):
                    worst = sm
            if worst >= 0:
                chip[FAULT_SM] = worst
                return FAULTED
            if timed:
                drain(
                    sms_count, begin, end, param, sms, subs, warps, requests, records, atomics,
                    ready, meta, l1_fills, regs, mem32, l2_tags, l2_used, l2_valid, l2_dirty,
                    l2_fills, slices_free, dram, clock, chip_counters, next_request, landings,
                )  # fmt: skip
            fault = go_on(quantum, timed, chip, param, sms, subs, ctas)
            if fault != 0:
                return blame(fault, chip, sms, warps, param[P.RESIDENT])
            quanta -= 1
            if quanta == 0:
                return RUNNING
            begin = chip[NOW]
        refill(total, sms_count, chip, sms, pool)
        resident = dispatch(
            begin, sms_count, chip, sms, pool, param, ctas, warps, subs, queue, preds, ready,
            release, meta, pred_ready, acc_ready, acc_transfer, regs, shared32,
            constant_elements, shadow,
        )  # fmt: skip
        deal(sms_count, chip, sms)
        if resident == 0:
            chip[END] = chip_counters[N.STORE_END]
            for sm in range(sms_count):
                chip[END] = max(chip[END], sms[sm, M.LAST])
            return FINISHED
        end = begin + quantum if timed else PENDING
        chip[QUANTUM_END] = end
        chip[LIMIT] = end + AHEAD * quantum if timed else PENDING
        if trace is not None and timed:  # its lists hold so much; the cycles are the same
            chip[LIMIT] = end
        if not timed:
            chip[GIVEN] = chip[POOLED]  # without time, CTAs run one after the other
        listed = 0
        for sm in range(sms_count):
            if sms[sm, M.FAULT] == 0 and next_event(sm, param, sms, subs) < end:
                work[listed] = sm
                listed += 1
        chip[LISTED] = listed
        publish(sync, Sync.FINISHED, 0)
        publish(sync, Sync.LEFT, listed)
