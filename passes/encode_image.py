"""Kernels that encode an image for products that form its windows. Not a pass.

In: an f16 image, or what computes its elements, and an `ImageLayout`. Out: a `dstc_tile.kernel`
whose warps each take a word of some neighbouring channels' planes: a lane has a position, which is
worked out once for all of them; ballots give bits and places of the values (`store_words`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.layout import ceil_div
from ..backend.isa.table import RUN_SLOT_BYTES, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..dialects.dstc import EncodeOp, ImageType
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value

WARPS = 4
_ENOUGH = 80 * 16
"""Warps below which each takes fewer channels."""
_MOST = 8
"""Channels of a warp: their loads are under way together."""
MAGNITUDE = 0x7FFF
"""Bits of an f16 but its sign: none is set in a zero."""


@dataclass(frozen=True)
class Spot:
    """Where in the images a lane's position is."""

    image: Value
    channel: Value
    """The first of the warp's."""
    y: Value
    x: Value
    inside: SSAValue


def channels_a_warp(layout: ImageLayout) -> int:
    """Neighbouring channels that a warp takes."""
    count = min(_MOST, layout.shape[1])
    while count > 1 and layout.words // count < _ENOUGH:
        count //= 2
    return count


def encode_image_grid(layout: ImageLayout) -> tuple[int, int, int]:
    """CTAs: x over words and channels, y over phases."""
    groups = ceil_div(layout.shape[1], channels_a_warp(layout))
    return ceil_div(layout.plane_words * groups, WARPS), layout.phase_count, 1


def encode_image_kernel(op: EncodeOp, name: str) -> tile.KernelOp:
    """The kernel of a `dstc.encode` of an image."""
    type_ = op.result.type
    assert isinstance(type_, ImageType)
    source = DeviceTensor.halves(op.input.type, op.name)
    b = KernelBuilder(name, ["x", "y"], encode_image_grid(type_.layout), warps=WARPS)

    def loaded(spot: Spot, count: int) -> list[SSAValue]:
        at = b.mad(spot.image, source.strides[0], b.params["x"])
        for i, index in enumerate((spot.channel, spot.y, spot.x), 1):
            at = b.mad(index, source.strides[i], at)
        return [
            b.load(
                tile.Space.GLOBAL, at, i32, offset=i * source.strides[1], bits=16,
                predicate=spot.inside, hint="x",
            )
            for i in range(count)
        ]  # fmt: skip

    encode_positions(b, type_.layout, b.params["y"], loaded)
    return b.finish()


def encode_positions(
    b: KernelBuilder,
    layout: ImageLayout,
    base: Value,
    elements: Callable[[Spot, int], Sequence[SSAValue]],
) -> None:
    """Encode the words of a warp, on `encode_image_grid`.

    `elements(spot, count)`: of so many channels, f16 in the low half of a word; outside anything.
    """
    count, channels = channels_a_warp(layout), layout.shape[1]
    groups = ceil_div(channels, count)
    item = b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp)
    if layout.plane_words * groups % WARPS:  # warps beyond the last encode it as well
        item = b.min_(item, layout.plane_words * groups - 1)
    group = b.div(item, layout.plane_words)
    word = b.sub(item, b.mul(group, layout.plane_words))
    channel = b.mul(group, count)
    if channels % count:
        channel = b.min_(channel, channels - count)
    phase: Value = b.id(tile.Id.CTA_Y) if layout.phase_count > 1 else 0
    image, y, x, inside = place_of(b, layout, phase, b.mad(word, WORD, b.lane))
    halves = elements(Spot(image, channel, y, x, inside), count)
    plane = b.mad(channel, layout.phase_count, phase)
    store_words(b, layout, base, (plane, word), halves, b.select(inside, MAGNITUDE, 0))


def place_of(
    b: KernelBuilder, layout: ImageLayout, phase: Value, position: Value
) -> tuple[Value, Value, Value, SSAValue]:
    """(image, y, x, whether it is an element) of a position of a phase's planes."""
    images, _, height, width = layout.shape
    which_row: Value = b.div(phase, len(layout.phases[1]))
    which_column: Value = b.rem(phase, len(layout.phases[1]))
    position = b.sub(position, layout.lead)
    line = b.div(position, layout.pitch)
    column = b.sub(position, b.mul(line, layout.pitch))
    image = b.div(line, layout.rows)
    row = b.sub(line, b.mul(image, layout.rows))
    top, left, *_ = layout.pads
    down = b.sub(phase_of(b, which_row, layout.phases[0]), top)
    along = b.sub(phase_of(b, which_column, layout.phases[1]), left)
    y, x = b.mad(row, layout.strides[0], down), b.mad(column, layout.strides[1], along)
    before = None
    if layout.lead:  # what is before the first position has a line of any number
        before = b.compare("sge", b.value(position), 0)
    inside = b.both(before, b.less(y, height), b.less(x, width), b.less(image, images))
    assert inside is not None
    return image, y, x, inside


