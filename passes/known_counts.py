"""Where the zeros of a product's constants are. Not a pass.

In: a `dstc.matmul`, the constant pool. Out: its `Operands` by popcounts where an operand is a
constant, by densities where it is not; None where densities say it all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..backend.isa.table import TILE_M
from ..dialects.constants import ConstantPool
from ..dialects.dstc import ConstantOp, MatmulOp
from ..runtime.formats import OHMMA_A, OHMMA_B, Counts, count
from .cost import ScheduledProduct
from .cost_chip import Chip
from .cost_operands import Operands, expected_chunks


def constant_operand(op: MatmulOp, which: int, pool: ConstantPool) -> str | None:
    """Name of the constant that is an operand, if its values are there."""
    owner = (op.lhs, op.rhs)[which].owner
    if isinstance(owner, ConstantOp) and owner.constant.data in pool:
        return owner.constant.data
    return None


def stored_side(op: MatmulOp, which: int) -> str:
    """The operand's side as it is stored: K lies along its rows (a) or columns (b)."""
    return "ab"[which] if not op.transposed[which] else "ba"[which]


_ORDINARY = 0.03, 0.25
"""A constant whose vectors take OHMMAs as zeros by chance would, on average within the first share,
and whose fullest strip is not above the mean by more than the second, is as good as its density."""


def _ordinary(counts: Counts, density: float) -> bool:
    """Whether popcounts say no more of a matrix than its density does."""
    found, layout = counts.counts(), counts.layout
    vectors = found[: layout.vectors // layout.window or 1, : layout.depth]
    rows = min(layout.window, layout.vectors)
    near, uneven = _ORDINARY
    for takes in (OHMMA_A, OHMMA_B):
        of_strips = (-(-vectors // takes)).mean(axis=1)
        expected = expected_chunks(density, takes, rows)
        if abs(of_strips.mean() - expected) > near * expected:
            return False
        if of_strips.max() > (1 + uneven) * of_strips.mean():
            return False
    return True


@dataclass(frozen=True, eq=False)
class KnownCounts:
    """Constant operands as (matrix, side), None for the others; popcounts by window."""

    matrices: tuple[tuple[NDArray[Any], str] | None, ...]
    _by_window: dict[int, tuple[Counts | None, Counts | None]] = field(
        default_factory=dict[int, tuple[Counts | None, Counts | None]]
    )

    @staticmethod
    def of(op: MatmulOp, pool: ConstantPool) -> KnownCounts | None:
        """Of a product; None if densities say as much: products alike are then chosen for once."""
        found: list[tuple[NDArray[Any], str] | None] = [None, None]
        counts: list[Counts | None] = [None, None]
        for which, density in enumerate(op.densities):
            name = constant_operand(op, which, pool)
            if name is None or pool[name].ndim != 2 or not 0 < density < 1:
                continue
            matrix, side = pool[name], stored_side(op, which)
            counted = count(matrix, side)
            if not _ordinary(counted, density):
                found[which], counts[which] = (matrix, side), counted
        stated = zip(counts, (op.a_occupied, op.b_occupied), strict=True)
        if any(known is None and occupied is not None for known, occupied in stated):
            return None  # what is stated of the other operand says more than its density
        if counts == [None, None]:
            return None
        return KnownCounts(tuple(found), {TILE_M: (counts[0], counts[1])})

    def operands(self, product: ScheduledProduct, chip: Chip) -> Operands:
        """Those of a scheduled product."""
        window = product.schedule.vectors
        if window not in self._by_window:
            a, b = (None if known is None else count(*known, window) for known in self.matrices)
            self._by_window[window] = a, b
        return Operands.partly(
            self._by_window[window], product.computed, product.densities, chip.empty_step, window
        )
