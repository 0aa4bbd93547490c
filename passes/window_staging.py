"""Windows of an image on their way to the tensor core: the pixel side of a convolution. Not a pass.

In: an image N x C x H x W, a window, how a tile of pixels falls to warps and fragments. Out: what
`matmul_staging` gives for a matrix: loads, stores to shared memory, HMMA's words. A line is a
pixel of the result, k runs by (channel, kernel row, kernel column); no lowered matrix is formed.

Where a window is one element and pixels lie side by side (`PixelRuns`), several are loaded at once.
Otherwise (`Windows`) a lane has a pixel: 32 neighbours read 32 neighbours. Where a k lies relative
to the first one of a window is the same for all pixels: 32 lanes work out the 32 k of a step, one
step ahead, and put them into a table in shared memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import STEP_K, ceil_div
from ..dialects import dstc_tile as tile
from ..dialects.conv_window import ConvWindow
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .matmul_staging import CHUNK, PITCH, AcrossK, AlongK, Staging, Strip

_SPREAD = {1: 0, 2: 64, 4: 32}
"""Bytes between fragments of a group in shared memory, by which the lines of 16 neighbouring
pixels, dealt out to the group's fragments, fall into different banks."""
_TABLE_BYTES = 2 * STEP_K * 4
"""Of a step: a word of offset and a word of condition for each k."""
_NEVER = 1 << 31
"""A condition that no pixel meets: k beyond the end."""
_CONDITIONS = 31
"""Conditions that a pixel's word holds."""
_WORDS = VectorType(i32, [4])
_VECTORS = {2: i32, 4: VectorType(i32, [2]), 8: _WORDS}
"""Elements of an access -> what it loads."""


@dataclass(frozen=True)
class Image:
    """What of an image and its windows the addresses hang on: one group's channels."""

    tensor: DeviceTensor
    window: ConvWindow
    channels: int

    @property
    def depth(self) -> int:
        """K of a group."""
        return self.channels * self.window.taps

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.window.output(self.tensor.shape[2:])

    @property
    def pixels(self) -> int:
        """Lines: pixels of all images."""
        return self.tensor.shape[0] * self.out[0] * self.out[1]

    @property
    def run(self) -> int:
        """Neighbouring pixels that one aligned access loads; 1 if windows are no runs of pixels."""
        plain = ConvWindow((1, 1), dilations=self.window.dilations)
        if self.window != plain:
            return 1
        return gcd(self.out[0] * self.out[1], CHUNK)


def window_form(image: Image) -> tuple[type[PixelRuns | Windows], str]:
    """How an image is staged, and HMMA's layout of its fragments."""
    return (PixelRuns, "BROW") if image.run > 1 else (Windows, "BCOL")


class _OfImage(Staging):
    """What both forms share: the image, and places counted in steps."""

    def __init__(
        self,
        b: KernelBuilder,
        image: Image,
        strip: Strip,
        *,
        warps: int,
        origin: Value,
        start: Value,
        first_step: Value,
        first_line: Value,
        shared: int,
    ):
        self.image, self.first_step = image, first_step
        super().__init__(
            b, image.tensor, strip, warps=warps, origin=origin, lines=image.pixels, start=start,
            first_line=first_line, shared=shared, name="b",
        )  # fmt: skip

    def _ends(self) -> bool:
        """Whether the last step has k beyond the end."""
        return self.image.depth % STEP_K != 0

    def _pixel(self, pixel: Value) -> tuple[Value, Value, Value]:
        """(image, row, column) of a pixel of the result."""
        b, (oh, ow) = self.b, self.image.out
        number = b.div(pixel, oh * ow)
        within = b.sub(pixel, b.mul(number, oh * ow))
        row = b.div(within, ow)
        return number, row, b.sub(within, b.mul(row, ow))


