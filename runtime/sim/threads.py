"""What simulator threads share: atomic counters and waiting.

In: an int64 array (`Sync`) that all threads of a launch see. Out: operations that order memory, as
LLVM atomics; a wait that spins, then yields, then sleeps: more threads than CPUs do no harm.
"""

from __future__ import annotations

import os
from collections import namedtuple
from typing import Any

from numba import types

from .compiled import inline
from .intrinsics import intrinsic

Sync: Any = namedtuple("Sync", "LEFT FINISHED STOP")(0, 8, 16)
"""Places of the shared array, a cache line each. LEFT: SMs of the list that nobody took yet;
FINISHED: those done; STOP: 1: the launch is over, leave."""
SYNC_SIZE = 24
_SPINS, _YIELDS, _SLEEP_US = 2000, 2000, 50


def _atomic(name: str, emit: Any, operands: int) -> Any:
    """An intrinsic on one element of an int64 array."""

    def typing(_context: Any, array: Any, _at: Any, *more: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            result = emit(builder, builder.gep(data, [args[1]]), *args[2:])
            return context.get_dummy_value() if result is None else result

        returns = types.void if name == "publish" else types.int64
        return returns(array, types.intp, *(types.int64 for _ in more)), codegen

    if operands == 0:
        return intrinsic(lambda _context, array, at: typing(_context, array, at))
    return intrinsic(lambda _context, array, at, value: typing(_context, array, at, value))


def _publish(builder: Any, place: Any, value: Any) -> None:
    builder.store_atomic(value, place, "release", 8)


fetch_add = _atomic("fetch_add", lambda b, p, v: b.atomic_rmw("add", p, v, "acq_rel"), 1)
"""fetch_add(array, at, value): add, return what was there."""
observe = _atomic("observe", lambda b, p: b.load_atomic(p, "acquire", 8), 0)
"""observe(array, at): the value, and all that was written before it was published."""
publish = _atomic("publish", _publish, 1)
"""publish(array, at, value): store; who observes it sees all that was written before."""


@intrinsic
def spin_hint(_context: Any) -> Any:
    """Tell the CPU that this is a waiting loop; keeps the loop from being optimised away."""

    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        builder.fence("acquire")
        return context.get_dummy_value()

    return types.void(), codegen


_POSIX = hasattr(os, "sched_yield")
_sched_yield: Any = types.ExternalFunction("sched_yield", types.int32())
_usleep: Any = types.ExternalFunction("usleep", types.int32(types.uint32))

if _POSIX:

    @inline
    def back_off(turn: int) -> None:
        """Wait a moment, longer after many turns."""
        if turn < _SPINS:
            spin_hint()
        elif turn < _SPINS + _YIELDS:
            _sched_yield()
        else:
            _usleep(_SLEEP_US)

else:

    @inline
    def back_off(turn: int) -> None:
        """Wait a moment."""
        spin_hint()
