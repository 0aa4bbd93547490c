"""Operands of the n:m kernel on their way to the tensor core. Not a pass.

In: an n:m operand (`NmLayout`), or a dense tensor stored along k or across it. Out: loads from
global memory, stores to shared memory, and the words that HMMA.SP takes, without bank conflicts.

A main-loop step is 64 k deep: a tile of `NmLayout`, and the k that one register of indices
describes. In shared memory the words of a fragment lie as the lanes take them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType, VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import (
    NM_BLOCK_K,
    NM_BLOCK_LINES,
    NM_INDEX_BYTES,
    NmLayout,
    ceil_div,
)
from ..dialects import dstc_tile as tile
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .matmul_staging import Strip

STEP_K = NM_BLOCK_K
"""Depth of a main-loop step."""
TILE_FRAGMENTS = NM_BLOCK_LINES // 16
"""Fragments of a tile."""
ACCESS = 512
"""Bytes that a warp moves with one 16-byte access a lane."""
_WORDS = VectorType(i32, [4])
_PAIR = VectorType(i32, [2])
_CHUNK = 8
"""f16 elements of a 16-byte access."""


@dataclass(frozen=True)
class Side:
    """An operand's part in the kernel: the CTA's tiles of 64 lines, a warp's fragments of 16."""

    tiles: int
    fragments: int
    """Fragments of a warp: those of whole tiles, or half of one's."""
    warps: int
    origin: Value
    """First line of the CTA."""
    warp_tile: Value
    """First of the CTA's tiles that the warp takes."""
    half: Value
    """1 if the warp takes the second half of its tile's fragments, else 0."""
    shared: int
    """Byte offset in a buffer of shared memory."""
    name: str

    @property
    def warp_tiles(self) -> int:
        """Tiles that a warp's fragments come from."""
        return ceil_div(self.fragments, TILE_FRAGMENTS)

    @property
    def together(self) -> int:
        """Fragments that a warp takes of each of its tiles: 2 or 4."""
        return min(self.fragments, TILE_FRAGMENTS)