class PixelRuns(_OfImage, AcrossK):
    """1x1 windows side by side: pixels of a channel are a row, of which 16 bytes are 1 to 4 runs.

    A run is 2, 4 or 8 pixels, the largest by which the pixels of an image divide.
    """

    def _turns(self, shared: int) -> list[_RunTurn]:  # type: ignore[override]
        b, run = self.b, self.image.run
        threads = self.warps * 32
        chunks = self.strip.cta // CHUNK
        count = ceil_div(self.accesses, threads)
        assert threads % chunks == 0
        plane, pixels = self.tensor.strides[1], self.image.out[0] * self.image.out[1]
        line, k, target = self._place(0, b.warp, b.lane)
        sources: list[Value] = []
        for piece in range(0, CHUNK, run):
            pixel = b.add(self.origin, b.add(line, piece))
            if self.lines < self.strip.cta:
                pixel = b.min_(pixel, self.lines - run)
            number = b.div(pixel, pixels)
            within = b.sub(pixel, b.mul(number, pixels))
            source = b.mad(number, self.tensor.strides[0], b.mad(k, plane, b.mul(within, 2)))
            sources.append(b.add(self.start, source))
        rows = threads // chunks
        same = self._same_target(count)
        turns: list[_RunTurn] = []
        for turn in range(count):
            inside = None
            if (turn + 1) * threads > self.accesses:
                thread = b.mad(b.warp, 32, b.lane)
                inside = b.less(b.add(thread, turn * threads), self.accesses)
            there = b.add(target if same else self._place(turn, b.warp, b.lane)[2], shared)
            further = turn * rows * self.strip.cta * 2 if same else 0
            turns.append(
                _RunTurn(sources, turn * rows * plane, there, further, b.add(k, turn * rows), inside)
            )
        return turns

    def _same_target(self, count: int) -> bool:
        """Whether turns store as far from each other in all lanes: as many rows."""
        step = self.warps * 32 * CHUNK * 2
        places = [
            (self._place(turn, warp, lane)[2], turn * step, self._place(0, warp, lane)[2])
            for turn in range(1, count)
            for warp in range(self.warps)
            for lane in range(32)
        ]
        return all(there == self.b.add(here, further) for there, further, here in places)

    def load(self, step: Value, more: SSAValue | None, buffer: Value) -> list[SSAValue]:
        del buffer
        b, run = self.b, self.image.run
        step = b.add(self.first_step, step)
        advance = b.mul(step, STEP_K * self.tensor.strides[1])
        loaded: list[SSAValue] = []
        for turn in self.turns:
            assert isinstance(turn, _RunTurn)
            there = None
            if self._ends():
                there = b.less(b.mad(step, STEP_K, turn.k), self.image.depth)
            words: list[SSAValue] = []
            for source in turn.sources:
                value = b.load(
                    tile.Space.GLOBAL,
                    b.add(source, advance),
                    _VECTORS[run],
                    offset=turn.offset,
                    predicate=b.both(more, turn.inside, there),
                    zero=there is not None,
                    hint=self.name,
                )
                words += [value] if run == 2 else [b.extract(value, e) for e in range(run // 2)]
            loaded.append(value if run == CHUNK else b.insert(tile.CombineOp(*words)))
        return loaded

    def store(self, loaded: Sequence[SSAValue], buffer: Value, more: SSAValue | None) -> None:
        b = self.b
        for value, turn in zip(loaded, self.turns, strict=True):
            assert isinstance(turn, _RunTurn)
            inside = b.both(more, turn.inside)
            self._put(value, b.add(turn.target, buffer), turn.target_offset, inside)


@dataclass(frozen=True)
class _RunTurn:
    """Loads of a lane that fill 16 bytes: addresses of the runs, its k, where it takes place."""

    sources: Sequence[Value]
    offset: int
    target: Value
    target_offset: int
    k: Value
    inside: SSAValue | None


@dataclass(frozen=True)
class _Axis:
    """Height (0) or width (1) of the windows: which conditions its taps have.

    On an image that is spread out a window begins at an element, rounded down. A tap falls on
    elements only for pixels whose rounding is alike: its distance is the same for all of them.
    """

    window: ConvWindow
    extent: int
    which: int
    first: int
    """Bit of its first condition in a pixel's word."""

    @property
    def taps(self) -> int:
        return self.window.kernel[self.which]

    @property
    def spread(self) -> int:
        return self.window.spread[self.which]

    @property
    def pads(self) -> tuple[int, int]:
        return self.window.pads[self.which], self.window.pads[2 + self.which]

    @property
    def free(self) -> bool:
        """Every tap of every pixel is an element of the image."""
        return self.pads == (0, 0) and self.spread == 1

    @property
    def conditions(self) -> int:
        """Bits that it has in a pixel's word."""
        return 0 if self.free else self.taps

class Windows(_OfImage, AlongK):
    """Any windows: a lane gathers the elements of one pixel, 2 bytes each, and packs them.

    In shared memory as `AlongK`; a group's fragments lie `_SPREAD` bytes further apart.
    """

    def __init__(self, b: KernelBuilder, image: Image, strip: Strip, *, warps: int, **places: Value):
        threads = warps * 32
        if strip.cta > threads or (STEP_K * strip.cta // threads) % 4:
            raise DstcError(
                f"a tile of {strip.cta} pixels does not fall evenly to {threads} lanes; use a "
                "schedule with another CTA or warp tile"
            )
        self.count = STEP_K * strip.cta // threads
        """k of a lane in a step: consecutive ones."""
        window, size = image.window, image.window.extent(image.tensor.shape[2:])
        rows = _Axis(window, size[0], 0, 0)
        self.axes = rows, _Axis(window, size[1], 1, rows.conditions)
        if sum(axis.conditions for axis in self.axes) > _CONDITIONS:
            raise DstcError(
                f"a padded kernel of {window.kernel[0]}x{window.kernel[1]} is too large; its "
                f"padded sides may have {_CONDITIONS} rows and columns together"
            )
        super().__init__(b, image, strip, warps=warps, **places)  # type: ignore[arg-type]

    @classmethod
    def fragment_bytes(cls, strip: Strip) -> int:
        """From a fragment to the next in shared memory."""
        return 16 * PITCH + _SPREAD[strip.group]

    @classmethod
    def shared_bytes(cls, strip: Strip) -> int:
        return strip.cta // 16 * cls.fragment_bytes(strip) + _TABLE_BYTES

    @property
    def _conditional(self) -> bool:
        """Whether any element may be missing."""
        return self._ends() or not all(axis.free for axis in self.axes)

    def _turns(self, shared: int) -> list[_Lane]:  # type: ignore[override]
        b, strip, (rows, columns) = self.b, self.strip, self.axes
        strides = self.tensor.strides
        thread = b.mad(b.warp, 32, b.lane)
        line, slot = b.rem(thread, strip.cta), b.div(thread, strip.cta)
        pixel = b.add(self.origin, line)
        if self.lines < strip.cta:
            pixel = b.min_(pixel, self.lines - 1)
        number, row, column = self._pixel(pixel)
        address = b.mad(number, strides[0], self.start)
        has: Value = 0
        for axis, at, stride in ((rows, row, strides[2]), (columns, column, strides[3])):
            start, bits = self._start(axis, at)
            address = b.add(address, b.mul(start, stride))
            has = bits if has == 0 else b.or_(has, bits)
        group = strip.group
        block = b.div(line, 16 * group)
        fragment = b.mad(block, group, b.and_(b.shr(line, 1), group - 1))
        pair = b.div(b.rem(line, 16 * group), 2 * group)
        within = b.mul(b.mad(pair, 2, b.and_(line, 1)), PITCH)
        target = b.add(b.mad(fragment, self.fragment_bytes(strip), within), shared)
        target = b.mad(slot, self.count * 2, target)
        table = shared + strip.cta // 16 * self.fragment_bytes(strip)
        return [_Lane(address, has, target, b.mad(slot, self.count * 4, table), table)]

    def _start(self, axis: _Axis, at: Value) -> tuple[Value, Value]:
        """(the image's row or column at which a pixel's window begins, bits of its taps).

        Both count from before the image where there is padding.
        """
        b, window, i = self.b, axis.window, axis.which
        before = axis.pads[0]
        start = b.sub(b.mul(at, window.strides[i]), before)
        if axis.free:
            return start, 0
        has: Value = 0
        for tap in range(axis.taps):
            place = b.add(start, tap * window.dilations[i])
            inside = b.less(place, axis.extent)
            if axis.spread > 1:
                inside = b.both(inside, b.compare("eq", b.rem(place, axis.spread), 0))
                assert inside is not None
            bit = b.select(inside, 1 << (axis.first + tap), 0)
            has = bit if has == 0 else b.or_(has, bit)
        if axis.spread > 1:
            above = ceil_div(before, axis.spread)
            start = b.sub(b.div(b.add(start, above * axis.spread), axis.spread), above)
        return start, has

    def _starts(self, first_line: Value, shared: int) -> list[Value]:
        b = self.b
        slot = b.mul(b.shr(b.lane, 1), PITCH)
        first = b.mul(b.div(first_line, 16), self.fragment_bytes(self.strip))
        return [b.add(b.add(first, slot), b.add(b.mul(b.and_(b.lane, 1), 4), shared))]

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b, start = self.b, self.b.add(self.starts[0], buffer)
        size = self.fragment_bytes(self.strip)
        return [
            b.load(tile.Space.SHARED, start, i32, offset=f * size + 8 * index)
            for f in range(self.strip.fragments)
        ]

    def prepare(self, step: Value, buffer: Value) -> None:
        """Put the table of a step into `buffer`: by the lanes of the first warp."""
        b, image, (rows, columns) = self.b, self.image, self.axes
        (lane,) = self.turns
        assert isinstance(lane, _Lane)
        strides, taps, width = self.tensor.strides, image.window.taps, image.window.kernel[1]
        k = b.mad(b.add(self.first_step, step), STEP_K, b.lane)
        channel = b.div(k, taps)
        tap = b.sub(k, b.mul(channel, taps))
        r = b.div(tap, width)
        s = b.sub(tap, b.mul(r, width))
        offset = b.mul(channel, strides[1])
        need: Value = 0
        for axis, at, stride in ((rows, r, strides[2]), (columns, s, strides[3])):
            reach = b.mul(at, image.window.dilations[axis.which])
            if axis.spread > 1:
                reach = b.div(b.add(reach, axis.spread - 1), axis.spread)
            offset = b.mad(reach, stride, offset)
            if not axis.free:
                bit = b.shl(1 << axis.first, at)
                need = bit if need == 0 else b.or_(need, bit)
        if self._ends():
            inside = b.less(k, image.depth)
            need, offset = b.select(inside, need, _NEVER), b.select(inside, offset, 0)
        place = b.add(b.mad(b.lane, 4, lane.table), buffer)
        mine = b.compare("eq", b.warp, 0) if self.warps > 1 else None
        b.store(tile.Space.SHARED, b.value(offset), place, predicate=mine)
        if self._conditional:
            there = STEP_K * 4
            b.store(tile.Space.SHARED, b.value(need), place, offset=there, predicate=mine)

    def load(self, step: Value, more: SSAValue | None, buffer: Value) -> list[SSAValue]:
        """Start loading a step's elements, by the table in `buffer`."""
        del step
        b = self.b
        (lane,) = self.turns
        assert isinstance(lane, _Lane)
        table = b.add(lane.entries, buffer)
        loaded: list[SSAValue] = []
        for first in range(0, self.count, 4):
            shifts = b.load(tile.Space.SHARED, table, _WORDS, offset=4 * first)
            needs = None
            if self._conditional:
                needs = b.load(tile.Space.SHARED, table, _WORDS, offset=4 * (first + STEP_K))
            for e in range(4):
                there = None
                if needs is not None:
                    need = b.extract(needs, e)
                    there = b.compare("eq", b.and_(lane.has, need), need)
                loaded.append(
                    b.load(
                        tile.Space.GLOBAL,
                        b.add(lane.address, b.extract(shifts, e)),
                        i32,
                        bits=16,
                        predicate=b.both(more, there),
                        zero=there is not None,
                        hint=self.name,
                    )
                )
        return loaded

    def store(self, loaded: Sequence[SSAValue], buffer: Value, more: SSAValue | None) -> None:
        b = self.b
        (lane,) = self.turns
        assert isinstance(lane, _Lane)
        target = b.add(lane.target, buffer)
        for first in range(0, self.count, 4):
            low, high = (
                b.value(b.mad(loaded[at + 1], 1 << 16, loaded[at])) for at in (first, first + 2)
            )
            pair = b.insert(tile.CombineOp(low, high))
            b.store(tile.Space.SHARED, pair, target, offset=2 * first, predicate=more)


@dataclass(frozen=True)
class _Lane:
    """What a lane gathers: its pixel's address and conditions, places in shared memory."""

    address: Value
    has: Value
    target: Value
    entries: Value
    """The lane's first entry in the table,"""
    table: int
    """and where that begins."""
