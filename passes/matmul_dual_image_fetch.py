"""Fetching what the windows of an encoded image take into L1 ahead of their loads. Not a pass.

In: the tiles of an image that a warp forms, how far ahead. Out: prefetches of entries and slots: of
each channel's planes those words that a tap of some of the warp's pixels lies in, a lane a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..backend.isa.image_layout import WORD, ImageLayout
from ..backend.isa.layout import ceil_div
from ..backend.isa.table import TILE_K, WARP_SIZE
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_image import ImageTiles
from .matmul_dual_operands import Place
from .matmul_dual_prefetch import CHUNK, Sharers, Work

_DISTANCE = 2
"""Chunks by which that is ahead of the products, at least."""
_HALF_SLOT = 0.4
"""Density from which on a slot's values are mostly in both of its sectors."""
_SECTOR = 32


def touched_words(layout: ImageLayout, vectors: int) -> list[int]:
    """Words of a plane, from that of the first pixel on, where neighbouring vectors have taps."""
    pixels = vectors * WORD - 1
    words: set[int] = set()
    for tap in range(layout.kernel[0]):
        first = layout.lead + tap * layout.dilations[0] // layout.strides[0] * layout.pitch
        words |= {*range(first // WORD, (first + pixels + layout.reach[1]) // WORD + 1)}
    return sorted(words)


def chunk_planes(layout: ImageLayout) -> int:
    """Planes of the channels that begin in a chunk, at most."""
    taps = layout.kernel[0] * layout.kernel[1]
    return ceil_div(CHUNK * TILE_K, taps) * layout.phase_count


@dataclass(frozen=True)
class ImageFetch:
    """Of a warp's tiles; warps that form the same ones share the words out."""

    b: KernelBuilder
    tiles: ImageTiles
    density: float
    warps: Sharers
    first_tile: Value

    @staticmethod
    def distance(ahead: int) -> int:
        """Chunks by which that is ahead of products whose words are loaded `ahead` steps before."""
        return _DISTANCE + (ahead > CHUNK)

    def begin(self, first: Place, distance: int) -> None:
        """Fetch the first chunks but one, which comes as soon as its own loads do."""
        for c in range(1, distance):
            for item in self.fetch(first, c * CHUNK):
                item()

    def fetch(self, at: Place, step: int) -> list[Work]:
        """Fetch what the chunk from `step` on takes first: the channels that begin in it."""
        b, layout = self.b, self.tiles.layout
        taps, phases = layout.kernel[0] * layout.kernel[1], layout.phase_count
        first: Value = b.mad(self.first_tile, TILE_K, TILE_K * step + taps - 1)
        if at.counter is not None:
            first = b.mad(at.counter, TILE_K, first)
        channel = b.div(first, taps)
        end = b.min_(b.div(b.add(first, CHUNK * TILE_K), taps), layout.shape[1])
        count = b.mul(b.sub(end, channel), phases)
        start = b.mad(channel, phases * layout.plane_words, self.tiles.first)
        words = touched_words(layout, self.tiles.vectors)
        items = chunk_planes(layout) * len(words)
        return [
            partial(self._fetch, number, words, start, count)
            for number in range(ceil_div(items, WARP_SIZE * self.warps.count))
        ]

    def _fetch(self, number: int, words: Sequence[int], start: Value, count: Value) -> None:
        b, warps = self.b, self.warps
        item = b.mad(b.lane, warps.count, b.add(warps.number, number * WARP_SIZE * warps.count))
        plane = b.div(item, len(words))
        which = b.sub(item, b.mul(plane, len(words)))
        place = b.mad(plane, self.tiles.layout.plane_words, _nth(b, which, words))
        word = b.add(start, place)
        inside = b.compare("slt", b.value(plane), b.value(count))
        b.prefetch(self.tiles.entry(word), predicate=inside)
        slot = self.tiles.slot(word)
        for sector in range(1 + (self.density > _HALF_SLOT)):
            b.prefetch(slot, offset=_SECTOR * sector, predicate=inside)


def _nth(b: KernelBuilder, which: Value, words: Sequence[int]) -> Value:
    """The which-th of ascending words, most of which are neighbours."""
    found = b.add(which, words[0])
    for i in range(1, len(words)):
        gap = words[i] - words[i - 1] - 1
        if gap:
            found = b.add(found, b.select(b.compare("uge", b.value(which), i), gap, 0))
    return found
