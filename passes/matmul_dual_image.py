"""A warp's tiles of an encoded image in the dual-side kernel: places, bits, values. Not a pass.

In: an `ImageLayout`, the pixels of a warp's tile. Out: the table of where a k lies relative to a
pixel; loads of the words in which the columns of a step lie, bitmaps and values formed from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.layout import ceil_div, round_up
from ..backend.isa.table import RUN_SLOT_BYTES, TILE_K, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..dialects.dstc_tile import Lanes
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_operands import Place

_ENTRY = VectorType(i32, [2])
PAIR = 2
"""Vectors of 32 pixels whose columns the lanes of a warp form together."""
_ENTRIES = 4
"""Entries of the table that a lane works out side by side."""


def table_bytes(depth: int) -> int:
    """Shared memory of the table of a depth: a word each k of whole tiles."""
    return 4 * round_up(depth, TILE_K)


def fill_table(b: KernelBuilder, layout: ImageLayout, warps: int) -> None:
    """Of every k the position of the first pixel's element (`ImageLayout.start`), in words' bits.

    Those beyond the end are those of the last k: the filters have no bits there.
    """
    count, threads = round_up(layout.depth, TILE_K), warps * WARP_SIZE
    taps, columns = layout.kernel[0] * layout.kernel[1], layout.kernel[1]
    thread = b.mad(b.warp, WARP_SIZE, b.lane)

    def entry(number: Value) -> None:
        k = b.min_(number, layout.depth - 1)
        channel = b.div(k, taps)
        tap = b.sub(k, b.mul(channel, taps))
        row = b.div(tap, columns)
        place = row, b.sub(tap, b.mul(row, columns))
        phase: Value = 0
        within: Value = 0
        for i, step in ((0, layout.pitch), (1, 1)):
            at = b.mul(place[i], layout.dilations[i])
            down = b.div(at, layout.strides[i])
            rest = b.sub(at, b.mul(down, layout.strides[i])) if layout.strides[i] > 1 else 0
            index = _index(b, rest, layout.phases[i])
            phase = b.mad(phase, len(layout.phases[i]), index)
            within = b.mad(down, step, within)
        plane = b.mad(channel, layout.phase_count, phase)
        position = b.mad(plane, layout.plane_words * WORD, b.add(within, layout.lead))
        here = b.less(number, count)
        b.store(tile.Space.SHARED, b.value(position), b.mul(number, 4), predicate=here)

    def body(first: Value, carried: Sequence[SSAValue]) -> list[SSAValue]:
        del carried
        for i in range(min(_ENTRIES, ceil_div(count, threads))):
            entry(b.add(thread, b.add(first, i * threads)))
        return []

    if count <= _ENTRIES * threads:
        body(0, [])
    else:
        b.loop(0, count, _ENTRIES * threads, [], body)


def _index(b: KernelBuilder, value: Value, values: Sequence[int]) -> Value:
    """Which of the ascending `values` it is."""
    if tuple(values) == tuple(range(len(values))):
        return value
    index: Value = 0
    for other in values[:-1]:
        index = b.add(index, b.select(b.compare("ugt", b.value(value), other), 1, 0))
    return index


@dataclass(frozen=True)
class Window:
    """The 16 columns of a step, one a lane: where they begin, and of each two vectors an entry.

    Entries are carried whole: words taken out of them would be copied, and so waited for.
    """

    start: SSAValue
    """Position relative to a pixel's own; its low 5 bits say where in a word."""
    word: SSAValue
    """The rest of it."""
    entries: Sequence[SSAValue]
    """Two words of bits each."""

    def flat(self) -> list[SSAValue]:
        """For a loop to carry."""
        return [self.start, self.word, *self.entries]

    @staticmethod
    def of(flat: Sequence[SSAValue]) -> Window:
        """The converse."""
        return Window(flat[0], flat[1], flat[2:])


class ImageTiles:
    """A warp's vectors of pixels: loads of their columns' words, and of their values."""

    def __init__(
        self, b: KernelBuilder, layout: ImageLayout, column: Value, vectors: int, first_tile: Value
    ):
        """`column`: of the product, at which the warp's tile begins; `first_tile`: along K."""
        self.b, self.layout, self.vectors = b, layout, vectors
        self.table = b.mad(first_tile, 4 * TILE_K, b.mul(b.and_(b.lane, TILE_K - 1), 4))
        own = b.div(column, WORD)
        self.first = self._word(own)
        """Word at which the first vector begins."""
        self.entries: list[Value] = []
        self.slots: list[Value] = []
        for first in range(0, vectors, PAIR):
            second = b.div(b.lane, TILE_K) if first + 1 < vectors else 0
            word = self._word(b.add(b.add(own, first), second))
            self.entries.append(self.entry(word))
            self.slots.append(self.slot(word))

    def entry(self, word: Value) -> Value:
        """Address of a word's entry."""
        return self.b.mad(word, ENTRY_BYTES, self.b.params["b"])

    def slot(self, word: Value) -> Value:
        """Address of its slot."""
        start = self.b.add(self.b.params["b"], self.layout.values_offset)
        return self.b.mad(word, RUN_SLOT_BYTES, start)

    def _word(self, vector: Value) -> Value:
        """The word of a plane at which a vector of pixels begins, but for what the table adds."""
        return self.b.min_(vector, self.layout.vectors - 1)

    def start(self, at: Place, step: int) -> SSAValue:
        """Where the columns of `step` begin: from the table."""
        place = at.advanced(self.table, 4 * TILE_K)
        offset = 4 * TILE_K * step
        return self.b.load(tile.Space.SHARED, place, i32, offset=offset, hint="start")

    def words(self, start: SSAValue) -> Window:
        """Start loading the bits of the columns that begin there."""
        b = self.b
        word = b.value(b.shr(start, 5))
        places = [b.mad(word, ENTRY_BYTES, entry) for entry in self.entries]
        load = partial(b.load, tile.Space.GLOBAL, type_=_ENTRY, hint="words")
        return Window(start, word, [load(place) for place in places])

    def formed(self, window: Window, pair: int) -> tuple[SSAValue, Callable[[Lanes], SSAValue]]:
        """Bitmaps of two vectors' tiles, and what loads the values of one of them."""
        b = self.b
        low, high = (b.extract(window.entries[pair], i) for i in (0, 1))
        bitmap = b.insert(tile.FunnelOp(low, high, window.start), "bitmap")
        inside = b.insert(tile.FunnelOp(low, b.value(0), window.start))
        ones = [b.insert(tile.PopulationCountOp(v)) for v in (inside, low, bitmap)]
        counts = b.value(b.mad(ones[2], 256, ones[0]))
        slot = b.mad(window.word, RUN_SLOT_BYTES, self.slots[pair])
        first = b.value(b.mad(ones[0], -2, b.mad(ones[1], 2, slot)))

        def load(lanes: Lanes) -> SSAValue:
            return b.insert(tile.LoadRunsOp(lanes, first, counts), "values")

        return bitmap, load
