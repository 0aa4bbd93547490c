"""Operands of the dense kernel on their way to the tensor core. Not a pass.

In: a device tensor, stored along k or across it, and how its tile falls to warps and fragments.
Out: loads from global memory, stores to shared memory, and the words that HMMA takes, both without
bank conflicts.

A main-loop step is 32 k deep, eight slices of 4: the depth of one HMMA. A warp's rows (or columns)
go to its fragments interleaved, `Strip.line`, so that what a lane accumulates lies side by side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import STEP_K
from ..dialects import dstc_tile as tile
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value

SLICES = STEP_K // 4
"""HMMA steps in it."""
_LANES = 32
CHUNK = 8
"""f16 elements of a 16-byte access."""
PITCH = STEP_K * 2 + 8
"""Bytes of a line of 32 k in shared memory: the odd number of 8-byte units spreads 16 lines over
all banks."""
_WORDS = VectorType(i32, [4])
_PAIR = VectorType(i32, [2])


@dataclass(frozen=True)
class Strip:
    """The lines (rows of A, columns of B) of a CTA's tile, `warp` of them a warp."""

    cta: int
    warp: int

    @property
    def fragments(self) -> int:
        """16-line fragments of a warp."""
        return self.warp // 16

    @property
    def group(self) -> int:
        """Neighbouring fragments that are interleaved: 1, 2 or 4."""
        return gcd(self.fragments, 4)

    def line(self, b: KernelBuilder, fragment: Value, pair: Value, odd: Value) -> Value:
        """The line of the tile that is line 2 * pair + odd of a fragment.

        Pairs of lines are dealt out to the fragments of a group in turn.
        """
        block, within = b.div(fragment, self.group), b.rem(fragment, self.group)
        start = b.mad(block, 16 * self.group, b.mul(within, 2))
        return b.add(b.mad(pair, 2 * self.group, start), odd)


@dataclass(frozen=True)
class Turn:
    """One 16-byte load of a lane: byte addresses, and where it takes place (None: everywhere)."""

    source: Value
    source_offset: int
    target: Value
    target_offset: int
    inside: SSAValue | None


class Staging(ABC):
    """One operand: from global memory to a buffer of shared memory to HMMA's words."""

    pieces = 1
    """Parts of a step's elements that are loaded and stored one after the other."""

    @classmethod
    @abstractmethod
    def shared_bytes(cls, strip: Strip) -> int:
        """Bytes of a buffer for a tile."""

    def prepare(self, step: Value, buffer: Value) -> None:
        """Put into a buffer what loading a step needs; a barrier follows before that."""
        del step, buffer

    @abstractmethod
    def load(
        self, step: Value, more: SSAValue | None, buffer: Value, piece: int = 0
    ) -> list[SSAValue]:
        """Start loading a piece of a step's elements, if `more`; `buffer`: where they will go."""

    @abstractmethod
    def store(
        self, loaded: Sequence[SSAValue], buffer: Value, more: SSAValue | None, piece: int = 0
    ) -> None:
        """Put the loaded elements of a piece into a buffer, if `more`."""

    @abstractmethod
    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        """HMMA's words of slice `index` (0 to 7, in this order), one a fragment of the warp."""