@dataclass(frozen=True)
class TileStrip(Strip):
    """Lines of a CTA and of a warp whose tiles deal out pairs of lines to four fragments.

    A warp with two of these has four neighbouring lines of each eight.
    """

    def line(self, b: KernelBuilder, fragment: Value, pair: Value, odd: Value) -> Value:
        block, within = b.div(fragment, self.group), b.rem(fragment, self.group)
        start = b.mad(block, NM_BLOCK_LINES, b.mul(within, 2))
        return b.add(b.mad(pair, 2 * TILE_FRAGMENTS, start), odd)

    def place(self, b: KernelBuilder, number: Value) -> tuple[Value, Value]:
        """(tile of the CTA, half of it) that warp `number` starts at."""
        if self.warp >= NM_BLOCK_LINES:
            return b.mul(number, self.warp // NM_BLOCK_LINES), 0
        return b.div(number, 2), b.rem(number, 2)

    def first(self, b: KernelBuilder, number: Value) -> Value:
        """The first line of the CTA that warp `number` has."""
        tile_, half = self.place(b, number)
        return b.mad(tile_, NM_BLOCK_LINES, b.mul(half, TILE_FRAGMENTS))


@dataclass(frozen=True)
class _Turn:
    """A 16-byte access of a lane: its unit of the CTA's work, byte addresses, where (None: all)."""

    unit: Value
    source: Value
    source_offset: int
    target: Value
    target_offset: int
    inside: SSAValue | None


class NmStaging(ABC):
    """One operand: from global memory to a buffer of shared memory to HMMA.SP's words.

    A CTA's elements of a step are `units` of `loads` accesses of a warp each.
    """

    loads = 1

    def __init__(self, b: KernelBuilder, side: Side, start: Value, slices: int):
        self.b, self.side, self.start, self.slices = b, side, start, slices
        self.turns = self._turns()
        lane = b.add(self.warp_offset(), side.shared)
        lane = b.add(lane, b.mul(side.half, self.half_offset()))
        self.first = b.add(b.mul(side.warp_tile, self.tile_offset()), lane)

    @property
    @abstractmethod
    def units(self) -> int:
        """Units of a CTA and step."""

    @property
    @abstractmethod
    def step_bytes(self) -> int:
        """Bytes in global memory from a step to the next."""

    @property
    @abstractmethod
    def clamped(self) -> bool:
        """The CTA's tile can reach beyond what is stored."""

    @abstractmethod
    def source(self, unit: Value, lane: Value) -> Value:
        """Byte offset in global memory of a lane's first access of a unit."""

    @abstractmethod
    def target(self, unit: Value, lane: Value) -> Value:
        """Byte offset in a buffer of a lane's first store of a unit."""

    @abstractmethod
    def tile_offset(self) -> int:
        """Bytes in a buffer from a tile of 64 lines to the next, in one slice."""

    @abstractmethod
    def half_offset(self) -> int:
        """Bytes in a buffer from the first half of a tile's fragments to the second."""

    @abstractmethod
    def warp_offset(self) -> Value:
        """Byte offset from a fragment's start at which a lane reads."""

    @abstractmethod
    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        """HMMA.SP's words of slice `index`, one value a fragment of the warp."""

    @property
    def bytes(self) -> int:
        """Bytes of a buffer."""
        return self.units * self.loads * ACCESS

    def _turns(self) -> list[_Turn]:
        b, warps = self.b, self.side.warps
        turns: list[_Turn] = []
        for number in range(ceil_div(self.units, warps)):
            unit = b.add(b.warp, number * warps)
            inside = b.less(unit, self.units) if (number + 1) * warps > self.units else None
            far_source, far_target = self._moved(number)
            if far_source is None or not turns:
                source, far_source = b.add(self.start, self.source(unit, b.lane)), 0
            else:
                source = turns[0].source
            if far_target is None or not turns:
                target, far_target = b.add(self.target(unit, b.lane), self.side.shared), 0
            else:
                target = turns[0].target
            for load in range(self.loads):
                offset = far_source + load * self.load_bytes
                turns.append(_Turn(unit, source, offset, target, far_target, inside))
        return turns

    load_bytes = 0
    """Bytes in global memory from a lane's access of a unit to its next."""

    def _moved(self, number: int) -> tuple[int | None, int | None]:
        """Distance of a unit's source and target from those of the warp's first unit.

        None: lanes or warps have different ones.
        """
        sources: set[int | None] = {None} if self.clamped else set()
        targets: set[int] = set()
        for warp in range(self.side.warps):
            unit = warp + number * self.side.warps
            for lane in range(32):
                # what hangs on the origin is the same in both, and no integer
                ends = self.plain(unit, lane), self.plain(warp, lane)
                places = self.target(unit, lane), self.target(warp, lane)
                numbers = [v for v in (*ends, *places) if isinstance(v, int)]
                assert len(numbers) == 4
                sources.add(numbers[0] - numbers[1])
                targets.add(numbers[2] - numbers[3])
        return (
            sources.pop() if len(sources) == 1 else None,
            targets.pop() if len(targets) == 1 else None,
        )

    @abstractmethod
    def plain(self, unit: Value, lane: Value) -> Value:
        """`source` for a CTA whose origin is 0."""

    @property
    def pieces(self) -> int:
        """What can be loaded and stored apart: the units of a warp."""
        return len(self.turns) // self.loads

    @property
    def held(self) -> int:
        """Loads of a step, and the addresses that they need beside the first's."""
        return len(self.turns) + len({id(turn.source) for turn in self.turns}) - 1

    def prepare(self, step: Value, buffer: Value) -> None:
        """Put into a buffer what loading a step needs; a barrier follows before that."""
        del step, buffer

    def load(
        self, piece: int, step: Value, more: SSAValue | None, buffer: Value = 0
    ) -> list[SSAValue]:
        """Start loading a piece of a step's elements, if `more`; `buffer`: where they will go."""
        del buffer
        b = self.b
        advance = b.mul(step, self.step_bytes)
        return [
            b.load(
                tile.Space.GLOBAL,
                b.sub(b.add(turn.source, advance), self.back(step, turn.unit)),
                _WORDS,
                offset=turn.source_offset,
                predicate=b.both(more, turn.inside),
                zero=False,
                hint=self.side.name,
            )
            for turn in self.turns[piece * self.loads : (piece + 1) * self.loads]
        ]

    def back(self, step: Value, unit: Value) -> Value:
        """Bytes by which to stay behind, not to read beyond the operand."""
        del step, unit
        return 0

    def store(
        self, piece: int, loaded: list[SSAValue], buffer: Value, more: SSAValue | None
    ) -> None:
        """Put a loaded piece into a buffer, if `more`."""
        b, turn = self.b, self.turns[piece * self.loads]
        inside = b.both(more, turn.inside)
        for i, value in enumerate(self.arranged(loaded)):
            address, offset = b.add(turn.target, buffer), turn.target_offset + i * ACCESS
            b.store(tile.Space.SHARED, value, address, offset=offset, predicate=inside)

    def arranged(self, loaded: list[SSAValue]) -> list[SSAValue]:
        """What a lane has loaded of a unit, as it stores it."""
        return loaded


class SparseValues(NmStaging):
    """Values of an n:m operand, in memory as HMMA.SP takes them: a unit is a slice of a tile."""

    def __init__(self, b: KernelBuilder, layout: NmLayout, side: Side, address: Value):
        self.layout = layout
        super().__init__(b, side, address, layout.slices)

    @property
    def units(self) -> int:
        return self.side.tiles * self.slices

    @property
    def step_bytes(self) -> int:
        return self.layout.tile_bytes

    @property
    def clamped(self) -> bool:
        return self.layout.line_tiles < self.side.tiles

    def tile_row(self, number: Value) -> Value:
        """The operand's tile row that is the CTA's `number`-th, or the last one."""
        b = self.b
        row = b.add(b.div(self.side.origin, NM_BLOCK_LINES), number)
        return b.min_(row, self.layout.line_tiles - 1) if self.clamped else row

    def source(self, unit: Value, lane: Value) -> Value:
        b = self.b
        row = b.mul(self.tile_row(b.div(unit, self.slices)), self.layout.k_tiles * self.step_bytes)
        return b.add(row, b.add(b.mul(b.rem(unit, self.slices), ACCESS), b.mul(lane, 16)))

    def plain(self, unit: Value, lane: Value) -> Value:
        b = self.b
        row = b.mul(b.div(unit, self.slices), self.layout.k_tiles * self.step_bytes)
        return b.add(row, b.add(b.mul(b.rem(unit, self.slices), ACCESS), b.mul(lane, 16)))

    def target(self, unit: Value, lane: Value) -> Value:
        return self.b.add(self.b.mul(unit, ACCESS), self.b.mul(lane, 16))

    def tile_offset(self) -> int:
        return self.slices * ACCESS

    def half_offset(self) -> int:
        return 4 * TILE_FRAGMENTS // 2

    def warp_offset(self) -> Value:
        return self.b.mul(self.b.lane, 16)

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b, start = self.b, self.b.add(self.first, buffer)
        found: list[SSAValue] = []
        for number in range(self.side.warp_tiles):
            offset = (number * self.slices + index) * ACCESS
            value = b.load(tile.Space.SHARED, start, self._fragments, offset=offset)
            found += [b.extract(value, f) for f in range(self.side.together)]
        return found

    @property
    def _fragments(self) -> VectorType[IntegerType]:
        """Words of the fragments that the warp takes of a tile, side by side in memory."""
        return VectorType(i32, [self.side.together])

    def indices(self) -> list[Value]:
        """Addresses of the indices of the warp's tiles at step 0."""
        b = self.b
        start = b.add(self.start, self.layout.indices_offset)
        lane = b.mad(self.side.half, self.half_offset(), b.mul(b.lane, 16))
        return [
            b.mad(
                self.tile_row(b.add(self.side.warp_tile, number)),
                self.layout.k_tiles * NM_INDEX_BYTES,
                b.add(start, lane),
            )
            for number in range(self.side.warp_tiles)
        ]

    def load_indices(
        self, addresses: list[Value], step: Value, more: SSAValue | None
    ) -> list[SSAValue]:
        """Start loading the registers of indices for a step, a tile's fragments a value."""
        b = self.b
        advance = b.mul(step, NM_INDEX_BYTES)
        return [
            b.load(
                tile.Space.GLOBAL,
                b.add(address, advance),
                self._fragments,
                predicate=more,
                zero=False,
                hint="indices",
            )
            for address in addresses
        ]


class DenseStaging(NmStaging):
    """The dense operand; `lines` and `depth` are stored, padding included."""

    layout: str
    """HMMA.SP's name of the form."""

    def __init__(
        self, b: KernelBuilder, tensor: DeviceTensor, across: bool, side: Side, address: Value,
        slices: int,
    ):  # fmt: skip
        at = tensor.layout
        self.pitch = at.pitch * 2
        self.lines, self.depth = (
            (at.pitch, at.padded_rows) if across else (at.padded_rows, at.pitch)
        )
        self.words_a_lane = 16 // slices
        """Registers of a fragment."""
        super().__init__(b, side, address, slices)

    @property
    def clamped(self) -> bool:
        return self.lines < self.side.tiles * NM_BLOCK_LINES

    def back(self, step: Value, unit: Value) -> Value:
        """A last step of 32 k: units of the other 32 read these again. Their values are zero."""
        if self.depth % STEP_K == 0:
            return 0
        b, last = self.b, self.depth // STEP_K
        half = self.step_bytes // 2
        if isinstance(step, int) and step != last:
            return 0
        far = b.compare("ugt", self.part_of(unit), 0)
        if not isinstance(step, int):
            far = b.both(far, b.compare("eq", step, last))
        assert far is not None
        return b.select(far, half, 0)

    def tile_offset(self) -> int:
        return self.words_a_lane * ACCESS

    def half_offset(self) -> int:
        return self.tile_offset() // 2

    @abstractmethod
    def part_of(self, unit: Value) -> Value:
        """0: the unit is of a step's first 32 k; 1: of the others."""


class AcrossK(DenseStaging):
    """Lines lie side by side for each k: a unit is a slice of a tile, four k an access.

    A lane loads every fourth k of eight lines and stores them fragment by fragment.
    """

    layout = "ACROSS"

    @property
    def loads(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.words_a_lane

    @property
    def load_bytes(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 4 * self.pitch

    @property
    def units(self) -> int:
        return self.side.tiles * self.slices

    @property
    def step_bytes(self) -> int:
        return STEP_K * self.pitch

    def part_of(self, unit: Value) -> Value:
        return self.b.div(self.b.rem(unit, self.slices), self.slices // 2)

    def _place(self, unit: Value, lane: Value) -> tuple[Value, Value]:
        """(line of the CTA, k of the step)."""
        b = self.b
        line = b.mad(b.div(unit, self.slices), NM_BLOCK_LINES, b.mul(b.and_(lane, 7), _CHUNK))
        k = b.mad(b.rem(unit, self.slices), 4 * self.words_a_lane, b.shr(lane, 3))
        return line, k

    def source(self, unit: Value, lane: Value) -> Value:
        b = self.b
        line, k = self._place(unit, lane)
        line = b.add(self.side.origin, line)
        line = b.min_(line, self.lines - _CHUNK) if self.clamped else line
        return b.mad(k, self.pitch, b.mul(line, 2))

    def plain(self, unit: Value, lane: Value) -> Value:
        line, k = self._place(unit, lane)
        return self.b.mad(k, self.pitch, self.b.mul(line, 2))

    def _slot(self, tile_: Value, index: Value) -> Value:
        """First byte of a tile's slice."""
        b = self.b
        return b.mul(b.mad(index, self.side.tiles, tile_), self.words_a_lane * ACCESS)

    def target(self, unit: Value, lane: Value) -> Value:
        b = self.b
        slot = self._slot(b.div(unit, self.slices), b.rem(unit, self.slices))
        return b.add(slot, b.mul(lane, 16))

    def arranged(self, loaded: list[SSAValue]) -> list[SSAValue]:
        b = self.b
        words = [b.extract(value, fragment) for fragment in range(4) for value in loaded]
        quads = [words[i : i + 4] for i in range(0, len(words), 4)]
        return [b.insert(tile.CombineOp(*quad)) for quad in quads]

    def warp_offset(self) -> Value:
        return self.b.mul(self.b.lane, 16)

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b, start = self.b, self.b.add(self.first, buffer)
        found: list[SSAValue] = []
        for number in range(self.side.warp_tiles):
            slot = self._slot(number, index)
            assert isinstance(slot, int)
            for quad in range(self.words_a_lane * self.side.together // TILE_FRAGMENTS):
                value = b.load(tile.Space.SHARED, start, _WORDS, offset=slot + quad * ACCESS)
                if self.words_a_lane == 4:
                    found.append(value)
                    continue
                for half in range(2):
                    pair = [b.extract(value, 2 * half + i) for i in range(2)]
                    found.append(b.insert(tile.CombineOp(*pair)))
        return found


class AlongK(DenseStaging):
    """k lies side by side: a unit is 16 lines (a fragment's) of 16 k, 8 of them a lane."""

    layout = "ALONG"

    @property
    def fragments(self) -> int:
        """Fragments of a CTA."""
        return 4 * self.side.tiles

    @property
    def units(self) -> int:
        return self.fragments * (STEP_K // 16)

    @property
    def step_bytes(self) -> int:
        return STEP_K * 2

    def part_of(self, unit: Value) -> Value:
        return self.b.shr(self.b.and_(unit, 3), 1)

    def _place(self, unit: Value, lane: Value) -> tuple[Value, Value, Value, Value, Value]:
        """(line of the CTA, fragment, line of the fragment, piece of 16 k, its half)."""
        b = self.b
        fragment, piece = b.div(unit, 4), b.and_(unit, 3)
        if self.words_a_lane == 4:  # lanes store side by side, quarter warp by quarter warp
            line, half = b.shr(lane, 1), b.and_(lane, 1)
        else:
            line, half = b.and_(lane, 15), b.shr(lane, 4)
        within = b.add(b.mul(b.div(line, 2), 8), b.mad(b.rem(fragment, 4), 2, b.rem(line, 2)))
        row = b.mad(b.div(fragment, 4), NM_BLOCK_LINES, within)
        return row, fragment, line, piece, half

    def source(self, unit: Value, lane: Value) -> Value:
        b = self.b
        line, _, _, piece, half = self._place(unit, lane)
        line = b.add(self.side.origin, line)
        line = b.min_(line, self.lines - 1) if self.clamped else line
        return b.mad(line, self.pitch, b.mad(piece, 32, b.mul(half, 16)))

    def plain(self, unit: Value, lane: Value) -> Value:
        b = self.b
        line, _, _, piece, half = self._place(unit, lane)
        return b.mad(line, self.pitch, b.mad(piece, 32, b.mul(half, 16)))

    def target(self, unit: Value, lane: Value) -> Value:
        b = self.b
        _, fragment, line, piece, half = self._place(unit, lane)
        if self.words_a_lane == 4:
            return b.add(b.mul(b.mad(piece, self.fragments, fragment), ACCESS), b.mul(lane, 16))
        index = b.mad(piece, 2, half)
        slot = b.mul(b.mad(index, self.fragments, fragment), ACCESS // 2)
        return b.add(slot, b.mul(line, 16))

    def warp_offset(self) -> Value:
        return self.b.mul(self.b.lane, 4 * self.words_a_lane)

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b, start = self.b, self.b.add(self.first, buffer)
        size = self.words_a_lane * ACCESS // 4
        return [
            b.load(
                tile.Space.SHARED,
                start,
                _WORDS if self.words_a_lane == 4 else _PAIR,
                offset=(index * self.fragments + fragment) * size,
            )
            for fragment in range(self.side.fragments)
        ]
