"""The static memory plan: temporaries share device memory when their lives do not overlap.

In: a plan's buffers and steps. Out: each temporary's offset in one arena, and `MemoryUse`: what the
arena takes against one place for each.

A buffer that must begin as zeros (a bitmap, which is built up by OR, a counter, the padding of a
matrix) stands where nothing was before it in the run, or where a matrix of the very same layout
was, whose padding nobody writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..backend.isa.layout import DenseLayout, round_up
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
    def from_zero(self) -> bool:
        """What it holds has bytes that nobody writes, or adds to what is there."""
        at = self.layout
        if at is None or self.buffer.dtype == "u32":
            return self.buffer.dtype != "nm"
        return at.rows * at.columns * at.element_bytes < self.buffer.bytes

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


def _apart(life: Life, other: Life) -> bool:
    """They may not share a byte."""
    if life.alive(other):
        return True
    later = life if life.first > other.first else other
    return later.from_zero


def place(buffers: Sequence[Life]) -> dict[str, int]:
    """Offsets by name: the largest first, each at the lowest place that is free."""
    placed: list[tuple[Life, int]] = []
    for life in sorted(buffers, key=lambda v: (-v.size, v.first, v.buffer.name)):
        near = [(other, at) for other, at in placed if _apart(life, other)]
        candidates = sorted({0, *(at + other.size for other, at in placed)} | {
            at for other, at in near if life.shares(other)})  # fmt: skip
        offset = next(c for c in candidates if _free(life, c, near))
        placed.append((life, offset))
    return {life.buffer.name: offset for life, offset in placed}


def _free(life: Life, offset: int, others: Sequence[tuple[Life, int]]) -> bool:
    for other, at in others:
        same = at == offset and life.shares(other) and not life.alive(other)
        if not same and offset < at + other.size and at < offset + life.size:
            return False
    return True


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
