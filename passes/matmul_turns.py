"""CTAs that take a product's tiles in turn, as many as run at the same time. Not a pass.

In: a schedule's `ctas` and `cut`, the number of tiles. Out: `Turns`: which tile a CTA takes next,
by a counter in memory; the CTA that takes the last one sets it back to 0 for the next launch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..dialects import dstc_tile as tile
from ..dialects.dstc import ScheduleAttr
from .kernel_builder import KernelBuilder, Value

SLOTS_BYTES = 8
"""Shared memory of a CTA: two numbers of tiles, which turns use alternately."""


@dataclass(frozen=True)
class Turns:
    """`large` tiles, and `small` ones, `pieces` (along M, N) of one large tile, in a row of turns.

    Of the first turns every other is a small tile's, `early` in all: CTAs then store their tiles at
    different times, when others compute. The rest of the small ones come last, so that CTAs are
    done at about the same time.
    """

    ctas: int
    large: int
    small: int
    pieces: tuple[int, int]

    @staticmethod
    def of(tiles: int, schedule: ScheduleAttr) -> Turns:
        """Of a grid of so many tiles."""
        down, across = schedule.pieces
        ctas, cut = min(schedule.persistent, tiles), min(schedule.cut_tiles, tiles - 1)
        return Turns(ctas, tiles - cut, cut * down * across, (down, across))

    @property
    def early(self) -> int:
        """Small tiles among the first turns."""
        return min(self.ctas // 2, self.small // 2, self.large)

    @property
    def count(self) -> int:
        """Tiles of both sizes."""
        return self.large + self.small

    def which(self, b: KernelBuilder, turn: Value) -> tuple[Value, Value]:
        """1 if a turn is a small tile's, and its number among those of its size."""
        if self.small == 0:
            return 0, turn
        late = b.sub(turn, self.early)
        is_small = b.select(b.less(late, self.large), 0, 1)
        number = b.select(b.less(late, self.large), late, b.sub(late, self.large - self.early))
        mixed = b.less(turn, 2 * self.early)
        return (
            b.select(mixed, b.and_(turn, 1), is_small),
            b.select(mixed, b.shr(turn, 1), number),
        )

    def take(self, b: KernelBuilder) -> SSAValue:
        """In lane 0 of warp 0, how many tiles were taken before, beside each CTA's first two."""
        one = b.both(b.compare("eq", b.lane, 0), b.compare("eq", b.warp, 0))
        assert one is not None
        return b.insert(tile.AtomicAddOp(b.value(1), b.params["taken"], one))

    def tell(self, b: KernelBuilder, taken: SSAValue, slot: SSAValue) -> SSAValue:
        """All warps of the CTA meet, and get the number of its tile after the next.

        `count` or more: there is none.

        `slot`: 0 and 4 in turns.
        """

        def say() -> None:
            first_lane = b.compare("eq", b.lane, 0)
            b.store(tile.Space.SHARED, taken, slot, predicate=first_lane)
            last = b.both(first_lane, b.compare("eq", taken, self.count - 1))
            b.store(tile.Space.GLOBAL, b.value(0), b.params["taken"], predicate=last)

        b.when(b.compare("eq", b.warp, 0), say)
        b.barrier()
        before = b.load(tile.Space.SHARED, slot, i32)
        return b.value(b.add(before, 2 * self.ctas))

    def small_place(
        self, b: KernelBuilder, place: Callable[[Value], tuple[Value, Value]], number: Value
    ) -> tuple[Value, Value]:
        """Row and column of a small tile; `place`: those of a large one by its number."""
        down, across = self.pieces
        row, column = place(b.add(b.div(number, down * across), self.large))
        piece = b.rem(number, down * across)
        return b.mad(row, down, b.div(piece, across)), b.mad(column, across, b.rem(piece, across))
