"""Products that write their result as the encoded image of the next one. Not a pass.

In: a product on windows whose result is a `!dstc.image`, a warp's or a CTA's accumulators. Out: the
epilogue's arithmetic, and whole words of the image's planes (`store_words`). The dual-side kernel's
vectors of pixels are words if its own image has the same pitch and rows; the dense one counts its
pixels as positions of the image that it writes (`Positions`), and turns its tile in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.layout import ceil_div
from ..backend.isa.table import TILE_M, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, Engine, ImageType, MatmulOp, ScheduleAttr
from .cost_windows import Windows, direct
from .device_tensor import MOST_WORDS
from .encode_image import MAGNITUDE, Positions, place_of, store_words
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_store import PART, PARTS, blocks_of, read_part
from .matmul_epilogue import Epilogue, Unit, run_ahead
from .matmul_staging import Strip

_AHEAD = 2
"""Units whose loads are under way while one is stored."""
_ROWS = 8
"""Rows whose words a warp of the dense kernel stores together."""


def writes_image(op: MatmulOp, schedule: ScheduleAttr, image: ImageLayout) -> bool:
    """Whether the schedule's kernel can write the result of a product on windows as `image`.

    The dense one must have whole words in its tile; what it adds to the product it adds before
    it turns the tile. Depthwise ones have a kernel of their own.
    """
    if op.window is None or op.image is None:
        return False
    if schedule.engine.data == Engine.DUAL:
        if isinstance(op.rhs.type, BitmapType):  # a lowered matrix
            return False
        own = Windows.of(op)
        return own is not None and own.window.taps > 1 and aligned(own.encoded, image)
    m, _, k = op.sizes
    return (
        schedule.engine.data == Engine.DENSE
        and schedule.cta_tile[1] % WORD == 0
        and schedule.parts == 1
        and op.residual is None
        and not direct(m, k, op.window.window.taps, op.group_count)
    )


def aligned(own: ImageLayout, image: ImageLayout) -> bool:
    """Whether vectors of pixels of windows on `own` are words of the result as `image`."""
    same = (own.rows, own.pitch) == (image.rows, image.pitch)
    return same and image.strides == (1, 1)


def result_image(op: MatmulOp) -> ImageLayout | None:
    """Of an encoded result."""
    return op.result.type.layout if isinstance(op.result.type, ImageType) else None


# The dual-side kernel


def encode_vectors(
    b: KernelBuilder,
    epilogue: Epilogue,
    schedule: ScheduleAttr,
    origin: tuple[Value, Value],
    sums: Sequence[SSAValue] | None = None,
    halfway: Callable[[], None] | None = None,
) -> None:
    """As `store_tiles`, for an encoded image."""
    image, own = result_image(epilogue.op), epilogue.encoded_image
    assert image is not None and own is not None
    m, n, _ = epilogue.op.sizes
    blocks = blocks_of(schedule)
    columns = [epilogue.column(b.add(origin[1], b.add(b.lane, j * WORD))) for j in range(blocks[1])]
    masks = [b.select(b.less(column, n), MAGNITUDE, 0) for column in columns]
    first = b.add(b.div(origin[1], WORD), image.first_word)
    ragged = m % schedule.cta_tile[0] != 0

    def load(i: int, part: int, j: int) -> list[SSAValue | None]:
        row = b.add(origin[0], i * TILE_M + part * PART)
        rows = [b.add(row, r) for r in range(PART)]
        biases: list[SSAValue | None] = [None] * PART
        if epilogue.op.bias is not None:
            biases = [*epilogue.bias_run(row, PART)]
        return biases + [v for r in rows for v in epilogue.residuals(r, columns[j])]

    def store(i: int, part: int, j: int, loaded: Sequence[SSAValue | None]) -> None:
        t = schedule.accumulator_tile(i, j)
        row = b.add(origin[0], i * TILE_M + part * PART)
        values = read_part(b, t, part, sums, transposed=schedule.swapped)
        finished = [
            epilogue.finish(value, bias, residual)
            for value, bias, residual in zip(values, loaded[:PART], loaded[PART:], strict=True)
        ]
        word = b.add(first, j)
        exists = b.less(word, image.plane_words)
        _put(b, image, (row, m) if ragged else (row, None), word, finished, masks[j], exists)

    units = [
        Unit(partial(load, i, part, j), partial(store, i, part, j))
        for j in range(blocks[1])
        for i in range(blocks[0])
        for part in range(PARTS)
    ]
    half = len(units) // 2
    run_ahead(units[:half], _AHEAD)
    if halfway is not None:
        halfway()
    run_ahead(units[half:], _AHEAD)
    covered = ceil_div(own.computed, schedule.cta_tile[1]) * schedule.cta_tile[1] // WORD
    _clear_others(b, image, (origin[0], schedule.warp_tile[0], m), origin[1], covered)


def _put(
    b: KernelBuilder, image: ImageLayout, rows: tuple[Value, int | None], word: Value,
    values: Sequence[SSAValue], mask: Value, exists: SSAValue | None,
) -> None:  # fmt: skip
    """Store a word of neighbouring rows' f32 values; `rows`: the first, and how many there are."""
    row, limit = rows
    halves = [b.insert(tile.PackOp(value, b.float(0.0))) for value in values]
    left = None if limit is None else b.sub(limit, row)
    store_words(b, image, b.params["c"], (row, word), halves, mask, left, exists)