@dataclass(frozen=True)
class Positions:
    """Pixels of a dense product on windows, counted as the positions of the image it writes."""

    image: ImageLayout

    @property
    def count(self) -> int:
        """Of all phases, padding included."""
        return self.image.phase_count * self.image.plane_words * WORD

    def split(self, b: KernelBuilder, number: Value) -> tuple[Value, Value]:
        """(phase, position) of one, or (phase, word) of a word's number times `WORD`."""
        if self.image.phase_count == 1:
            return 0, number
        size = self.image.plane_words * WORD
        phase = b.div(number, size)
        return phase, b.sub(number, b.mul(phase, size))

    def pixel(self, b: KernelBuilder, number: Value) -> tuple[Value, Value, Value]:
        """(image, row, column) of the result's pixel there; the first one's if there is none."""
        image, y, x, inside = place_of(b, self.image, *self.split(b, number))
        return b.select(inside, image, 0), b.select(inside, y, 0), b.select(inside, x, 0)


def phase_of(b: KernelBuilder, number: Value, phases: Sequence[int]) -> Value:
    """The number-th of the phases."""
    if len(phases) == 1:
        return phases[0]
    if tuple(phases) == tuple(range(len(phases))):
        return number
    found: Value = phases[-1]
    for i in reversed(range(len(phases) - 1)):
        found = b.select(b.compare("eq", number, i), phases[i], found)
    return found


def store_words(
    b: KernelBuilder,
    layout: ImageLayout,
    base: Value,
    place: tuple[Value, Value],
    halves: Sequence[SSAValue],
    mask: Value = MAGNITUDE,
    limit: Value | None = None,
    exists: SSAValue | None = None,
) -> None:
    """Store a word of up to 16 channels' planes: bits, and the values of its ones.

    `place`: (plane of the first channel, word), the same in all lanes of the warp; `halves`: of
    each channel the lane's element, f16 in the low half of a word. `mask`: `MAGNITUDE`, or 0 in
    lanes whose position is no element; `limit`: how many of the channels there are; `exists`:
    whether there is the word.
    """
    plane, word = place
    here = b.mad(plane, layout.plane_words, word)
    slot = b.mad(here, RUN_SLOT_BYTES, b.add(base, layout.values_offset))
    apart = layout.phase_count * layout.plane_words
    below = b.sub(b.shl(b.value(1), b.lane), 1)
    which = b.shr(b.lane, 1)
    bits: Value = 0
    for i, half in enumerate(halves):
        there = None if limit is None else b.compare("sgt", b.value(limit), i)
        nonzero = b.both(b.compare("ne", b.and_(half, mask), 0), there)
        assert nonzero is not None
        ballot = b.insert(tile.BallotOp(nonzero))
        rank = b.insert(tile.PopulationCountOp(b.value(b.and_(ballot, below))))
        b.store(
            tile.Space.GLOBAL, half, b.mad(rank, 2, slot), offset=i * apart * RUN_SLOT_BYTES,
            bits=16, predicate=nonzero,
        )  # fmt: skip
        bits = ballot if i == 0 else b.select(b.compare("eq", which, i), ballot, bits)
    # lane 2i stores the word in its own entry of plane i, lane 2i + 1 in the one before
    odd = b.and_(b.lane, 1)
    some = b.compare("ne", b.or_(word, b.xor(odd, 1)), 0)  # word 0 has no entry before it
    few = b.less(b.lane, 2 * len(halves)) if 2 * len(halves) < WARP_SIZE else None
    if limit is not None:
        few = b.both(few, b.compare("slt", b.value(which), b.value(limit)))
    entry = b.mad(b.mad(which, apart, here), ENTRY_BYTES, base)
    entry = b.sub(entry, b.mul(odd, ENTRY_BYTES // 2))
    b.store(tile.Space.GLOBAL, b.value(bits), entry, predicate=b.both(few, some, exists))
