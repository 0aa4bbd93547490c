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
from .encode_image import Positions
from .kernel_builder import KernelBuilder, Value
from .matmul_staging import CHUNK, AcrossK, Staging, Strip, Turn

_PITCH = STEP_K * 2 + 16
"""Bytes of a pixel's line of 32 k in shared memory: lines fall into different banks, both for lanes
that store 16 bytes and for those that read 8."""
_APART = {1: 0, 2: 64, 4: 32}
"""Bytes between fragments of a group in shared memory, by which the lines of 8 neighbouring
pixels, dealt out to the group's fragments, fall into different banks."""
PIECE = 8
"""k that a lane stores at once: two slices."""
_ORDER = (0, 4, 2, 6)
"""First k of the words of a piece: those that a lane takes for two slices are neighbours."""
_NEVER = 1 << 31
"""A condition that no pixel meets: what a k beyond the end asks for."""
_CONDITIONS = 31
"""Conditions that a pixel's word holds."""
_WORDS = VectorType(i32, [4])
_PAIR = VectorType(i32, [2])
_VECTORS = {2: i32, 4: _PAIR, 8: _WORDS}
"""Elements of an access -> what it loads."""


@dataclass(frozen=True)
class Image:
    """What of an image and its windows the addresses hang on: one group's channels."""

    tensor: DeviceTensor
    window: ConvWindow
    channels: int
    positions: Positions | None = None
    """How pixels are counted, where that is not one after the other."""

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
        if self.positions is not None:
            return self.positions.count
        return self.tensor.shape[0] * self.out[0] * self.out[1]

    @property
    def run(self) -> int:
        """Neighbouring pixels that one aligned access loads; 1 if windows are no runs of pixels."""
        plain = ConvWindow((1, 1), dilations=self.window.dilations)
        if self.window != plain or self.positions is not None:
            return 1
        return gcd(self.out[0] * self.out[1], CHUNK)

    @property
    def ragged(self) -> bool:
        """The last step has k beyond the end."""
        return self.depth % STEP_K != 0


def window_form(image: Image) -> tuple[type[PixelRuns | Windows], str]:
    """How an image is staged, and HMMA's layout of its fragments."""
    return (PixelRuns, "BROW") if image.run > 1 else (Windows, "BCOL")


