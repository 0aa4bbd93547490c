"""When the next instruction of a warp can issue, and what it would wait for.

In: the scoreboard (per-register ready and release times), pipe and queue states. Out: the earliest
issue time and its `Cause`; and, once issued, the scoreboard after it.
"""

from __future__ import annotations

from typing import Any

from .compiled import inline
from .constants import PENDING, TICKS, UNINITIALISED, Cause, D, Fault, M, Op, P, Pipe, S

KNOWN = -1
"""In place of a `Cause`: nothing is waited for, and nothing that is read was never written."""


@inline
def uninitialised(
    row: Any, w: int, ready: Any, pred_ready: Any, acc_transfer: Any, acc_tiles: int
) -> int:
    """Fault of an instruction that reads what was never written, or 0."""
    for group in range(row[D.NSRC]):
        first = row[D.SRC + 2 * group]
        for r in range(first, first + row[D.SRC + 2 * group + 1]):
            if ready[w, r] >= UNINITIALISED:
                return Fault.REGISTER_UNINITIALISED
    for r in range(row[D.FWD], row[D.FWD] + row[D.NFWD]):
        if ready[w, r] >= UNINITIALISED:
            return Fault.REGISTER_UNINITIALISED
    for p in (row[D.GUARD], row[D.PA], row[D.PB]):
        if pred_ready[w, p] >= UNINITIALISED:
            return Fault.PREDICATE_UNINITIALISED
    op = row[D.OP]
    first, tiles = row[D.ACC], row[D.TILES]
    if first + tiles <= acc_tiles and op != Op.ACLR and op != Op.AWR:
        for tile in range(first, first + tiles):
            if acc_transfer[w, tile] >= UNINITIALISED:
                return Fault.ACC_UNINITIALISED
    return 0


@inline
def latest(row: Any, ready: Any, preds: Any) -> int:
    """When the registers and predicates of a PLAIN row are all ready, or later.

    `ready`, `preds`: the warp's rows of register and predicate times.
    """
    time = max(preds[row[D.GUARD]], preds[row[D.PA]], preds[row[D.PB]])
    early = max(ready[row[D.SLOT]], ready[row[D.SLOT1]], ready[row[D.SLOT2]], ready[row[D.SLOT3]])
    late = max(ready[row[D.SLOT4]], ready[row[D.SLOT5]], ready[row[D.SLOT6]], ready[row[D.SLOT7]])
    return max(time, early, late)


@inline
def held(row: Any, now: int, release: Any) -> bool:
    """Whether a register that the row writes is still being read (`release`: the warp's row)."""
    until = 0
    for r in range(row[D.DEST], row[D.DEST] + row[D.NDEST]):
        until = max(until, release[r])
    return until > now


@inline
def operands_time(
    row: Any, w: int, now: int, holds: bool, owed: int, ready: Any, release: Any, meta: Any,
    pred_ready: Any, acc_ready: Any, acc_transfer: Any, acc_tiles: int, atomic: int, barriers: int,
) -> tuple[int, int]:  # fmt: skip
    """As `data_time`; (0, KNOWN) if by `now` all is there and nothing unwritten is read.

    `owed`: idle cycles that wait for their cause; then it must be told.
    """
    known = owed == 0 and row[D.PLAIN] != 0 and latest(row, ready[w], pred_ready[w]) <= now
    if known and not (holds and held(row, now, release[w])):
        return 0, KNOWN
    return data_time(
        row, w, ready, release, meta, pred_ready, acc_ready, acc_transfer, acc_tiles, atomic,
        barriers,
    )  # fmt: skip


@inline
def unwritten(
    row: Any, w: int, mask: int, ready: Any, pred_ready: Any, acc_transfer: Any, acc_tiles: int
) -> int:
    """Fault of an instruction, on in the lanes of `mask`, that reads what was never written."""
    if row[D.PLAIN] != 0 and latest(row, ready[w], pred_ready[w]) < UNINITIALISED:
        return 0
    if pred_ready[w, row[D.GUARD]] >= UNINITIALISED:
        return Fault.PREDICATE_UNINITIALISED
    if mask == 0:
        return 0
    return uninitialised(row, w, ready, pred_ready, acc_transfer, acc_tiles)