def _clear_others(
    b: KernelBuilder, image: ImageLayout, rows: tuple[Value, int, int], column: Value, covered: int
) -> None:
    """Of a warp's planes, the words that no vector of pixels is: before the first one and behind
    the last. Warps of the first columns do it; `rows`: the first one, how many, how many exist."""
    before = image.first_word
    behind = max(0, image.plane_words - before - covered)
    words = before + behind
    if not words:
        return
    row0, count, limit = rows

    def clear(number: Value) -> None:
        row = b.div(number, words)
        word = b.sub(number, b.mul(row, words))
        word = b.add(word, b.select(b.less(word, before), 0, covered)) if behind else word
        row = b.add(row, row0)
        exists = b.both(
            b.less(row, limit), b.less(number, count * words) if count * words % WARP_SIZE else None
        )
        some = b.both(exists, b.compare("ne", word, 0))
        entry = b.mad(b.mad(row, image.plane_words, word), ENTRY_BYTES, b.params["c"])
        zero = b.value(0)
        b.store(tile.Space.GLOBAL, zero, entry, predicate=exists)
        b.store(tile.Space.GLOBAL, zero, entry, offset=-ENTRY_BYTES // 2, predicate=some)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        del carried
        clear(b.add(counter, b.lane))
        return []

    def all_rows() -> None:
        b.loop(0, count * words, WARP_SIZE, [], body)

    b.when(b.compare("eq", column, 0), all_rows)


# The dense kernel


def turned_bytes(cta_tile: tuple[int, int]) -> int:
    """Shared memory in which a dense kernel's tile is turned."""
    return cta_tile[0] * _pitch(cta_tile[1])


def _pitch(columns: int) -> int:
    """Bytes of a row in shared memory: rows begin in other banks."""
    return 2 * columns + 16


@dataclass(frozen=True)
class EncodedResult:
    """Where a warp's accumulators of the dense kernel go: into words of the image, by rows.

    `strips`, `warps_at` and `origins` as of `matmul_dense.Result`.
    """

    b: KernelBuilder
    epilogue: Epilogue
    strips: tuple[Strip, Strip]
    origins: tuple[Value, Value]
    warps_at: tuple[Value, Value]
    positions: Positions
    warps: int

    def store(self, accs: Sequence[SSAValue]) -> None:
        """Epilogue, the CTA's tile into shared memory, and encoded out of it."""
        self._lay_down(accs)
        self.b.barrier()
        self._encode()

    def _lay_down(self, accs: Sequence[SSAValue]) -> None:
        b, epilogue, (rows, columns) = self.b, self.epilogue, self.strips
        lane_row, lane_pair = b.shr(b.lane, 3), b.and_(b.lane, 3)
        lane_odd, width = b.and_(b.shr(b.lane, 2), 1), 2 * columns.group
        places = [
            (block, half, columns.line(b, block, b.add(lane_pair, 4 * half), 0))
            for block in range(0, columns.fragments, columns.group)
            for half in range(2)
        ]
        for i in range(rows.fragments):
            for upper in range(2):
                row = rows.line(b, i, b.add(lane_row, 4 * upper), lane_odd)
                row = b.add(row, self.warps_at[0])
                bias = epilogue.bias(b.add(row, self.origins[0]), 0)
                for block, half, column in places:
                    values: list[SSAValue] = []
                    for e in range(width):
                        fragment, odd = divmod(e, 2)
                        acc = accs[i * columns.fragments + block + fragment]
                        value = b.extract(acc, 4 * upper + 2 * half + odd)
                        values.append(epilogue.finish(value, bias))
                    at = b.mul(b.add(column, self.warps_at[1]), 2)
                    at = b.mad(row, _pitch(columns.cta), at)
                    words = epilogue.packed(values)
                    for first in range(0, len(words), MOST_WORDS):
                        part = words[first : first + MOST_WORDS]
                        value = part[0] if len(part) == 1 else b.insert(tile.CombineOp(*part))
                        b.store(tile.Space.SHARED, value, at, offset=4 * first)

    def _encode(self) -> None:
        b, image, (rows, columns) = self.b, self.positions.image, self.strips
        across = columns.cta // WORD
        items = across * rows.cta // _ROWS
        for turn in range(ceil_div(items, self.warps)):
            item = b.add(b.warp, turn * self.warps)
            if (turn + 1) * self.warps > items:
                b.when(b.less(item, items), partial(self._words, image, across, item))
            else:
                self._words(image, across, item)

    def _words(self, image: ImageLayout, across: int, item: Value) -> None:
        """A word of `_ROWS` rows."""
        b, (rows, columns) = self.b, self.strips
        m = self.epilogue.op.sizes[0]
        down = b.div(item, across)
        place, row = b.sub(item, b.mul(down, across)), b.mul(down, _ROWS)
        at = b.mad(row, _pitch(columns.cta), b.mul(b.mad(place, WORD, b.lane), 2))
        number = b.mad(place, WORD, self.origins[1])
        phase, first = self.positions.split(b, number)
        *_, inside = place_of(b, image, phase, b.add(first, b.lane))
        # of tiles larger than the result, words of no phase, and rows that there are not
        exists = b.less(number, self.positions.count)
        row = b.add(row, self.origins[0])
        here = b.both(inside, exists)
        assert here is not None
        halves = [
            b.load(tile.Space.SHARED, at, i32, offset=r * _pitch(columns.cta), bits=16, hint="x")
            for r in range(_ROWS)
        ]
        left = b.sub(m, row) if m % rows.cta else None
        mask = b.select(here, MAGNITUDE, 0)
        channel = b.add(row, self.epilogue.first_row)
        plane = b.mad(channel, image.phase_count, phase)
        word = b.div(first, WORD)
        store_words(b, image, b.params["c"], (plane, word), halves, mask, left, exists)
