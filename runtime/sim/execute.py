"""Executing one instruction of one warp: values only, the same code in every mode.

In: a decoded row and the warp's state. Out: changed registers, memory and control state; `out`
tells the timing model what happened (busy cycles, squashes, branches).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .access import (
    atomic_lane,
    check_global,
    check_shared,
    lane_addresses,
    load_lanes,
    store_lanes,
)
from .alu import alu, compare, copy_lanes
from .compiled import inline
from .constants import FULL_MASK, STACK_DEPTH, C, D, Fault, K, Op, W
from .intrinsics import hmma, prefetch_1, prefetch_2, prefetch_4
from .lanes import permute, shuffle, special_function, special_register
from .runs import clear_rows, find_runs, place_values
from .shadow import audit_global, audit_shared, mark_written
from .stores import log_store, see_stores
from .tensor import (
    TILE,
    WIDE_SIZE,
    bit_product,
    clear,
    ohmma,
    read_part,
    spwmma,
    write_part,
)
from .tensor_nm import hmma_sp


@inline
def pop_stack(warps: Any, w: int, stack: Any) -> None:
    """The active lanes are gone or wait: go on with the lanes on top of the stack."""
    depth = warps[w, W.DEPTH]
    while depth > 0:
        depth -= 1
        mask = stack[w, depth, K.MASK] & warps[w, W.ALIVE]
        target = stack[w, depth, K.PC]
        if mask != 0 and target >= 0:
            warps[w, W.ACTIVE] = mask
            warps[w, W.PC] = target
            break
    warps[w, W.DEPTH] = depth


@inline
def control(op: int, row: Any, pc: int, mask: int, warps: Any, w: int, stack: Any, out: Any) -> int:
    """Branches and reconvergence; sets the next pc. out[0] = 1: the warp jumped."""
    active = warps[w, W.ACTIVE]
    depth = warps[w, W.DEPTH]
    warps[w, W.PC] = pc + 1
    if op == Op.NOP or mask == 0:
        return 0
    if op == Op.BRA:
        if mask == active:
            warps[w, W.PC] = row[D.IMM]
            out[0] = 1
            return 0
        if depth == 0:
            return Fault.NO_REGION
        if depth >= STACK_DEPTH:
            return Fault.STACK_OVERFLOW
        stack[w, depth, K.KIND] = 1
        stack[w, depth, K.MASK] = mask
        stack[w, depth, K.PC] = row[D.IMM]
        warps[w, W.DEPTH] = depth + 1
        warps[w, W.ACTIVE] = active & ~mask
        return 0
    if op == Op.EXIT:
        warps[w, W.ALIVE] &= ~mask
        warps[w, W.ACTIVE] = active & ~mask
        if mask == active:
            pop_stack(warps, w, stack)
            out[0] = 1
        return 0
    if mask != active:
        return Fault.DIVERGENT_CONTROL
    if op == Op.BSSY:
        if depth >= STACK_DEPTH:
            return Fault.STACK_OVERFLOW
        stack[w, depth, K.KIND] = 0
        stack[w, depth, K.MASK] = active
        stack[w, depth, K.PC] = -1
        warps[w, W.DEPTH] = depth + 1
        return 0
    region = depth - 1
    while region >= 0 and stack[w, region, K.KIND] == 1:
        region -= 1
    if region < 0:
        return Fault.BSYNC_WITHOUT_BSSY
    stack[w, region, K.PC] = pc + 1
    out[0] = 1 if region < depth - 1 else 0
    pop_stack(warps, w, stack)
    return 0


@inline
def tensor_step(
    row: Any, regs: Any, fregs: Any, base: int, frame: int, mask: int, wide: Any, scratch: int
) -> None:
    """HMMA and HMMA.SP, the most frequent instructions by far, have their own way."""
    d = base + row[D.RD]
    a = row[D.RA] + row[D.RA_REL] * base
    b = row[D.RB] + row[D.RB_REL] * base
    c = row[D.RC] + row[D.RC_REL] * base
    spare = base + frame - 256
    to = d if mask == FULL_MASK else spare
    if row[D.OP] == Op.HMMA:
        hmma(regs, row[D.FORM], to, a, b, c)
    else:
        e = row[D.RE] + row[D.RE_REL] * base
        hmma_sp(row, regs, fregs, to, a, b, c, e, wide, scratch)
    if mask != FULL_MASK:
        copy_lanes(regs, d, spare, np.uint32(mask))
        copy_lanes(regs, d + 32, spare + 32, np.uint32(mask))


@inline
def fetch_operands(row: Any, w: int, regs: Any, base: int, ready: Any, meta: Any) -> None:
    """Have the host fetch the registers that `row` works on, and when they are ready.

    All SMs' registers exceed the host's near caches.
    """
    times = w * ready.shape[1]
    prefetch_1(ready, times + row[D.DEST])
    prefetch_1(meta, times + row[D.DEST])
    prefetch_1(ready, times + row[D.SLOT])
    prefetch_1(ready, times + row[D.SLOT1])
    prefetch_4(regs, base + row[D.RD])
    prefetch_2(regs, row[D.RA] + row[D.RA_REL] * base)
    prefetch_2(regs, row[D.RB] + row[D.RB_REL] * base)


@inline
def execute(
    row: Any, pc: int, w: int, sm: int, mask: int, now: int, timed: bool,
    regs: Any, fregs: Any, preds: Any, acc: Any, acc_bits: Any, wide: Any,
    shared8: Any, shared32: Any, mem8: Any, mem32: Any, addr: Any,
    warps: Any, stack: Any, cta: Any, grid: Any, sms: Any, alloc_low: Any, alloc_high: Any,
    base: int, frame: int, shared_base: int, shared_size: int, acc_tiles: int, out: Any,
    log: Any, log_data: Any, shadow: Any,
) -> int:  # fmt: skip
    """Run `row`, not a HMMA or HMMA.SP that is on, in the lanes of `mask` (0: only the pc moves).

    Returns a `Fault`, 0 if none.

    `base` and `frame`: the warp's registers in `regs`. out[0]: jumped; out[1]: tensor busy cycles;
    out[2]: 1 if an OHMMA was squashed. `shadow`: of device memory by bytes and by words, of shared
    memory; empty without full checks. With `timed`, stores to global memory and atomics are left
    to the quantum's end.
    """
    op = row[D.OP]
    out[0] = 0
    out[1] = 0
    out[2] = 0
    if Op.NOP <= op <= Op.EXIT:
        return control(op, row, pc, mask, warps, w, stack, out)
    warps[w, W.PC] = pc + 1
    if mask == 0:
        return 0
    lanes = np.uint32(mask)
    d = base + row[D.RD]
    a = row[D.RA] + row[D.RA_REL] * base
    b = row[D.RB] + row[D.RB_REL] * base
    c = row[D.RC] + row[D.RC_REL] * base
    spare = base + frame - 256
    if op == Op.LDV:
        found = find_runs(
            regs, a, b, row[D.IMM], row[D.M0], mask, addr, alloc_low, alloc_high, sms, sm
        )  # fmt: skip
        if found < 0:
            return -found
        out[1] = found
        clear_rows(regs, d, row[D.NDEST])
        for first in range(0, found, 32):
            part = min(32, found - first)
            some = (np.int64(1) << part) - 1
            for lane in range(part):
                addr[lane] = addr[32 + first + lane]
            if len(shadow[0]) > 0:
                fault = audit_global(addr, some, 2, shadow[0], sm, sms, log)
                if fault:
                    return fault
            load_lanes(regs, spare, addr, some, 2, 1, mem8, mem32, 0)
            see_stores(regs, spare, addr, some, 2, sm, sms, log, log_data)
            place_values(regs, d, spare, first, part)
        return 0
    if op == Op.LDG or op == Op.LDS or op == Op.STG or op == Op.STS or op == Op.RED or (
        op == Op.ATOM or op == Op.PREFETCH
    ):  # fmt: skip
        width, count = row[D.WIDTH], row[D.NREG]
        lane_addresses(addr, regs, a, row[D.IMM])
        if op == Op.LDS or op == Op.STS:
            fault = check_shared(addr, mask, width, shared_size, sms, sm)
            if fault == 0 and len(shadow[2]) > 0:
                fault = audit_shared(
                    addr, mask, width, op == Op.STS, shared_base, warps[w, W.ID], cta[C.EPOCH],
                    shadow[2], sms, sm,
                )  # fmt: skip
            if fault:
                return fault
            if op == Op.LDS:
                load_lanes(regs, d, addr, mask, width, count, shared8, shared32, shared_base)
            else:
                store_lanes(regs, b, addr, mask, width, count, shared8, shared32, shared_base)
            return 0
        fault = check_global(addr, mask, width, alloc_low, alloc_high, sms, sm)
        if op == Op.PREFETCH:
            return fault
        if fault == 0 and len(shadow[0]) > 0:
            if op != Op.STG:
                fault = audit_global(addr, mask, width, shadow[0], sm, sms, log)
            elif not timed:
                mark_written(addr, mask, width, shadow[0])
        if fault:
            return fault
        if op == Op.LDG:
            load_lanes(regs, d, addr, mask, width, count, mem8, mem32, 0)
            see_stores(regs, d, addr, mask, width, sm, sms, log, log_data)
        elif op == Op.STG and timed:
            log_store(regs, b, addr, mask, width, count, sm, sms, log, log_data)
        elif op == Op.STG:
            store_lanes(regs, b, addr, mask, width, count, mem8, mem32, 0)
        elif not timed:
            kind = atomic_kind(row)
            for lane in range(32):
                if (mask >> lane) & 1:
                    old = atomic_lane(mem32, addr[lane], regs[b + lane], kind)
                    if kind == 3:
                        regs[d + lane] = old
        return 0
    if op == Op.ISETP or op == Op.FSETP or op == Op.PLOP or op == Op.VOTEP:
        pa = preds[w, row[D.PA]] ^ row[D.PA_NOT]
        if op == Op.PLOP:
            pb = preds[w, row[D.PB]] ^ row[D.PB_NOT]
            which = row[D.M0]
            bits = pa & pb if which == 0 else (pa | pb if which == 1 else pa ^ pb)
        elif op == Op.VOTEP:
            holds = (pa & mask) == mask if row[D.M0] == 0 else (pa & mask) != 0
            bits = FULL_MASK if holds else 0
        else:
            bits = np.int64(compare(regs, row[D.FORM], a, b)) & pa
        pd = row[D.PD]
        preds[w, pd] = (preds[w, pd] & ~mask) | (bits & mask)
        return 0
    if op >= Op.SPWMMA:
        tile_index = row[D.ACC]
        if tile_index + row[D.TILES] > acc_tiles:
            return Fault.ACC_BOUNDS
        if op != Op.BOHMMA and op != Op.ARD and mask != FULL_MASK:
            return Fault.DIVERGENT_TENSOR
        tile = (w * acc_tiles + tile_index) * TILE
        e = row[D.RE] + row[D.RE_REL] * base
        scratch = sm * WIDE_SIZE
        if row[D.HALVES] != 0:
            done = spwmma(
                acc, tile, regs, a, b, c + row[D.MAP_A], e + row[D.MAP_B], row[D.HALVES],
                row[D.ROOM_A], row[D.ROOM_B], wide, scratch,
            )  # fmt: skip
            if done < 0:
                return Fault.CAPACITY
            out[1] = done
        elif op == Op.OHMMA:
            done = ohmma(
                acc, tile, regs, a, b, c, e + row[D.MAP_A], e + row[D.MAP_B], row[D.M0 + 1],
                row[D.M0 + 2], row[D.ROOM_A], row[D.ROOM_B], wide, scratch,
            )  # fmt: skip
            if done < 0:
                return Fault.STREAM_END
            out[1] = done
            out[2] = 1 - done
        elif op == Op.BOHMMA:
            k = row[D.M1]
            bit_product(regs, spare, a + k + 16 * row[D.M2], b + k + 16 * row[D.M3])
            copy_lanes(regs, d, spare, lanes)
        elif op == Op.ACLR:
            clear(acc_bits, tile)
        elif op == Op.ARD:
            read_part(regs, d, acc_bits, tile, row[D.M0], row[D.M0 + 1], mask)
        else:
            write_part(regs, a, row[D.RA_REL], acc_bits, tile, row[D.M0], row[D.M0 + 1])
        return 0
    if op == Op.S2R or op == Op.SHFL or op == Op.PRMT or op == Op.MUFU or op == Op.VOTE:
        if op == Op.S2R:
            special_register(regs, spare, row[D.IMM], warps, w, cta, grid, sm, now)
        elif op == Op.SHFL:
            shuffle(regs, spare, a, b, row[D.M0], mask)
        elif op == Op.PRMT:
            permute(regs, spare, a, b, c)
        elif op == Op.MUFU:
            special_function(regs, fregs, spare, a, row[D.M0])
        else:
            ballot = np.uint32((preds[w, row[D.PA]] ^ row[D.PA_NOT]) & mask)
            for lane in range(32):
                regs[spare + lane] = ballot
        copy_lanes(regs, d, spare, lanes)
        return 0
    chosen = np.uint32(preds[w, row[D.PA]] ^ row[D.PA_NOT])
    alu(regs, row[D.FORM], d, a, b, c, chosen, lanes)
    return 0


@inline
def atomic_kind(row: Any) -> int:
    """1: RED.ADD.U32, 2: RED.ADD.F32, 3: ATOM, 4: RED.OR."""
    if row[D.OP] == Op.ATOM:
        return 3
    if row[D.M0] == 1:
        return 4
    return 2 if row[D.M0 + 1] == 1 else 1
