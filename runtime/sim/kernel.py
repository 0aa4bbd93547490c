"""A kernel on the whole chip: CTA dispatch, quanta, completion. The compiled entry point.

In: all state arrays of a launch. Out: the same, after some quanta or at the end; a status.
"""

from __future__ import annotations

from typing import Any

from .compiled import entry, inline
from .constants import PENDING, C, Fault, M, N, P, S, W, WarpState
from .dispatch import END, FAULT_SM, GIVEN, NOW, POOLED, deal, dispatch, refill
from .l2 import drain
from .sm import run_sm

FINISHED, RUNNING, FAULTED = 0, 1, 2


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


@entry
def run_kernel(
    quanta: int, quantum: int, timed: bool, chip: Any, pool: Any, param: Any, program: Any,
    regs: Any, fregs: Any, preds: Any, acc: Any, acc_bits: Any, wide: Any,
    shared8: Any, shared32: Any, mem8: Any, mem32: Any, addresses: Any, scratches: Any,
    warps: Any, stack: Any, ctas: Any, subs: Any, queue: Any, ring: Any, sms: Any,
    counters: Any, stalls: Any, pc_issued: Any, pc_stalled: Any, alloc_low: Any, alloc_high: Any,
    ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any, acc_transfer: Any,
    l1_tags: Any, l1_used: Any, l1_fills: Any, requests: Any, records: Any, atomics: Any,
    outs: Any, grid: Any, l1_sets: int, constant_elements: int,
    l2_tags: Any, l2_used: Any, l2_valid: Any, l2_dirty: Any, l2_fills: Any, slices_free: Any,
    dram: Any, clock: Any, chip_counters: Any, next_request: Any, landings: Any,
    lags: Any, planes: Any, shadow: Any,
) -> int:  # fmt: skip
    """Run for `quanta` quanta at most. Returns FINISHED, RUNNING or FAULTED.

    Each quantum: dispatch, every SM alone, then the requests of all. chip[NOW] moves on to the
    next time at which anything can happen.
    """
    total = grid[0] * grid[1] * grid[2]
    sms_count = sms.shape[0]
    for _quantum in range(quanta):
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
        if not timed:
            chip[GIVEN] = chip[POOLED]  # without time, CTAs run one after the other
        for sm in range(sms_count):
            wake = 2 * PENDING
            for s in range(param[P.SUBS]):
                wake = min(wake, subs[sm, s, S.WAKE])
            if wake >= end:
                continue
            run_sm(
                sm, begin, end, timed, chip, pool, param, program, regs, fregs, preds, acc,
                acc_bits, wide, shared8, shared32, mem8, mem32, addresses, scratches, warps, stack,
                ctas, subs, queue, ring, sms, counters, stalls, pc_issued, pc_stalled, alloc_low,
                alloc_high, ready, release, meta, pred_ready, acc_ready, acc_transfer, l1_tags,
                l1_used, l1_fills, requests, records, atomics, outs, grid, l1_sets,
                constant_elements, landings, lags, planes, shadow,
            )  # fmt: skip
        worst = -1
        for sm in range(sms_count):
            if sms[sm, M.FAULT] != 0 and (
                worst < 0 or sms[sm, M.FAULT_TIME] < sms[worst, M.FAULT_TIME]
            ):
                worst = sm
        if worst >= 0:
            chip[FAULT_SM] = worst
            return FAULTED
        if timed:
            drain(
                sms_count, begin, end, param, sms, subs, warps, requests, records, atomics,
                ready, meta, l1_fills, regs, mem32, l2_tags, l2_used, l2_valid, l2_dirty, l2_fills,
                slices_free, dram, clock, chip_counters, next_request, landings,
            )  # fmt: skip
        spent, retired = 0, 0
        for sm in range(sms_count):
            spent += sms[sm, M.SPENT]
            retired += sms[sm, M.RETIRED]
        if retired > 0:
            for sm in range(sms_count):
                sms[sm, M.SPENT] = 0
                sms[sm, M.RETIRED] = 0
        elif spent > param[P.MAX_LAUNCH]:
            return blame(Fault.RUNAWAY_LAUNCH, chip, sms, warps, param[P.RESIDENT])
        # skip to the next time at which a warp can move or a CTA be dispatched
        following = 2 * PENDING
        freed = False
        for sm in range(sms_count):
            for s in range(param[P.SUBS]):
                if subs[sm, s, S.WARPS] > 0:
                    following = min(following, subs[sm, s, S.WAKE])
            for slot in range(ctas.shape[1]):
                if ctas[sm, slot, C.BUSY] and ctas[sm, slot, C.LIVE] == 0:
                    freed = True
        if not timed:
            chip[NOW] = begin + 1
        elif freed:
            chip[NOW] = end
        else:
            chip[NOW] = max(end, following)
        # No kernel gets here: a barrier opens when all live warps are there, and what else waits
        # without a known end waits for the quantum's. It would otherwise be an endless loop.
        if not freed and following >= PENDING:
            return blame(Fault.STUCK, chip, sms, warps, param[P.RESIDENT])
    return RUNNING
