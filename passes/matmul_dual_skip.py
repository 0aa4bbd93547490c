"""The dual-side kernel's main loop over those steps alone where neither side is empty. Not a pass.

In: a warp's operand tiles, their warp-bitmaps. Out: a list of steps in shared memory, and a loop
over it: of the steps that it leaves out nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import ceil_div
from ..backend.isa.table import WARP_SIZE
from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_operands import Located, Operands, Place
from .matmul_dual_prefetch import CHUNK
from .matmul_dual_steps import HEADERS_AHEAD, Steps

_PADDING = 32
"""Entries after a list's last: a chunk's, and those that its last step looks ahead."""


def list_bytes(k_tiles: int) -> int:
    """Shared memory of a warp's list of steps."""
    return 4 * (k_tiles + _PADDING)


@dataclass(frozen=True)
class StepList:
    """Which of `k_tiles` steps a warp takes: numbers of steps in shared memory from `start` on.

    After the `count` numbers there are entries of `k_tiles`: steps without operands.
    """

    start: Value
    count: SSAValue
    k_tiles: int

    @staticmethod
    def of(b: KernelBuilder, located: Located, k_tiles: int) -> StepList:
        """Of a warp, from the warp-bitmaps: steps with a tile on both sides that is not empty."""
        start = b.mul(b.warp, list_bytes(k_tiles))
        bit = b.shl(1, b.lane)
        below = b.sub(bit, 1)

        words = ceil_div(k_tiles, WARP_SIZE)
        count = b.value(0)
        for first in range(0, words, WARP_SIZE):
            # a lane has a word of each row: what both sides have is 32 steps of the list
            some = min(WARP_SIZE, words - first)
            here = b.less(b.lane, some)
            sides = [
                reduce(
                    b.or_,
                    [
                        b.load(
                            tile.Space.GLOBAL,
                            b.mad(b.lane, 4, at),
                            i32,
                            offset=4 * first,
                            predicate=here,
                        )
                        for at in rows
                    ],
                )
                for rows in located.words
            ]
            both = b.value(b.and_(sides[0], sides[1]))

            def word(
                number: SSAValue,
                carried: Sequence[SSAValue],
                both: SSAValue = both,
                first: int = first,
            ) -> list[SSAValue]:
                taken = b.insert(tile.ShuffleOp(both, number))
                before = b.insert(tile.PopulationCountOp(b.value(b.and_(taken, below))))
                place = b.mad(b.add(carried[0], before), 4, start)
                step = b.value(b.mad(b.add(number, first), WARP_SIZE, b.lane))
                mine = b.compare("ne", b.and_(taken, bit), 0)
                b.store(tile.Space.SHARED, step, place, predicate=mine)
                found = b.insert(tile.PopulationCountOp(taken))
                return [b.value(b.add(carried[0], found))]

            (count,) = b.loop(0, some, 1, [count], word)
        end = b.mad(b.add(count, b.lane), 4, start)
        b.store(tile.Space.SHARED, b.value(k_tiles), end)
        return StepList(start, count, k_tiles)


@dataclass
class _Listed(Place):
    """A turn of the loop over a list of steps."""

    steps: StepList | None = None
    numbers: dict[int, tuple[SSAValue, SSAValue]] = field(
        default_factory=dict[int, tuple[SSAValue, SSAValue]]
    )

    def number(self, step: int) -> tuple[SSAValue, SSAValue]:
        """The number of a step of this turn along K, and whether there is one."""
        assert self.steps is not None
        if step not in self.numbers:
            place = self.advanced(self.steps.start, 4)
            number = self.b.load(tile.Space.SHARED, place, i32, offset=4 * step, hint="step")
            self.numbers[step] = number, self.b.less(number, self.k_tiles)
        return self.numbers[step]


class _ListedOperands(Operands):
    """Operand tiles whose steps a list names."""

    def __init__(self, operands: Operands):
        super().__init__(
            operands.b, operands.layouts, operands.counts, operands.tiles, operands.wide
        )
        self.shared = self.header_group = 1

    def headers(self, i: int, at: Place, step: int) -> SSAValue:
        """The header of tile i at `step`."""
        assert isinstance(at, _Listed)
        number, exists = at.number(step)
        place = self.b.mad(number, 4, self.tiles[i].header)
        return self.b.load(tile.Space.GLOBAL, place, i32, predicate=exists, hint="header")

    def bitmap(self, i: int, at: Place, step: int) -> SSAValue:
        """The bitmaps of tile i at `step`."""
        assert isinstance(at, _Listed)
        number, exists = at.number(step)
        words = self.bitmap_bytes // 4
        lower = self.b.less(self.b.lane, words) if words < WARP_SIZE else None
        place = self.b.mad(number, self.bitmap_bytes, self.bitmaps[i])
        here = self.b.both(exists, lower)
        return self.b.load(tile.Space.GLOBAL, place, i32, predicate=here, hint="bitmap")


def skipping_loop(main: Steps, steps: StepList) -> None:
    """The steps of a warp's tile that the list names, a whole number of chunks."""
    b, operands = main.b, _ListedOperands(main.operands)
    main = replace(main, operands=operands)
    first = _Listed(b, steps.k_tiles, steps=steps)
    for s in range(HEADERS_AHEAD):
        headers = [operands.headers(i, first, s) for i in range(len(operands.tiles))]
        main.flow.headers.append(headers)
    main.begin(first)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        inner = replace(main, flow=main.flow.like(carried))
        at = _Listed(b, steps.k_tiles, counter, steps=steps)
        for s in range(CHUNK):
            inner.step(at, s)
        return inner.flow.flat()

    chunks = b.and_(b.add(steps.count, CHUNK - 1), -CHUNK)
    b.loop(0, chunks, CHUNK, main.flow.flat(), body, uniform=True)
