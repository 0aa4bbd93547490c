"""Tiles and side of a product on the n:m engine. Not a pass.

In: sizes and forms of a product, the patterns of its operands, a machine. Out: the schedule that is
predicted to take the fewest cycles (`cost_nm`), and its prediction.
"""

from __future__ import annotations

from ..dialects.dstc import Engine, ScheduleAttr
from .cost_chip import Chip, Prediction
from .cost_nm import NmPlan, predict
from .estimate_dense import Product
from .nm_pattern import Patterns

NM_TILES = ((256, 128), (128, 128), (128, 64), (64, 64))
"""CTA tiles: lines of the sparse operand, of the other one. A longer side of sparse lines moves the
fewest bytes."""
NM_WARP = (64, 64)
"""A warp's tile: 128 of its lanes' registers are accumulators."""
NM_STAGES = 2
"""Buffers in shared memory: one is filled while the other is read."""


def fastest_nm(
    product: Product, patterns: Patterns, chip: Chip
) -> tuple[ScheduleAttr, Prediction] | None:
    """Side and tiles with the fewest predicted cycles; None if neither operand has a pattern."""
    found: tuple[Prediction, ScheduleAttr] | None = None
    for which, pattern in enumerate(patterns):
        if pattern is None:
            continue
        along = product.along_k[1 - which]
        for lines, others in NM_TILES:
            cta = (lines, others) if which == 0 else (others, lines)
            plan = NmPlan(product.sizes, pattern, which, along, cta, NM_WARP, product.out_bytes)
            prediction = predict(plan, chip)
            if found is None or prediction.cycles < found[0].cycles:
                schedule = ScheduleAttr.of(Engine.NM, cta, NM_WARP, NM_STAGES, swap=which == 1)
                found = prediction, schedule
    return None if found is None else (found[1], found[0])