@inline
def pipe_time(row: Any, sub: Any, ring: Any, sm: Any, param: Any) -> tuple[int, int]:
    """When pipe and queue next take the instruction, and the cause of a wait for them.

    `sub`, `ring`, `sm`: rows of this sub-core, its SPWMMA queue and its SM.
    """
    # Pipe.NONE is never taken
    cause = Cause.UNIT
    pipe, op = row[D.PIPE], row[D.OP]
    time = sub[S.PIPE + pipe]
    if pipe == Pipe.TENSOR:
        cause = Cause.TENSOR
        if row[D.HALVES] != 0:
            time = ring[sub[S.RING]]
    elif pipe == Pipe.ACC:
        cause = Cause.ACCUMULATOR
    elif pipe == Pipe.LSU:
        if op == Op.LDS or op == Op.STS or op == Op.SHFL:
            free = sm[M.SHARED_FREE] - param[P.SHARED_QUEUE]
            if free > time:
                time, cause = free, Cause.SHARED_QUEUE
        else:
            free = sm[M.L1_FREE] // param[P.L1_RATE] - param[P.L1_QUEUE]
            if free > time:
                time, cause = free, Cause.GLOBAL_QUEUE
            free = sm[M.MISS_ROOM] if op == Op.LDG or op == Op.PREFETCH else sm[M.STORE_ROOM]
            if op == Op.LDV:
                free = sm[M.RUN_ROOM]
            if free > time:
                time, cause = free, Cause.GLOBAL_QUEUE
    return time, cause


@inline
def data_time(
    row: Any, w: int, ready: Any, release: Any, meta: Any, pred_ready: Any, acc_ready: Any,
    acc_transfer: Any, acc_tiles: int, atomic: int, barriers: int,
) -> tuple[int, int]:  # fmt: skip
    """When the operands are there and the results may be written, and whose result is waited for.

    `PENDING`: not known yet. It changes no more once known, as a warp issues in order. A value that
    was never written counts as ready (see `uninitialised`). `atomic`: the warp's RED or ATOM has
    yet to take place. Loads and stores take place before that, so they wait for it, as does what
    other warps take as a sign: BAR, and with `barriers` EXIT.
    """
    time, cause = 0, Cause.SCOREBOARD_ALU
    op = row[D.OP]
    if atomic != 0 and (
        op == Op.LDG
        or op == Op.LDV
        or op == Op.STG
        or op == Op.BAR
        or (op == Op.EXIT and barriers != 0)
    ):
        return PENDING, Cause.SCOREBOARD_L2
    if row[D.TILES] != 0 and row[D.ACC] + row[D.TILES] <= acc_tiles:
        for tile in range(row[D.ACC], row[D.ACC] + row[D.TILES]):
            moved = acc_transfer[w, tile]
            if time < moved < UNINITIALISED:
                time, cause = moved, Cause.ACCUMULATOR
            if row[D.HALVES] == 0 and op != Op.OHMMA and acc_ready[w, tile] > time:
                time, cause = acc_ready[w, tile], Cause.ACCUMULATOR
    for group in range(row[D.NSRC]):
        first = row[D.SRC + 2 * group]
        for r in range(first, first + row[D.SRC + 2 * group + 1]):
            if time < ready[w, r] < UNINITIALISED:
                time, cause = ready[w, r], meta[w, r] & 255
    for r in range(row[D.FWD], row[D.FWD] + row[D.NFWD]):
        at = ready[w, r] - (meta[w, r] >> 8)
        if time < at < PENDING + TICKS:
            time, cause = at, meta[w, r] & 255
    credit = row[D.CREDIT]
    for r in range(row[D.DEST], row[D.DEST] + row[D.NDEST]):
        at = ready[w, r]
        if credit != 0:
            at -= meta[w, r] >> 8
        if time < at < PENDING + TICKS:
            time, cause = at, meta[w, r] & 255
        if release[w, r] > time:
            time, cause = release[w, r], Cause.SCOREBOARD_TENSOR
    for p in (row[D.GUARD], row[D.PA], row[D.PB]):
        if time < pred_ready[w, p] < UNINITIALISED:
            time, cause = pred_ready[w, p], Cause.SCOREBOARD_ALU
    return time, cause


@inline
def mark_results(row: Any, w: int, time: int, cause: int, ready: Any, meta: Any) -> None:
    """The destination registers are ready at `time`; who waits for them waits for `cause`."""
    tag = cause | (row[D.CREDIT] << 8)
    for r in range(row[D.DEST], row[D.DEST] + row[D.NDEST]):
        ready[w, r] = time
        meta[w, r] = tag


@inline
def hold_sources(row: Any, w: int, until: int, release: Any) -> None:
    """The source registers are read until `until`: none may be overwritten before."""
    for group in range(row[D.NSRC]):
        first = row[D.SRC + 2 * group]
        for r in range(first, first + row[D.SRC + 2 * group + 1]):
            release[w, r] = max(release[w, r], until)
