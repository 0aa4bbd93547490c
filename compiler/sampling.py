"""Long grids by their first CTAs: start-up, some rounds of the steady state, and the tail.

In: a grid, and how many CTAs the machine holds at once. Out: two prefixes of the grid to
run, and from their cycles those of the whole grid.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..passes.matmul_raster import panel_columns

SETTLING = 2
"""Full rounds before the steady state: all CTAs start together, no result is on its way to memory.
`benchmarks/validate_sampling.py` compares projections with whole grids."""
STEADY = (3, 4, 5)
"""Full rounds that the longer prefix has more: the number that comes nearest to whole rows of the
grid, or of a panel of it, since the first CTAs of a row find half of their operands in L2 and the
others all."""
THRESHOLD = 1.5e8
"""HMMAs up to which a grid is not worth sampling: half a minute or less in full."""
_WORTH = 0.75
"""Sample where both prefixes together have at most this share of the CTAs."""


@dataclass(frozen=True)
class Sample:
    """Two prefixes of a grid of `ctas`, `few` and `many` CTAs.

    Both leave over the same `ctas % slots` CTAs as the whole grid when they have filled the
    machine's `slots` in full rounds: they end in the same tail.
    """

    ctas: int
    slots: int
    few: int
    many: int

    def cycles(self, few: int, many: int) -> int:
        """Cycles of the whole grid from those of the two prefixes."""
        slope = (many - few) / (self.many - self.few)
        return round(many + (self.ctas - self.many) * slope)


def sample(grid: tuple[int, int, int], slots: int, hmmas: float) -> Sample | None:
    """How to sample a grid (x, y, z) with `hmmas` instructions; None: run all of it."""
    if grid[2] > 1:  # parts of a split product come last in the order: a prefix has no results
        return None
    ctas = grid[0] * grid[1]
    row = panel_columns(grid[1], grid[0])
    few = ctas % slots + SETTLING * slots
    steady = min(STEADY, key=lambda rounds: _off_rows(rounds * slots, row))
    plan = Sample(ctas, slots, few, few + steady * slots)
    if hmmas <= THRESHOLD or plan.few + plan.many > _WORTH * ctas:
        return None
    return plan


def _off_rows(ctas: int, row: int) -> float:
    """How far `ctas` are from whole rows, as a share of them."""
    rows = ctas / row
    return abs(rows - max(1, round(rows))) / rows