class PixelRuns(AcrossK):
    """1x1 windows side by side: pixels of a channel are a row, of which 16 bytes are 1 to 4 runs.

    A run is 2, 4 or 8 pixels, the largest by which the pixels of an image divide. `first_step` is
    that of the CTA, `start` the address of its group's first channel.
    """

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
        super().__init__(
            b, image.tensor, strip, warps=warps, origin=origin, lines=image.pixels, start=start,
            first_line=first_line, shared=shared, name="b",
        )  # fmt: skip
        self.image, self.first_step = image, first_step
        self.runs = self._runs(shared)

    def _turns(self, shared: int) -> list[Turn]:
        del shared
        return []

    def _runs(self, shared: int) -> list[_Runs]:
        b, run = self.b, self.image.run
        threads = self.warps * 32
        chunks = self.strip.cta // CHUNK
        count = ceil_div(self.accesses, threads)
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
        turns: list[_Runs] = []
        for turn in range(count):
            inside = None
            if (turn + 1) * threads > self.accesses:
                thread = b.mad(b.warp, 32, b.lane)
                inside = b.less(b.add(thread, turn * threads), self.accesses)
            there = b.add(target if same else self._place(turn, b.warp, b.lane)[2], shared)
            further = turn * rows * self.strip.cta * 2 if same else 0
            turns.append(
                _Runs(sources, turn * rows * plane, there, further, b.add(k, turn * rows), inside)
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

    def load(
        self, step: Value, more: SSAValue | None, buffer: Value, piece: int = 0
    ) -> list[SSAValue]:
        del buffer, piece
        b, run = self.b, self.image.run
        step = b.add(self.first_step, step)
        advance = b.mul(step, STEP_K * self.tensor.strides[1])
        loaded: list[SSAValue] = []
        for turn in self.runs:
            there = None
            if self.image.ragged:
                there = b.less(b.mad(step, STEP_K, turn.k), self.image.depth)
            values = [
                b.load(
                    tile.Space.GLOBAL,
                    b.add(source, advance),
                    _VECTORS[run],
                    offset=turn.offset,
                    predicate=b.both(more, turn.inside, there),
                    zero=there is not None,
                    hint=self.name,
                )
                for source in turn.sources
            ]
            loaded.append(self._joined(values))
        return loaded

    def _joined(self, values: Sequence[SSAValue]) -> SSAValue:
        """Loaded runs as 16 bytes."""
        b, run = self.b, self.image.run
        if run == CHUNK:
            return values[0]
        words = [v if run == 2 else b.extract(v, e) for v in values for e in range(run // 2)]
        return b.insert(tile.CombineOp(*words))

    def store(
        self, loaded: Sequence[SSAValue], buffer: Value, more: SSAValue | None, piece: int = 0
    ) -> None:
        del piece
        b = self.b
        for value, turn in zip(loaded, self.runs, strict=True):
            inside = b.both(more, turn.inside)
            self._put(value, b.add(turn.target, buffer), turn.target_offset, inside)


@dataclass(frozen=True)
class _Runs:
    """Loads of a lane that fill 16 bytes: addresses of the runs, its k, where it takes place."""

    sources: Sequence[Value]
    offset: int
    target: Value
    target_offset: int
    k: Value
    inside: SSAValue | None


@dataclass(frozen=True)
class _Axis:
    """Height (0) or width (1) of the windows: whether its taps are conditions.

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


class Gather:
    """Elements of windows, one by one: where a pixel's are, the table of a step, loads.

    `start`: address of the group's first channel, `first_step`: that of the CTA, `depth`: k of a
    step. The table has a word of offset for each k, and behind them, where elements may be missing,
    a word of the condition under which one is there.
    """

    def __init__(
        self,
        b: KernelBuilder,
        image: Image,
        *,
        warps: int,
        start: Value,
        first_step: Value,
        depth: int,
        table: int,
    ):
        self.b, self.image, self.warps, self.depth, self.table = b, image, warps, depth, table
        self.start, self.first_step = start, first_step
        window, size = image.window, image.window.extent(image.tensor.shape[2:])
        rows = _Axis(window, size[0], 0, 0)
        self.axes = rows, _Axis(window, size[1], 1, rows.conditions)
        if sum(axis.conditions for axis in self.axes) > _CONDITIONS:
            raise DstcError(
                f"a padded kernel of {window.kernel[0]}x{window.kernel[1]} is too large; its "
                f"padded sides may have {_CONDITIONS} rows and columns together"
            )

    @staticmethod
    def table_bytes(depth: int) -> int:
        """Of a step of so many k."""
        return 2 * 4 * depth

    @property
    def ragged(self) -> bool:
        """The last step has k beyond the end."""
        return self.image.depth % self.depth != 0

    @property
    def _conditional(self) -> bool:
        """Whether any element may be missing."""
        return self.ragged or not all(axis.free for axis in self.axes)

    def pixel(self, pixel: Value) -> Pixel:
        """Where the window of a pixel of the result begins."""
        b, image, (rows, columns) = self.b, self.image, self.axes
        strides, (oh, ow) = image.tensor.strides, image.out
        if image.positions is not None:
            number, row, column = image.positions.pixel(b, pixel)
        else:
            number = b.div(pixel, oh * ow)
            within = b.sub(pixel, b.mul(number, oh * ow))
            row = b.div(within, ow)
            column = b.sub(within, b.mul(row, ow))
        address = b.mad(number, strides[0], self.start)
        missing: Value = _NEVER if self.ragged else 0
        for axis, at, stride in ((rows, row, strides[2]), (columns, column, strides[3])):
            first, bits = self._first(axis, at)
            address = b.add(address, b.mul(first, stride))
            missing = bits if missing == 0 else missing if bits == 0 else b.or_(missing, bits)
        return Pixel(address, missing)

    def _first(self, axis: _Axis, at: Value) -> tuple[Value, Value]:
        """(the image's row or column at which a pixel's window begins, bits of taps that miss it).

        Where there is padding, it may begin before the image.
        """
        b, window, i = self.b, axis.window, axis.which
        before = axis.pads[0]
        start = b.sub(b.mul(at, window.strides[i]), before)
        if axis.free:
            return start, 0
        missing: Value = 0
        for tap in range(axis.taps):
            place = b.add(start, tap * window.dilations[i])
            inside = b.less(place, axis.extent)
            if axis.spread > 1:
                whole = b.both(inside, b.compare("eq", b.rem(place, axis.spread), 0))
                assert whole is not None
                inside = whole
            bit = b.select(inside, 0, 1 << (axis.first + tap))
            missing = bit if missing == 0 else b.or_(missing, bit)
        if axis.spread > 1:
            above = ceil_div(before, axis.spread)
            start = b.sub(b.div(b.add(start, above * axis.spread), axis.spread), above)
        return start, missing

    def prepare(self, step: Value, buffer: Value) -> None:
        """Put the table of a step into `buffer`: the first warp does it for all."""
        b = self.b
        if self.warps == 1:
            self._prepare(step, buffer)
        else:
            b.when(b.compare("eq", b.warp, 0), lambda: self._prepare(step, buffer))

    def _prepare(self, step: Value, buffer: Value) -> None:
        b = self.b
        place = b.add(b.mad(b.lane, 4, self.table), buffer)
        for first in range(0, self.depth, 32):
            k = b.mad(b.add(self.first_step, step), self.depth, b.add(b.lane, first))
            offset, need = self._entry(k)
            b.store(tile.Space.SHARED, b.value(offset), place, offset=4 * first)
            if self._conditional:
                there = 4 * (self.depth + first)
                b.store(tile.Space.SHARED, b.value(need), place, offset=there)

    def _entry(self, k: Value) -> tuple[Value, Value]:
        """(byte offset of a k's element from a window's first, the bits it asks for)."""
        b, image = self.b, self.image
        strides, taps, width = image.tensor.strides, image.window.taps, image.window.kernel[1]
        channel = b.div(k, taps)
        tap = b.sub(k, b.mul(channel, taps))
        r = b.div(tap, width)
        s = b.sub(tap, b.mul(r, width))
        offset = b.mul(channel, strides[1])
        need: Value = 0
        for axis, at, stride in zip(self.axes, (r, s), strides[2:], strict=True):
            reach = b.mul(at, image.window.dilations[axis.which])
            if axis.spread > 1:
                reach = b.div(b.add(reach, axis.spread - 1), axis.spread)
            offset = b.mad(reach, stride, offset)
            if not axis.free:
                bit = b.shl(1 << axis.first, at)
                need = bit if need == 0 else b.or_(need, bit)
        if self.ragged:
            inside = b.less(k, image.depth)
            need, offset = b.select(inside, need, _NEVER), b.select(inside, offset, 0)
        return offset, need

    def element(self, pixel: Pixel, k: int) -> SSAValue:
        """Element `k` of a pixel's window as f32, zero where it is missing: without a table."""
        b, tap = self.b, k % self.image.window.taps
        r, s = divmod(tap, self.image.window.kernel[1])
        strides = self.image.tensor.strides
        offset, need = k // self.image.window.taps * strides[1], 0
        for axis, at, stride in zip(self.axes, (r, s), strides[2:], strict=True):
            offset += ceil_div(at * axis.window.dilations[axis.which], axis.spread) * stride
            need |= 0 if axis.free else 1 << (axis.first + at)
        there = b.compare("eq", b.and_(pixel.missing, need), 0) if need else None
        raw = b.load(tile.Space.GLOBAL, pixel.address, i32, offset=offset, bits=16, predicate=there)
        return b.insert(tile.UnpackOp(raw))

    def load(
        self, pixel: Pixel, entries: Value, offset: int, more: SSAValue | None
    ) -> list[SSAValue]:
        """Start loading `PIECE` elements of a pixel, by the table from `entries` + `offset` on."""
        b = self.b
        loaded: list[SSAValue] = []
        for first in range(offset, offset + 4 * PIECE, 16):
            shifts = b.load(tile.Space.SHARED, entries, _WORDS, offset=first)
            needs = None
            if self._conditional:
                needs = b.load(tile.Space.SHARED, entries, _WORDS, offset=first + 4 * self.depth)
            for e in range(4):
                there = None
                if needs is not None:
                    there = b.compare("eq", b.and_(pixel.missing, b.extract(needs, e)), 0)
                loaded.append(
                    b.load(
                        tile.Space.GLOBAL,
                        b.add(pixel.address, b.extract(shifts, e)),
                        i32,
                        bits=16,
                        predicate=b.both(more, there),
                        zero=there is not None,
                        hint="b",
                    )
                )
        return loaded


@dataclass(frozen=True)
class Pixel:
    """A pixel's window: its address, and the conditions that it does not meet."""

    address: Value
    missing: Value


class Windows(Staging):
    """Any windows: a lane gathers the elements of one pixel, 2 bytes each, and packs them.

    In shared memory a pixel is a line of `_PITCH` bytes; of 8 k (two slices) the four words lie as
    `_ORDER` says, so that a lane reads its words of both at once.
    """

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
        self.b, self.strip = b, strip
        self.count = _share(strip, warps)
        self.pieces = self.count // PIECE
        table = shared + strip.cta // 16 * self.fragment_bytes(strip)
        self.gather = Gather(
            b, image, warps=warps, start=start, first_step=first_step, depth=STEP_K, table=table
        )
        thread = b.mad(b.warp, 32, b.lane)
        line, slot = b.rem(thread, strip.cta), b.div(thread, strip.cta)
        pixel = b.add(origin, line)
        if image.pixels < strip.cta:
            pixel = b.min_(pixel, image.pixels - 1)
        self.pixel = self.gather.pixel(pixel)
        self.entries = b.mad(slot, self.count * 4, table)
        self.target = b.mad(slot, self.count * 2, b.add(self._place(line), shared))
        self.start = self._first_word(first_line, shared)
        self._pairs: list[SSAValue] = []

    @classmethod
    def fragment_bytes(cls, strip: Strip) -> int:
        """From a fragment to the next in shared memory."""
        return 16 * _PITCH + _APART[strip.group]

    @classmethod
    def shared_bytes(cls, strip: Strip) -> int:
        return strip.cta // 16 * cls.fragment_bytes(strip) + Gather.table_bytes(STEP_K)

    def _place(self, line: Value) -> Value:
        """Byte offset of a pixel's line: it belongs to the fragment that `Strip.line` says."""
        b, group = self.b, self.strip.group
        block = b.div(line, 16 * group)
        fragment = b.mad(block, group, b.and_(b.shr(line, 1), group - 1))
        pair = b.div(b.rem(line, 16 * group), 2 * group)
        slots = b.mul(b.mad(pair, 2, b.and_(line, 1)), _PITCH)
        return b.mad(fragment, self.fragment_bytes(self.strip), slots)

    def _first_word(self, first_line: Value, shared: int) -> Value:
        """Address in buffer 0 of the lane's first words."""
        b = self.b
        slot = b.mul(b.shr(b.lane, 1), _PITCH)
        first = b.mul(b.div(first_line, 16), self.fragment_bytes(self.strip))
        return b.add(b.add(first, slot), b.add(b.mul(b.and_(b.lane, 1), 8), shared))

    def words(self, index: int, buffer: Value) -> list[SSAValue]:
        b = self.b
        piece, second = divmod(index, 2)
        if not second:
            start, size = b.add(self.start, buffer), self.fragment_bytes(self.strip)
            self._pairs = [
                b.load(tile.Space.SHARED, start, _PAIR, offset=f * size + 2 * PIECE * piece)
                for f in range(self.strip.fragments)
            ]
        return [b.extract(pair, second) for pair in self._pairs]

    def needed(self, piece: int, depth: int) -> bool:
        """Whether some lane's piece is among the first `depth` k."""
        return self.count < STEP_K or piece * PIECE < depth

    def prepare(self, step: Value, buffer: Value) -> None:
        self.gather.prepare(step, buffer)

    def load(
        self, step: Value, more: SSAValue | None, buffer: Value, piece: int = 0
    ) -> list[SSAValue]:
        del step
        entries = self.b.add(self.entries, buffer)
        return self.gather.load(self.pixel, entries, 4 * PIECE * piece, more)

    def store(
        self, loaded: Sequence[SSAValue], buffer: Value, more: SSAValue | None, piece: int = 0
    ) -> None:
        b = self.b
        words = b.insert(packed(loaded, _ORDER))
        target = b.add(self.target, buffer)
        b.store(tile.Space.SHARED, words, target, offset=2 * PIECE * piece, predicate=more)


def packed(loaded: Sequence[SSAValue], order: Sequence[int]) -> tile.HalvesOp:
    """Words of gathered elements: of k and k + 1 for each k of `order`."""
    return tile.HalvesOp([loaded[k] for k in order], [loaded[k + 1] for k in order])


def _share(strip: Strip, warps: int) -> int:
    """k of a step that a lane gathers, consecutive ones; `DstcError` if they are not whole pieces.

    All lanes of a CTA have a pixel of its tile, perhaps the same.
    """
    threads = warps * 32
    count = STEP_K * strip.cta // threads
    if strip.cta > threads or count % PIECE:
        raise DstcError(
            f"a tile of {strip.cta} pixels does not fall evenly to {threads} lanes; use a schedule "
            "with another CTA or warp tile"
        )
    return count
