"""A kernel on the whole chip: CTA dispatch, quanta, completion. The compiled entry point.

In: all state arrays of a launch. Out: the same, after some quanta or at the end; a status.
"""

from __future__ import annotations

from typing import Any

from .compiled import entry, inline
from .constants import (
    FULL_MASK,
    PENDING,
    PREDICATE_SLOTS,
    UNINITIALISED,
    C,
    Fault,
    M,
    N,
    P,
    S,
    W,
    WarpState,
)
from .l2 import drain
from .sm import run_sm

FINISHED, RUNNING, FAULTED = 0, 1, 2
NEXT_CTA, NOW, END, FAULT_SM = 0, 1, 2, 3
"""Places of the `chip` array: next CTA to dispatch, the time, the last cycle, who trapped."""


@inline
def place_cta(
    sm: int, slot: int, cta: int, now: int, param: Any, ctas: Any, warps: Any, subs: Any,
    queue: Any, preds: Any, ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any,
    acc_transfer: Any, regs: Any, shared32: Any, constant_elements: int,
) -> None:  # fmt: skip
    """Put a CTA into a free slot: its warps go to the sub-cores with the fewest."""
    grid_x, grid_y = param[P.GRID_X], param[P.GRID_Y]
    ctas[sm, slot, C.BUSY] = 1
    ctas[sm, slot, C.X] = cta % grid_x
    ctas[sm, slot, C.Y] = cta // grid_x % grid_y
    ctas[sm, slot, C.Z] = cta // (grid_x * grid_y)
    ctas[sm, slot, C.LIVE] = param[P.WARPS_PER_CTA]
    ctas[sm, slot, C.ARRIVED] = 0
    initial = UNINITIALISED if param[P.CHECKED] else 0
    frame = param[P.FRAME]
    words = param[P.SHARED_BYTES] // 4
    stride = shared32.shape[0] // max(1, ctas.shape[0] * ctas.shape[1])
    for i in range(words):
        shared32[(sm * ctas.shape[1] + slot) * stride + i] = 0
    for i in range(param[P.WARPS_PER_CTA]):
        w = sm * param[P.RESIDENT] + slot * param[P.WARPS_PER_CTA] + i
        best = 0
        for s in range(param[P.SUBS]):
            if subs[sm, s, S.WARPS] < subs[sm, best, S.WARPS]:
                best = s
        queue[sm, best, subs[sm, best, S.WARPS]] = w
        subs[sm, best, S.WARPS] += 1
        subs[sm, best, S.WAKE] = min(subs[sm, best, S.WAKE], now)
        warps[w, W.STATE] = WarpState.RUNNING
        warps[w, W.PC] = 0
        warps[w, W.WAKE] = now
        warps[w, W.CAUSE] = 0
        warps[w, W.DATA] = -1
        warps[w, W.ACTIVE] = FULL_MASK
        warps[w, W.ALIVE] = FULL_MASK
        warps[w, W.DEPTH] = 0
        warps[w, W.COUNT] = 0
        warps[w, W.CTA] = slot
        warps[w, W.ID] = i
        warps[w, W.SUB] = best
        for p in range(PREDICATE_SLOTS):
            preds[w, p] = 0
            pred_ready[w, p] = initial if p < 7 else 0
        preds[w, 7] = FULL_MASK
        for r in range(ready.shape[1]):
            ready[w, r] = initial
            release[w, r] = 0
            meta[w, r] = 0
        for t in range(acc_ready.shape[1]):
            acc_ready[w, t] = 0
            acc_transfer[w, t] = initial
        for e in range(frame):
            regs[constant_elements + w * frame + e] = 0


