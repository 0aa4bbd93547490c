"""Issue slots of tile steps on a machine without a sequencer. Not a pass.

In: OHMMAs that the bitmaps leave, the tile steps that they are of, the front end. Out: slots that
what `expand-spwmma` makes of the steps takes, or the OHMMAs alone where a sequencer runs them.
"""

from __future__ import annotations

from typing import Any

from ..backend.isa.table import TILE_K
from ..runtime.machine import Machine

STEP_OHMMAS = 8 * TILE_K
"""OHMMAs of a dense 32x32x16 step."""
STEP_OTHERS = TILE_K + 6.0
"""BOHMMAs of a step, and its part of the scans: 12 instructions for two of four SPWMMAs."""


def squash_of(machine: Machine) -> int | None:
    """OHMMAs that the front end drops beside an issue; None: a sequencer drops all."""
    if "dual_side" not in machine.features or "sequencer" in machine.features:
        return None
    return int(machine["ohmma.squash_per_cycle"])


def step_slots(ohmmas: Any, steps: float, squash: int | None, others: float = STEP_OTHERS) -> Any:
    """Slots of `steps` tile steps that leave `ohmmas` OHMMAs in all; of numbers or arrays.

    Each slot drops up to `squash` OHMMAs beyond the popcounts; those that nobody drops take one.
    `others`: instructions of a step that are no OHMMAs.
    """
    if squash is None:
        return ohmmas
    issued = ohmmas + others * steps
    dropped = STEP_OHMMAS * steps - ohmmas
    left = (dropped - squash * issued) / (1 + squash)
    return issued + (left + abs(left)) / 2
