"""The static memory plan: temporaries share device memory when their lives do not overlap.

In: a plan's buffers and steps. Out: each temporary's offset in one arena, and `MemoryUse`: what the
arena takes against one place for each.

What must begin as zeros (the first level of a bitmap, which is built up by OR, a counter, a matrix
with padding) stands where nothing was before it in the run, or where a matrix of the very same
layout was, whose padding nobody writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..backend.isa.layout import BitmapLayout, DenseLayout, round_up
from ..backend.isa.program import ELEMENT_BYTES, Buffer, Plan

ALIGN = 256
"""Buffers start at multiples of this many bytes, and as many bytes lie between two at least."""


@dataclass(frozen=True)
class Life:
    """A temporary and the steps, first and last, in which it is needed."""

    buffer: Buffer
    first: int
    last: int

    @property
    def size(self) -> int:
        """Bytes with the guard behind them."""
        return round_up(self.buffer.bytes, ALIGN) + ALIGN

    @property
    def layout(self) -> DenseLayout | None:
        """Of a dense buffer."""
        size = ELEMENT_BYTES.get(self.buffer.dtype)
        return None if size is None else DenseLayout.of(self.buffer.shape, size)

    @property
    def zeros(self) -> int:
        """Bytes from the start on that must be zero when the buffer's life begins."""
        at = self.layout
        if self.buffer.bitmap is not None:
            b = self.buffer.bitmap
            return BitmapLayout(b["vectors"], b["depth"], self.buffer.bitmap_window).headers_offset
        if at is None:
            return 0
        padded = at.rows * at.columns * at.element_bytes < self.buffer.bytes
        return self.buffer.bytes if padded or self.buffer.dtype == "u32" else 0

    def shares(self, other: Life) -> bool:
        """The padding of one is the padding of the other."""
        kinds = {self.buffer.dtype, other.buffer.dtype}
        return len(kinds) == 1 and kinds != {"u32"} and self.layout == other.layout is not None

    def alive(self, other: Life) -> bool:
        """Both are needed in some step."""
        return self.first <= other.last and other.first <= self.last


def lives(plan: Plan) -> list[Life]:
    """Temporaries and outputs of the plan, in the order of their making."""
    found = plan.lives()
    made = [b for b in plan.buffers if b.kind in ("temporary", "output") and b.name in found]
    return [Life(b, *found[b.name]) for b in made]


def _clash(life: Life, offset: int, other: Life, at: int) -> bool:
    """They may not stand at these places: one would be lost, or not begin as zeros."""
    if at == offset and life.shares(other) and not life.alive(other):
        return False
    if life.alive(other):
        return offset < at + other.size and at < offset + life.size
    if life.first < other.first:
        life, offset, other, at = other, at, life, offset
    return life.zeros > 0 and offset < at + other.size and at < offset + life.zeros


def place(buffers: Sequence[Life]) -> dict[str, int]:
    """Offsets by name: the largest first, each where the arena grows least, then lowest.

    A bitmap may stand just so far below an earlier one that only its first bytes, which must be
    zero, lie in front of it.
    """
    placed: list[tuple[Life, int]] = []
    bitmaps = [life for life in buffers if life.buffer.bitmap is not None]
    room = sum(round_up(life.zeros, ALIGN) for life in bitmaps)
    low = high = 0
    for life in sorted(buffers, key=lambda v: (-v.size, v.first, v.buffer.name)):
        # between bitmaps there is room for the first bytes of those to come
        apart = room if life in bitmaps else 0
        candidates = {0} if not placed else set[int]()
        for other, at in placed:
            candidates |= {at, at + other.size + apart, at - round_up(life.zeros, ALIGN)}
            candidates.add(at + round_up(other.zeros, ALIGN))
        ranked = sorted((max(high, at + life.size) - min(low, at), at) for at in candidates)
        _, offset = next(
            pair for pair in ranked if not any(_clash(life, pair[1], *other) for other in placed)
        )
        placed.append((life, offset))
        low, high = min(low, offset), max(high, offset + life.size)
    return {life.buffer.name: offset - low for life, offset in placed}


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of a plan: `planned` of the arena, `naive` if each temporary had its own place."""

    planned: int
    naive: int
    constants: int
    inputs: int

    @staticmethod
    def of(plan: Plan) -> MemoryUse:
        """What a plan takes."""
        found = lives(plan)

        def total(kind: str) -> int:
            return sum(b.bytes for b in plan.buffers if b.kind == kind)

        naive = sum(life.size for life in found)
        return MemoryUse(plan.arena or naive, naive, total("constant"), total("input"))

    def to_json(self) -> dict[str, int]:
        """`memory` of `dstc run --json`."""
        return {
            "planned_bytes": self.planned,
            "naive_bytes": self.naive,
            "constant_bytes": self.constants,
            "input_bytes": self.inputs,
        }


def plan_memory(plan: Plan) -> MemoryUse:
    """Give the temporaries of `plan` their places, in place."""
    found = lives(plan)
    offsets = place(found)
    for life in found:
        life.buffer.offset = offsets[life.buffer.name]
    plan.arena = max((offsets[v.buffer.name] + v.size for v in found), default=0)
    return MemoryUse.of(plan)