class MatrixStaging(Staging):
    """A matrix.

    `origin` is the tile's first line, `lines` how many are stored (with padding), `start` the
    operand's address at the first k of this CTA, `shared` the byte offset in a buffer.
    """

    layout: str
    """HMMA's name of the operand's form, without the operand's letter: ROW or COL."""

    def __init__(
        self,
        b: KernelBuilder,
        tensor: DeviceTensor,
        strip: Strip,
        *,
        warps: int,
        origin: Value,
        lines: int,
        start: Value,
        first_line: Value,
        shared: int,
        name: str,
    ):
        self.b, self.tensor, self.strip, self.warps = b, tensor, strip, warps
        self.origin, self.lines, self.start, self.name = origin, lines, start, name
        self.pitch = tensor.layout.pitch * 2
        self.turns = self._turns(shared)
        self.starts = self._starts(first_line, shared)

    @classmethod
    @abstractmethod
    def step_bytes(cls, tensor: DeviceTensor) -> int:
        """Bytes in global memory from a step to the next."""

    @property
    @abstractmethod
    def accesses(self) -> int:
        """16-byte accesses that fill a buffer."""

    @abstractmethod
    def _place(self, turn: int, warp: Value, lane: Value) -> tuple[Value, Value, Value]:
        """(line of the tile, byte offset along k or lines, byte offset in shared memory)."""

    @abstractmethod
    def _address(self, line: Value, along: Value) -> Value:
        """Byte offset in global memory of a place."""

    @abstractmethod
    def _starts(self, first_line: Value, shared: int) -> list[Value]:
        """Addresses in buffer 0 from which a lane reads."""

    @abstractmethod
    def _put(self, value: SSAValue, address: Value, offset: int, inside: SSAValue | None) -> None:
        """Store 16 loaded bytes."""

    def _turns(self, shared: int) -> list[Turn]:
        """What each turn of the CTA's warps loads; constant offsets from the first if they are."""
        b = self.b
        count = -(-self.accesses // (self.warps * _LANES))
        line, along, target = self._place(0, b.warp, b.lane)
        first = b.add(self.start, self._address(self._clamped(line), along)), b.add(target, shared)
        turns: list[Turn] = []
        for turn in range(count):
            inside = None
            if (turn + 1) * self.warps * _LANES > self.accesses:
                thread = b.mad(b.warp, _LANES, b.lane)
                inside = b.less(b.add(thread, turn * self.warps * _LANES), self.accesses)
            constant = self._constant(turn)
            if constant is not None:
                turns.append(Turn(first[0], constant[0], first[1], constant[1], inside))
                continue
            line, along, target = self._place(turn, b.warp, b.lane)
            source = b.add(self.start, self._address(self._clamped(line), along))
            turns.append(Turn(source, 0, b.add(target, shared), 0, inside))
        return turns

    def _clamped(self, line: Value) -> Value:
        """A line that is stored, at the origin; the tile may be larger than the operand."""
        line = self.b.add(self.origin, line)
        if self.lines < self.strip.cta:
            line = self.b.min_(line, self.lines - self._lines_an_access)
        return line

    _lines_an_access = 1

    def _constant(self, turn: int) -> tuple[int, int] | None:
        """The offsets of `turn` from turn 0, if they are the same in all lanes and warps."""
        if self.lines < self.strip.cta and turn:
            return None
        found: set[tuple[int, int]] = set()
        for warp in range(self.warps):
            for lane in range(_LANES):
                here, there = self._place(turn, warp, lane), self._place(0, warp, lane)
                sources = [self._address(line, along) for line, along, _ in (here, there)]
                numbers = (sources[0], sources[1], here[2], there[2])
                assert all(isinstance(v, int) for v in numbers)
                a, z, s, t = (v for v in numbers if isinstance(v, int))
                found.add((a - z, s - t))
                if len(found) > 1:
                    return None
        return found.pop()

    def load(
        self, step: Value, more: SSAValue | None, buffer: Value, piece: int = 0
    ) -> list[SSAValue]:
        del buffer, piece
        b = self.b
        advance = b.mul(step, self.step_bytes(self.tensor))
        return [
            b.load(
                tile.Space.GLOBAL,
                b.add(turn.source, advance),
                _WORDS,
                offset=turn.source_offset,
                predicate=b.both(more, turn.inside),
                zero=False,
                hint=self.name,
            )
            for turn in self.turns
        ]

    def store(
        self, loaded: Sequence[SSAValue], buffer: Value, more: SSAValue | None, piece: int = 0
    ) -> None:
        del piece
        b = self.b
        for value, turn in zip(loaded, self.turns, strict=True):
            inside = b.both(more, turn.inside)
            self._put(value, b.add(turn.target, buffer), turn.target_offset, inside)


class AlongK(MatrixStaging):
    """k lies side by side in global memory, and in shared memory: a line is 64 bytes and 8 more.

    A lane's words of a line are every other one: it reads them one by one.
    """

    @classmethod
    def shared_bytes(cls, strip: Strip) -> int:
        return strip.cta * PITCH

    @classmethod
    def step_bytes(cls, tensor: DeviceTensor) -> int:
        return STEP_K * 2

    @property
    def accesses(self) -> int:
        return self.strip.cta * STEP_K // CHUNK

    def _place(self, turn: int, warp: Value, lane: Value) -> tuple[Value, Value, Value]:
        # A warp takes 8 lines of 64 bytes. Half of it stores at a time: lines 0, 1, 8 and 9 of a
        # fragment (or these and 2, 4 or 6) fall into different banks.
        b = self.b
        eight = b.add(warp, turn * self.warps)
        fragment, odd_eight = b.div(eight, 2), b.rem(eight, 2)
        first, middle, last = (b.and_(b.shr(lane, s), 1) for s in (2, 3, 4))
        pair = b.add(b.mul(middle, 4), b.mad(odd_eight, 2, last))
        line = self.strip.line(b, fragment, pair, first)
        slot = b.add(b.mul(fragment, 16), b.mad(pair, 2, first))
        along = b.mul(b.and_(lane, 3), CHUNK * 2)
        return line, along, b.mad(slot, PITCH, along)

    def _address(self, line: Value, along: Value) -> Value:
        return self.b.mad(line, self.pitch, along)

    def _starts(self, first_line: Value, shared: int) -> list[Value]:
        b = self.b
        slot = b.add(first_line, b.shr(b.lane, 1))
        return [b.add(b.mad(slot, PITCH, shared), b.mul(b.and_(b.lane, 1), 4))]

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b = self.b
        start = b.add(self.starts[0], buffer)
        return [
            b.load(tile.Space.SHARED, start, i32, offset=f * 16 * PITCH + 8 * index)
            for f in range(self.strip.fragments)
        ]

    def _put(self, value: SSAValue, address: Value, offset: int, inside: SSAValue | None) -> None:
        b = self.b
        for half in range(2):
            pair = tile.CombineOp(b.extract(value, 2 * half), b.extract(value, 2 * half + 1))
            word = b.insert(pair)
            b.store(tile.Space.SHARED, word, address, offset=offset + 8 * half, predicate=inside)


class AcrossK(MatrixStaging):
    """Lines lie side by side for each k, in global and in shared memory.

    A lane's words of a group's fragments are neighbours: it reads them at once.
    """

    _lines_an_access = CHUNK

    @classmethod
    def shared_bytes(cls, strip: Strip) -> int:
        return strip.cta * STEP_K * 2

    @classmethod
    def step_bytes(cls, tensor: DeviceTensor) -> int:
        return STEP_K * tensor.layout.pitch * 2

    @property
    def accesses(self) -> int:
        return self.strip.cta * STEP_K // CHUNK

    def _swizzle(self, chunk: Value, k: Value) -> Value:
        """Where a k's 16-byte chunk lies: lanes of neighbouring k read from different banks."""
        b = self.b
        chunks, group = self.strip.cta // CHUNK, self.strip.group
        if chunks % 8 == 0 and group < 4:
            mask, shift = {1: (3, 1), 2: (1, 2)}[group]
            return b.xor(chunk, b.shl(b.and_(k, mask), shift))
        if chunks % 4 == 0 and group == 1:
            return b.xor(chunk, b.shl(b.and_(b.shr(k, 1), 1), 1))
        return chunk

    def _place(self, turn: int, warp: Value, lane: Value) -> tuple[Value, Value, Value]:
        b = self.b
        chunks = self.strip.cta // CHUNK
        access = b.add(b.mad(warp, _LANES, lane), turn * self.warps * _LANES)
        k, chunk = b.div(access, chunks), b.rem(access, chunks)
        target = b.mad(b.mad(k, chunks, self._swizzle(chunk, k)), 16, 0)
        return b.mul(chunk, CHUNK), k, target

    def _address(self, line: Value, along: Value) -> Value:
        return self.b.mad(along, self.pitch, self.b.mul(line, 2))

    def _starts(self, first_line: Value, shared: int) -> list[Value]:
        b = self.b
        group = self.strip.group
        k, pair = b.shr(b.lane, 3), b.and_(b.lane, 7)
        starts: list[Value] = []
        for block in range(self.strip.fragments // group):
            line = b.add(b.add(first_line, block * 16 * group), b.mul(pair, 2 * group))
            chunk = self._swizzle(b.div(line, CHUNK), k)
            row = b.mad(k, self.strip.cta * 2, shared)
            starts.append(b.add(b.mad(chunk, 16, row), b.mul(b.rem(line, CHUNK), 2)))
        return starts

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b = self.b
        group = self.strip.group
        found: list[SSAValue] = []
        for start in self.starts:
            value = b.load(
                tile.Space.SHARED,
                b.add(start, buffer),
                {1: i32, 2: _PAIR, 4: _WORDS}[group],
                offset=index * 4 * self.strip.cta * 2,
            )
            found += [value] if group == 1 else [b.extract(value, f) for f in range(group)]
        return found

    def _put(self, value: SSAValue, address: Value, offset: int, inside: SSAValue | None) -> None:
        self.b.store(tile.Space.SHARED, value, address, offset=offset, predicate=inside)
