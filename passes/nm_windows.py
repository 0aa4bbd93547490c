"""Windows of an image on their way to HMMA.SP: the pixel side of a convolution. Not a pass.

In: an image and its windows, a CTA's part of the pixels. Out: what `nm_staging` gives for a matrix
stored along k. A lane gathers 8 k of a pixel (`window_staging.Gather`) and stores them at once.
"""

from __future__ import annotations

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value
from .nm_staging import ACCESS, STEP_K, AlongK, Side
from .window_staging import PIECE, Gather, Image, Pixel, packed

TABLE_BYTES = Gather.table_bytes(STEP_K)
"""Of a buffer, behind its elements."""
_MANY = 64
"""More loads than any kernel has under way at once: they start one part of a step after another."""
_ORDER = (0, 2, 4, 6)
_WORDS = VectorType(i32, [4])


class NmWindows(AlongK):
    """A unit is 16 pixels (a fragment's) of 16 k, 8 of them a lane; a warp's units share pixels."""

    def __init__(self, b: KernelBuilder, image: Image, side: Side, address: Value, slices: int):
        elements = side.tiles * 64 * STEP_K * 2
        self.gather = Gather(
            b, image, warps=side.warps, start=address, first_step=0, depth=STEP_K,
            table=side.shared + elements,
        )  # fmt: skip
        self.image = image
        super().__init__(b, image.tensor, False, side, address, slices)
        self._pixels: dict[int, Pixel] = {}
        self._kept = [self._unit(number) for number in range(self.pieces)]

    @property
    def clamped(self) -> bool:
        return self.image.pixels < self.side.tiles * 64

    def _turns(self) -> list[object]:  # type: ignore[override]
        return []

    @property
    def pieces(self) -> int:
        return self.units // self.side.warps

    @property
    def loads(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return PIECE

    @property
    def held(self) -> int:
        return _MANY

    def _unit(self, number: int) -> tuple[Pixel, Value, Value]:
        """(pixel, first entry of the table, target in a buffer) of a lane in a warp's unit."""
        b, side, fragments = self.b, self.side, self.fragments
        if fragments >= side.warps:
            further = number * side.warps % fragments
            fragment, piece = b.add(b.warp, further), number * side.warps // fragments
        else:
            further = 0
            fragment = b.rem(b.warp, fragments)
            piece = b.add(b.div(b.warp, fragments), number * (side.warps // fragments))
        if self.words_a_lane == 4:  # lanes store side by side, quarter warp by quarter warp
            line, half = b.shr(b.lane, 1), b.and_(b.lane, 1)
            slot = b.mul(b.mad(piece, fragments, fragment), ACCESS)
            target = b.add(slot, b.mul(b.lane, 16))
        else:
            line, half = b.and_(b.lane, 15), b.shr(b.lane, 4)
            index = b.mad(piece, 2, half)
            slot = b.mul(b.mad(index, fragments, fragment), ACCESS // 2)
            target = b.add(slot, b.mul(line, 16))
        if further not in self._pixels:
            within = b.add(b.mul(b.div(line, 2), 8), b.mad(b.rem(fragment, 4), 2, b.rem(line, 2)))
            row = b.add(b.mad(b.div(fragment, 4), 64, within), side.origin)
            row = b.min_(row, self.image.pixels - 1) if self.clamped else row
            self._pixels[further] = self.gather.pixel(row)
        entries = b.mul(b.mad(piece, 2, half), 4 * PIECE)
        entries = b.add(entries, self.gather.table)
        return self._pixels[further], entries, b.add(target, side.shared)

    def prepare(self, step: Value, buffer: Value) -> None:
        self.gather.prepare(step, buffer)

    def load(
        self, piece: int, step: Value, more: SSAValue | None, buffer: Value = 0
    ) -> list[SSAValue]:
        del step
        pixel, entries, _ = self._kept[piece]
        return self.gather.load(pixel, self.b.add(entries, buffer), 0, more)

    def store(
        self, piece: int, loaded: list[SSAValue], buffer: Value, more: SSAValue | None
    ) -> None:
        b = self.b
        target = b.add(self._kept[piece][2], buffer)
        b.store(tile.Space.SHARED, b.insert(packed(loaded, _ORDER)), target, predicate=more)
