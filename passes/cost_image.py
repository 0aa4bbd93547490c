"""What forming windows of an encoded image costs a dual-side product, in closed form. Not a pass.

In: an image and its windows, a density, the pixels of a CTA's tile. Out: for the pixel side of a
step the accesses, instructions and sectors that stand in place of a bitmap operand's. The numbers
are those of the code in `matmul_dual_windows.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.layout import ceil_div, round_up
from ..backend.isa.table import TILE_K
from .matmul_dual_image_fetch import chunk_planes, touched_words
from .matmul_dual_prefetch import CHUNK

SECTOR = 32
_SECTOR_VALUES = SECTOR // 2
_LINE_SECTORS = 4
_PART_VALUES = 64
_ACCESSES = 2.0
"""Of a vector and step: LDV, and a half of the table's and the entries' loads."""
_ALU, _OTHER = 4.0, 4.5
"""Instructions of a vector and step, on the ALU, and beside it: half of what two vectors take."""
_FETCH_ALU, _FETCH_OTHER = 3.0, 4.0
"""Instructions of a lane's word that is fetched into L1 ahead."""
_TABLE = 10.0
"""Instructions of a thread and entry of the table, several of which are worked out together."""
ENCODE_INSTRUCTIONS = 150
"""Of a warp that encodes its words of a plane."""


@dataclass(frozen=True)
class ImageSide:
    """The pixel side of a product on an encoded image with random zeros.

    Of a vector of 32 pixels and a step: `sectors` of L2 if CTAs of `cta` pixels ask for them once,
    `touched` in L1 in units of sectors, `accesses`, `alu` and `instructions` beside them.
    """

    layout: ImageLayout
    density: float
    cta: int
    vectors: int
    """Of a warp."""
    sharers: int
    """Warps that form the same ones."""

    @property
    def _columns(self) -> int:
        """Neighbouring k whose elements are neighbours: of a kernel row, by phase."""
        return ceil_div(self.layout.kernel[1], len(self.layout.phases[1]))

    @property
    def _slot_sectors(self) -> float:
        """Sectors of a slot that hold values."""
        mean = WORD * self.density
        if self.density >= 1:
            return 2.0
        few = 1 / (1 + exp((mean - _SECTOR_VALUES) / max(1.0, mean * (1 - self.density)) ** 0.5))
        return (1 - (1 - self.density) ** WORD) * (2 - few)

    @property
    def sectors(self) -> float:
        """Sectors that a CTA asks L2 for, of each of its vectors and each step."""
        at, (rows, columns) = self.layout, self.layout.reach
        apart = at.kernel[0] * (self.cta + columns + WORD)
        positions = min(apart, self.cta + rows * at.pitch + columns + WORD)
        planes = at.phase_count * TILE_K / (at.kernel[0] * at.kernel[1])
        words = planes * positions / WORD
        return words * (self._slot_sectors + ENTRY_BYTES / SECTOR) / (self.cta / WORD)

    @property
    def touched(self) -> float:
        """What a tile of a vector takes of L1: parts of its values, by their sectors; entries."""
        runs = TILE_K / self._columns
        values = TILE_K * WORD * self.density
        parts = max(1.0, values / _PART_VALUES)
        spans = runs * 2 * self._slot_sectors
        each = max(1.0, (spans / parts + 1) / _LINE_SECTORS)
        fetched = self._fetches * 32 * (self._slot_sectors + ENTRY_BYTES / SECTOR)
        return _LINE_SECTORS * parts * each + runs + fetched

    @property
    def _fetches(self) -> float:
        """Warps' lanes full of words that are fetched ahead."""
        words = len(touched_words(self.layout, self.vectors)) * chunk_planes(self.layout)
        return ceil_div(words, 32 * self.sharers) / CHUNK / self.vectors

    @property
    def accesses(self) -> float:
        """Loads and prefetches."""
        return _ACCESSES + self._fetches * (2 + (self._slot_sectors > 1.5))

    @property
    def alu(self) -> float:
        """Instructions of the ALU."""
        return _ALU + self._fetches * _FETCH_ALU

    @property
    def others(self) -> float:
        """Instructions of other units."""
        return _OTHER + self._fetches * _FETCH_OTHER

    def start(self, warps: int, interval: int) -> float:
        """Cycles of a CTA to fill its table."""
        entries = ceil_div(round_up(self.layout.depth, TILE_K), 32 * warps)
        return entries * _TABLE * interval


def encoded_bytes(layout: ImageLayout) -> tuple[int, int]:
    """Bytes that encoding an image reads, and about those that it writes."""
    n, c, h, w = layout.shape
    return 2 * n * c * h * w, layout.words * SECTOR
