"""Storage of an image whose windows a dual-side product forms itself (docs/formats.md).

In: the sizes of an image and of the windows on it. Out: where each element's bit and value lie, and
where the windows' elements of a k begin; kernels, runtime and interpreter read it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .layout import ceil_div, round_up
from .table import RUN_SLOT_BYTES

WORD = 32
"""Neighbouring positions of a plane whose bits are a word, and whose values share a slot."""
ENTRY_BYTES = 8
"""A word of bits and the one after it: any 32 bits that begin in the first lie in both."""
BEYOND_WORDS = 8
"""Slots beyond the last that are allocated: what is fetched ahead may reach a few words further."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class ImageLayout:
    """An image N x C x H x W and windows on it: `pads` top, left, bottom, right.

    With strides, rows and columns are dealt out to phases: those which a tap meets are a stride
    apart. Of each channel and phase there is a *plane*: the phase's rows of all images, padding
    included, one after the other in `pitch` positions each, so that the elements which 32
    neighbouring pixels of a result have at one tap are 32 neighbouring positions, for every tap.
    Where both ends of all rows are padding, one row's end is the next one's beginning, and so it is
    with the rows of images. Pixels are counted in the same pitch: those beyond the end of a row or
    an image (`computed` - real ones) are nobody's.

    One allocation: for each word of positions an entry (the word, and the next one of its plane),
    then for each a slot of 64 bytes with the values of its ones, ascending; behind them a few that
    nobody uses.
    """

    shape: tuple[int, int, int, int]
    kernel: Pair
    strides: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: Pair = (1, 1)

    @cached_property
    def out(self) -> Pair:
        """Height and width of the result."""
        height, width = (
            (self.shape[2 + i] + self.pads[i] + self.pads[i + 2]
             - (self.kernel[i] - 1) * self.dilations[i] - 1) // self.strides[i] + 1
            for i in (0, 1)
        )  # fmt: skip
        return height, width

    @cached_property
    def phases(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of rows and of columns, the remainders modulo the stride that some tap has."""
        rows, columns = (
            tuple(sorted({t * self.dilations[i] % self.strides[i] for t in range(self.kernel[i])}))
            for i in (0, 1)
        )
        return rows, columns

    @property
    def phase_count(self) -> int:
        """Planes of a channel."""
        return len(self.phases[0]) * len(self.phases[1])

    @cached_property
    def reach(self) -> Pair:
        """Rows and columns of a phase that the last tap lies beyond the first."""
        rows, columns = (
            (self.kernel[i] - 1) * self.dilations[i] // self.strides[i] for i in (0, 1)
        )
        return rows, columns

    def _apart(self, axis: int) -> int:
        """Rows (0) or columns (1) from where one line of them begins to the next one."""
        count, stride, before = (
            self.out[axis] + self.reach[axis],
            self.strides[axis],
            self.pads[axis],
        )
        shared = self.reach[axis]
        for phase in self.phases[axis]:
            first = ceil_div(max(0, before - phase), stride)
            end = ceil_div(max(0, self.shape[2 + axis] + before - phase), stride)
            shared = min(shared, first, max(0, count - end))
        return count - shared

    @cached_property
    def rows(self) -> int:
        """Rows of a plane from an image to the next."""
        return self._apart(0)

    @cached_property
    def pitch(self) -> int:
        """Positions from a row of a plane to the next."""
        return self._apart(1)

    @cached_property
    def lead(self) -> int:
        """Unused positions before the first row: the first element then begins a word."""
        return -(self.pads[0] * self.pitch + self.pads[1]) % WORD if self.strides == (1, 1) else 0

    @property
    def first_word(self) -> int:
        """Word of the first element, where there are no strides; those before it are empty."""
        return (self.lead + self.pads[0] * self.pitch + self.pads[1]) // WORD

    @cached_property
    def vectors(self) -> int:
        """Vectors of 32 pixels."""
        rows = (self.shape[0] - 1) * self.rows + self.out[0] - 1
        return ceil_div(rows * self.pitch + self.out[1], WORD)

    @property
    def computed(self) -> int:
        """Pixels that a product computes: those of whole vectors."""
        return self.vectors * WORD

    @property
    def depth(self) -> int:
        """K: channels and taps."""
        return self.shape[1] * self.kernel[0] * self.kernel[1]

    @cached_property
    def plane_words(self) -> int:
        """Words of a plane."""
        last = self.vectors * WORD - 1 + self.reach[0] * self.pitch + self.reach[1]
        return (self.lead + last) // WORD + 1

    @property
    def planes(self) -> int:
        """Planes, by channel, then by phase."""
        return self.shape[1] * self.phase_count

    @property
    def words(self) -> int:
        """Words of all planes."""
        return self.planes * self.plane_words

    @property
    def values_offset(self) -> int:
        """Byte offset of the slots."""
        return round_up(self.words * ENTRY_BYTES, RUN_SLOT_BYTES)

    @property
    def bytes(self) -> int:
        """Bytes allocated."""
        return self.values_offset + (self.words + BEYOND_WORDS) * RUN_SLOT_BYTES

    def tap(self, row: int, column: int) -> Pair:
        """(number of the phase, positions from a pixel's own) of a tap of the kernel."""
        (rows, columns), place = self.phases, (row * self.dilations[0], column * self.dilations[1])
        (down, which_row), (along, which_column) = (
            divmod(p, s) for p, s in zip(place, self.strides, strict=True)
        )
        number = rows.index(which_row) * len(columns) + columns.index(which_column)
        return number, down * self.pitch + along

    def start(self, k: int) -> int:
        """Position of the first pixel's element for a k."""
        channel, tap = divmod(k, self.kernel[0] * self.kernel[1])
        phase, within = self.tap(*divmod(tap, self.kernel[1]))
        return (channel * self.phase_count + phase) * self.plane_words * WORD + self.lead + within

    def facts(self) -> dict[str, Any]:
        """Its numbers, for a plan."""
        return {
            "shape": list(self.shape),
            "kernel": list(self.kernel),
            "strides": list(self.strides),
            "pads": list(self.pads),
            "dilations": list(self.dilations),
        }

    @staticmethod
    def of_facts(facts: Mapping[str, Any]) -> ImageLayout:
        """The converse of `facts`; raises KeyError, TypeError or ValueError if they are none."""
        n, c, h, w = (int(v) for v in facts["shape"])
        top, left, bottom, right = (int(v) for v in facts["pads"])
        kernel, strides, dilations = (
            (int(facts[name][0]), int(facts[name][1]))
            for name in ("kernel", "strides", "dilations")
        )
        layout = ImageLayout((n, c, h, w), kernel, strides, (top, left, bottom, right), dilations)
        positive = min(n, c, h, w, *kernel, *strides, *dilations) > 0
        if not positive or min(layout.pads) < 0 or min(layout.out) < 1:
            raise ValueError("sizes of an image and its windows are positive")
        return layout