@inline
def dispatch(
    now: int, total: int, sms_count: int, chip: Any, param: Any, ctas: Any, warps: Any,
    subs: Any, queue: Any, preds: Any, ready: Any, release: Any, meta: Any, pred_ready: Any,
    acc_ready: Any, acc_transfer: Any, regs: Any, shared32: Any, constant_elements: int,
) -> int:  # fmt: skip
    """Free finished CTAs, hand out waiting ones breadth first; returns the CTAs resident."""
    resident = 0
    for sm in range(sms_count):
        for slot in range(ctas.shape[1]):
            if ctas[sm, slot, C.BUSY] and ctas[sm, slot, C.LIVE] == 0:
                ctas[sm, slot, C.BUSY] = 0
            resident += ctas[sm, slot, C.BUSY]
    for _round in range(ctas.shape[1]):
        for sm in range(sms_count):
            if chip[NEXT_CTA] >= total:
                return resident
            for slot in range(ctas.shape[1]):
                if ctas[sm, slot, C.BUSY] == 0:
                    place_cta(
                        sm, slot, chip[NEXT_CTA], now, param, ctas, warps, subs, queue, preds,
                        ready, release, meta, pred_ready, acc_ready, acc_transfer, regs,
                        shared32, constant_elements,
                    )  # fmt: skip
                    chip[NEXT_CTA] += 1
                    resident += 1
                    break
    return resident


@entry
def run_kernel(
    quanta: int, quantum: int, timed: bool, chip: Any, param: Any, program: Any,
    regs: Any, fregs: Any, preds: Any, acc: Any, acc_bits: Any, wide: Any,
    shared8: Any, shared32: Any, mem8: Any, mem32: Any, addresses: Any, scratches: Any,
    warps: Any, stack: Any, ctas: Any, subs: Any, queue: Any, ring: Any, sms: Any,
    counters: Any, stalls: Any, pc_issued: Any, pc_stalled: Any, alloc_low: Any, alloc_high: Any,
    ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any, acc_transfer: Any,
    l1_tags: Any, l1_used: Any, l1_fills: Any, requests: Any, records: Any, atomics: Any,
    outs: Any, grid: Any, l1_sets: int, constant_elements: int,
    l2_tags: Any, l2_used: Any, l2_valid: Any, l2_dirty: Any, l2_fills: Any, slices_free: Any,
    channels_free: Any, clock: Any, chip_counters: Any, next_request: Any,
) -> int:  # fmt: skip
    """Run for `quanta` quanta at most. Returns FINISHED, RUNNING or FAULTED.

    Each quantum: dispatch, every SM alone, then the requests of all. chip[NOW] moves on to the
    next time at which anything can happen.
    """
    total = grid[0] * grid[1] * grid[2]
    sms_count = sms.shape[0]
    for _quantum in range(quanta):
        begin = chip[NOW]
        resident = dispatch(
            begin, total, sms_count, chip, param, ctas, warps, subs, queue, preds, ready,
            release, meta, pred_ready, acc_ready, acc_transfer, regs, shared32,
            constant_elements,
        )  # fmt: skip
        if resident == 0:
            chip[END] = chip_counters[N.STORE_END]
            for sm in range(sms_count):
                chip[END] = max(chip[END], sms[sm, M.LAST])
            return FINISHED
        end = begin + quantum if timed else PENDING
        for sm in range(sms_count):
            wake = 2 * PENDING
            for s in range(param[P.SUBS]):
                wake = min(wake, subs[sm, s, S.WAKE])
            if wake >= end:
                continue
            run_sm(
                sm, begin, end, timed, param, program, regs, fregs, preds, acc, acc_bits, wide,
                shared8, shared32, mem8, mem32, addresses, scratches, warps, stack, ctas, subs,
                queue, ring, sms, counters, stalls, pc_issued, pc_stalled, alloc_low,
                alloc_high, ready, release, meta, pred_ready, acc_ready, acc_transfer, l1_tags,
                l1_used, l1_fills, requests, records, atomics, outs, grid, l1_sets,
                constant_elements,
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
                ready, l1_fills, regs, mem32, l2_tags, l2_used, l2_valid, l2_dirty, l2_fills,
                slices_free, channels_free, clock, chip_counters, next_request,
            )  # fmt: skip
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
        if not freed and following >= PENDING:
            chip[FAULT_SM] = 0
            sms[0, M.FAULT] = Fault.DEADLOCK
            return FAULTED
    return RUNNING
