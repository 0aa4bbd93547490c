"""Which SM runs which CTA: the pool of the next CTAs, and how a CTA starts.

In: the grid, free CTA slots. Out: started CTAs. Between quanta all free slots are filled breadth
first; what is left of the pool is dealt out to the SMs that started CTAs of late, and such an SM
starts CTAs from its own list as slots become free. What it did not start goes back, in order.
"""

from __future__ import annotations

from typing import Any

from .compiled import helper, inline
from .constants import (
    FULL_MASK,
    PREDICATE_SLOTS,
    UNINITIALISED,
    C,
    Cause,
    M,
    P,
    S,
    W,
    WarpState,
)

NEXT_CTA, NOW, END, FAULT_SM, POOLED, GIVEN, LISTS, SKIPPED = 0, 1, 2, 3, 4, 5, 6, 7
"""Places of the `chip` array: next CTA for the pool, the time, the last cycle, who trapped, the
pool's length, how many of it were started between quanta, the SMs with a list, and whether
quanta in which nothing happened were left out."""
QUANTUM_END, LIMIT, LISTED = 8, 9, 10
"""More of them: the end of the quantum that runs (0: none does), how far an SM may run ahead, and
how many SMs have something to do in it."""


@inline
def refill(total: int, sms_count: int, chip: Any, sms: Any, pool: Any) -> None:
    """Drop from the pool what was started (-1), fill it up with the next CTAs."""
    started = chip[GIVEN]
    chip[GIVEN] = 0
    for sm in range(sms_count):
        started += sms[sm, M.TAKEN]
        sms[sm, M.RANK] = 0 if sms[sm, M.TAKEN] > 0 and chip[SKIPPED] == 0 else -1
        sms[sm, M.TAKEN] = 0
    if started > 0:
        kept = 0
        for i in range(chip[POOLED]):
            if pool[i] >= 0:
                pool[kept] = pool[i]
                kept += 1
        chip[POOLED] = kept
    while chip[POOLED] < pool.shape[0] and chip[NEXT_CTA] < total:
        pool[chip[POOLED]] = chip[NEXT_CTA]
        chip[POOLED] += 1
        chip[NEXT_CTA] += 1


@inline
def deal(sms_count: int, chip: Any, sms: Any) -> None:
    """Give the SMs that started a CTA in the last quantum, or at its end, a list each."""
    chip[LISTS] = 0
    for sm in range(sms_count):
        if sms[sm, M.RANK] >= 0:
            sms[sm, M.RANK] = chip[LISTS]
            chip[LISTS] += 1


@inline
def own_next(sm: int, sms: Any, chip: Any, pool: Any) -> int:
    """Take the next CTA of the SM's list; -1: it has none left."""
    at = chip[GIVEN] + sms[sm, M.TAKEN] * chip[LISTS] + sms[sm, M.RANK]
    if sms[sm, M.RANK] < 0 or at >= chip[POOLED]:
        return -1
    sms[sm, M.TAKEN] += 1
    cta = pool[at]
    pool[at] = -1
    return cta


@helper
def place_cta(
    sm: int, slot: int, cta: int, now: int, param: Any, ctas: Any, warps: Any, subs: Any,
    queue: Any, preds: Any, ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any,
    acc_transfer: Any, regs: Any, shared32: Any, constant_elements: int, shadow: Any,
) -> None:  # fmt: skip
    """Put a CTA into a free slot from `now` on; its warps go to the sub-cores with the fewest."""
    grid_x, grid_y = param[P.GRID_X], param[P.GRID_Y]
    ctas[sm, slot, C.BUSY] = 1
    ctas[sm, slot, C.X] = cta % grid_x
    ctas[sm, slot, C.Y] = cta // grid_x % grid_y
    ctas[sm, slot, C.Z] = cta // (grid_x * grid_y)
    ctas[sm, slot, C.LIVE] = param[P.WARPS_PER_CTA]
    ctas[sm, slot, C.ARRIVED] = 0
    ctas[sm, slot, C.EPOCH] = 0
    initial = UNINITIALISED if param[P.CHECKS] else 0
    frame = param[P.FRAME]
    words = param[P.SHARED_BYTES] // 4
    stride = shared32.shape[0] // max(1, ctas.shape[0] * ctas.shape[1])
    for i in range(words):
        shared32[(sm * ctas.shape[1] + slot) * stride + i] = 0
    if len(shadow[2]) > 0:
        for i in range(4 * stride):
            shadow[2][4 * (sm * ctas.shape[1] + slot) * stride + i] = 0
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
        warps[w, W.CAUSE] = Cause.NO_WARP
        warps[w, W.DATA] = -1
        warps[w, W.ACTIVE] = FULL_MASK
        warps[w, W.ALIVE] = FULL_MASK
        warps[w, W.DEPTH] = 0
        warps[w, W.COUNT] = 0
        warps[w, W.CTA] = slot
        warps[w, W.ID] = i
        warps[w, W.SUB] = best
        warps[w, W.LINEAR] = cta
        warps[w, W.ATOMIC] = 0
        warps[w, W.OWED] = 0
        for p in range(PREDICATE_SLOTS):
            preds[w, p] = 0
            pred_ready[w, p] = initial if p < 7 else 0
        preds[w, 7] = FULL_MASK
        for r in range(ready.shape[1]):
            ready[w, r] = initial
            release[w, r] = 0
            meta[w, r] = 0
        ready[w, ready.shape[1] - 1] = 0  # the register that is always ready
        for t in range(acc_ready.shape[1]):
            acc_ready[w, t] = 0
            acc_transfer[w, t] = initial
        for e in range(frame):
            regs[constant_elements + w * frame + e] = 0


@inline
def dispatch(
    now: int, sms_count: int, chip: Any, sms: Any, pool: Any, param: Any, ctas: Any, warps: Any,
    subs: Any, queue: Any, preds: Any, ready: Any, release: Any, meta: Any, pred_ready: Any,
    acc_ready: Any, acc_transfer: Any, regs: Any, shared32: Any, constant_elements: int,
    shadow: Any,
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
            if chip[GIVEN] >= chip[POOLED]:
                return resident
            for slot in range(ctas.shape[1]):
                if ctas[sm, slot, C.BUSY] == 0:
                    start = max(now, ctas[sm, slot, C.FREE])
                    place_cta(
                        sm, slot, pool[chip[GIVEN]], start, param, ctas, warps, subs, queue, preds,
                        ready, release, meta, pred_ready, acc_ready, acc_transfer, regs,
                        shared32, constant_elements, shadow,
                    )  # fmt: skip
                    pool[chip[GIVEN]] = -1
                    chip[GIVEN] += 1
                    sms[sm, M.RANK] = 0
                    resident += 1
                    break
    return resident
