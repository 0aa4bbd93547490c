"""What the simulator notes down for a timeline, if one is asked for; compiled code.

In: what just happened on an SM. Out: a row in the SM's list of events. Without a recording the
argument `trace` is None: numba then compiles none of this, and the code is as if it were not here.
"""

from __future__ import annotations

from typing import Any

from .compiled import inline
from .constants import D, E, Event, M, Op, P, Pipe, S, W

ROWS_A_SLOT = 4
"""Events of a sub-core and cycle at most: a stall ends, is settled, an instruction issues, a warp
starts or ends."""


@inline
def note(
    trace: Any, sm: int, kind: int, time: int, sub: int, warp: int, pc: int, value: int,
    until: int, cta: int,
) -> int:  # fmt: skip
    """Add an event; its row."""
    n = trace[0][sm]
    row = trace[1][sm, n]
    row[E.KIND] = kind
    row[E.TIME] = time
    row[E.SUB] = sub
    row[E.WARP] = warp
    row[E.PC] = pc
    row[E.VALUE] = value
    row[E.UNTIL] = until
    row[E.CTA] = cta
    trace[0][sm] = n + 1
    return n


@inline
def watched(trace: Any, sm: int, time: int) -> bool:
    """Whether single instructions and stalls of the SM are asked for at this time."""
    window = trace[2]
    return window[2 + sm] != 0 and window[0] <= time < window[1]


@inline
def note_issue(
    trace: Any, sm: int, s: int, now: int, w: int, pc: int, mask: int, row: Any, warp: Any,
    sub: Any, sms: Any, addr: Any, param: Any,
) -> None:  # fmt: skip
    """An instruction issued; its warp has begun or ended, perhaps."""
    slot, cta = w - sm * param[P.RESIDENT], warp[W.LINEAR]
    if warp[W.COUNT] == 1:
        note(trace, sm, Event.START, now, s, slot, pc, 0, now, cta)
    if watched(trace, sm, now):
        pipe, op = row[D.PIPE], row[D.OP]
        until = now + 1
        if op == Op.LDS or op == Op.STS or op == Op.SHFL:
            until = sms[sm, M.SHARED_FREE]
        elif pipe == Pipe.LSU:
            until = sms[sm, M.L1_FREE] // param[P.L1_RATE]
        elif pipe != Pipe.NONE:
            until = sub[S.PIPE + pipe]
        n = note(trace, sm, Event.ISSUE, now, s, slot, pc, mask, max(until, now + 1), cta)
        if trace[1].shape[2] > E.ADDRESS and pipe == Pipe.LSU:
            for lane in range(32):
                trace[1][sm, n, E.ADDRESS + lane] = addr[lane]
    if row[D.OP] == Op.EXIT and warp[W.ALIVE] == 0:
        note(trace, sm, Event.END, now, s, slot, pc, 0, now + 1, cta)
