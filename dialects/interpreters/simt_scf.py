"""`scf` on lanes: loops run to the longest lane's end, both sides of a divergent `if` run masked.

In: bounds and conditions of lanes (see `simt`). Out: `SCF`, handlers by operation.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects import scf
from xdsl.ir import Operation, Region

from .simt import Handler, Simt, merge, signed
from .simt_memory import Array


def _for(simt: Simt, op: scf.ForOp, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    low, high, step = (signed(a).astype(np.int64) for a in operands[:3])
    carried = operands[3:]
    bad = simt.live(step < 1)
    if bad.any():
        raise simt.lane_error(op, bad, "the step is {}; it must be positive", step)
    step = np.maximum(step, 1)
    trips = np.maximum((high - low + step - 1) // step, 0)
    if simt.active is not None:
        trips = np.where(simt.active, trips, 0)
    longest = int(trips.max())
    together = bool(simt.live(trips == longest).sum() == simt.live(trips >= 0).sum())
    for i in range(longest):
        at = (low + i * step).astype(np.uint32)
        if together:
            carried = simt.run_block(op.body.block, (at, *carried))
            continue
        runs = trips > i
        with simt.masked(runs):
            new = simt.run_block(op.body.block, (at, *carried))
        carried = tuple(merge(runs, n, c) for n, c in zip(new, carried, strict=True))
    return carried


def _side(simt: Simt, region: Region) -> tuple[Array, ...]:
    return simt.run_block(region.block, ()) if region.blocks else ()


def _if(simt: Simt, op: scf.IfOp, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    condition = operands[0]
    some, others = bool(simt.live(condition).any()), bool(simt.live(~condition).any())
    if not (some and others):
        return _side(simt, op.true_region if some else op.false_region)
    with simt.masked(condition):
        yes = _side(simt, op.true_region)
    with simt.masked(~condition):
        no = _side(simt, op.false_region)
    return tuple(merge(condition, y, n) for y, n in zip(yes, no, strict=True))


def _while(simt: Simt, op: scf.WhileOp, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    runs: Array = np.ones((1, 1, 1), np.bool_)
    carried, results = operands, ()
    while simt.live(runs).any():
        with simt.masked(runs):
            condition, *passed = simt.run_block(op.before_region.block, carried)
            results = (
                tuple(merge(runs, p, r) for p, r in zip(passed, results, strict=True))
                if results
                else tuple(passed)
            )
            runs = runs & condition
        if simt.live(runs).any():
            with simt.masked(runs):
                carried = simt.run_block(op.after_region.block, passed)
    return results


SCF: dict[type[Operation], Handler] = {scf.ForOp: _for, scf.IfOp: _if, scf.WhileOp: _while}
"""Handlers of the `scf` ops that a kernel may use."""
