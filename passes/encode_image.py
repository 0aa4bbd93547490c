"""The kernel that encodes an image for products that form its windows. Not a pass.

In: an f16 image, its `ImageLayout`. Out: a `dstc_tile.kernel` whose warps each take some
neighbouring words of a plane: a lane has a position, ballots give bits and places of the values.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.layout import ceil_div
from ..backend.isa.table import RUN_SLOT_BYTES
from ..dialects import dstc_tile as tile
from ..dialects.dstc import EncodeOp, ImageType
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value

WARPS = 4
_WORDS = 4


def words_a_warp(layout: ImageLayout) -> int:
    """Words of a plane that a warp encodes, all of whose loads are under way together."""
    return min(_WORDS, layout.plane_words)


def encode_image_ctas(layout: ImageLayout) -> int:
    """CTAs of the kernel."""
    of_plane = ceil_div(layout.plane_words, words_a_warp(layout))
    return ceil_div(layout.words // layout.plane_words * of_plane, WARPS)


def phase_of(b: KernelBuilder, number: Value, phases: Sequence[int]) -> Value:
    """The number-th of the phases."""
    if tuple(phases) == tuple(range(len(phases))):
        return number
    found: Value = phases[-1]
    for i in reversed(range(len(phases) - 1)):
        found = b.select(b.compare("eq", number, i), phases[i], found)
    return found


def encode_image_kernel(op: EncodeOp, name: str) -> tile.KernelOp:
    """The kernel of a `dstc.encode` of an image."""
    type_ = op.result.type
    assert isinstance(type_, ImageType)
    layout, source = type_.layout, DeviceTensor.halves(op.input.type, op.name)
    b = KernelBuilder(name, ["x", "y"], (encode_image_ctas(layout), 1, 1), warps=WARPS)
    words = words_a_warp(layout)
    group, of_plane = b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp), ceil_div(layout.plane_words, words)
    planes = layout.words // layout.plane_words
    if planes * of_plane % WARPS:  # warps beyond the last encode it as well
        group = b.min_(group, planes * of_plane - 1)
    plane = b.div(group, of_plane)
    first = b.mul(b.sub(group, b.mul(plane, of_plane)), words, "word")
    loaded = _Positions(b, layout, source, plane).load(first, words)
    here = b.mad(plane, layout.plane_words, first)
    slot = b.mad(here, RUN_SLOT_BYTES, b.add(b.params["y"], layout.values_offset))
    below = b.sub(b.shl(b.value(1), b.lane), 1)
    which = b.shr(b.lane, 1)
    word: Value = 0
    for i, value in enumerate(loaded):
        nonzero = b.compare("ne", b.and_(value, 0x7FFF), 0)
        ballot = b.insert(tile.BallotOp(nonzero))
        rank = b.insert(tile.PopulationCountOp(b.value(b.and_(ballot, below))))
        b.store(
            tile.Space.GLOBAL, value, b.mad(rank, 2, slot), offset=i * RUN_SLOT_BYTES, bits=16,
            predicate=nonzero,
        )  # fmt: skip
        word = ballot if i == 0 else b.select(b.compare("eq", which, i), ballot, word)
    # lane 2i stores word i in its own entry, lane 2i + 1 in the one before
    number = b.add(first, which)
    exists = b.both(b.less(b.lane, 2 * words), b.less(number, layout.plane_words))
    # word 0 has no entry before it
    some = b.compare("ne", b.or_(number, b.xor(b.and_(b.lane, 1), 1)), 0)
    place = b.mad(b.mad(plane, layout.plane_words, number), ENTRY_BYTES, b.params["y"])
    place = b.sub(place, b.mul(b.and_(b.lane, 1), ENTRY_BYTES // 2))
    b.store(tile.Space.GLOBAL, b.value(word), place, predicate=b.both(exists, some))
    return b.finish()


class _Positions:
    """Where the elements of a plane's positions are."""

    def __init__(self, b: KernelBuilder, layout: ImageLayout, source: DeviceTensor, plane: Value):
        self.b, self.layout, self.strides = b, layout, source.strides
        _, channels, *_ = layout.shape
        rows, columns = layout.phases
        channel = b.div(plane, layout.phase_count)
        phase = b.rem(plane, layout.phase_count)
        image = b.div(channel, channels)
        start = b.mad(image, self.strides[0], b.params["x"])
        self.start = b.mad(b.rem(channel, channels), self.strides[1], start)
        top, left, *_ = layout.pads
        self.down = b.sub(phase_of(b, b.div(phase, len(columns)), rows), top)
        self.along = b.sub(phase_of(b, b.rem(phase, len(columns)), columns), left)

    def load(self, first: Value, words: int) -> list[SSAValue]:
        """The elements at the positions of a warp's words, one a lane; 0 where there is none."""
        b, layout = self.b, self.layout
        _, _, height, width = layout.shape
        ragged = layout.plane_words % words != 0
        loaded: list[SSAValue] = []
        for i in range(words):
            position = b.mad(first, WORD, b.add(b.lane, i * WORD))
            row = b.div(position, layout.pitch)
            column = b.sub(position, b.mul(row, layout.pitch))
            y = b.mad(row, layout.strides[0], self.down)
            x = b.mad(column, layout.strides[1], self.along)
            inside = b.both(
                b.less(y, height),
                b.less(x, width),
                b.less(position, layout.plane_words * WORD) if ragged else None,
            )
            address = b.mad(y, self.strides[2], b.mad(x, self.strides[3], self.start))
            loaded.append(
                b.load(tile.Space.GLOBAL, address, i32, bits=16, predicate=inside, hint="x")
            )
        return loaded
