"""Warp-wide operations of `dstc_tile`: exchange of lanes, dense and dual-side tensor steps.

In: arrays of lanes (see `simt`), the layouts of `backend.isa.layout`. Out: `WARP`, handlers by
operation. Sums are rank-1 updates in f32 with ascending k, as the tensor core's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation

from ...backend.isa.layout import (
    HEADER_SHIFT,
    hmma_a_position,
    hmma_b_position,
    hmma_d_position,
    nm_dense_position,
    nm_index_position,
    nm_value_position,
    value_position,
)
from ...backend.isa.table import (
    NM_SHAPES,
    NM_VALUES,
    REGISTER_VALUES,
    RUN_SLOT_BYTES,
    TILE_K,
    TILE_M,
    WARP_SIZE,
)
from ..dstc_tile import (
    AccClearOp,
    AccReadOp,
    BallotOp,
    BarrierOp,
    FenceOp,
    HmmaOp,
    HmmaSpOp,
    HmmaStepOp,
    Lanes,
    LoadRunsOp,
    LoadValuesOp,
    ShuffleOp,
    SpwmmaOp,
    word_count,
)
from .simt import Handler, Simt
from .simt_memory import Array

Index = NDArray[np.int64]
_LANE_VALUES = 8
"""Values of one 16-byte access."""
_CHUNK = 64
"""Warps whose rank-1 updates run together: their sums stay in the cache."""
_U16 = np.dtype(np.uint16)
_UNDEFINED = 0x7E00
"""f16 NaN: what `load_values` leaves beyond its count."""


@cache
def hmma_index(operand: str, layout: str, registers: int = 4) -> Index:
    """Position in a warp's 32 x `registers` words, as halves, of A[row, k] or B[k, column].

    A is 16 x depth and B depth x 16, where depth = 4 * registers.
    """
    depth = 4 * registers
    index = np.empty((16, depth) if operand == "a" else (depth, 16), np.int64)
    for i in range(16):
        for k in range(depth):
            register, within = divmod(k, 4)
            if operand == "a":
                lane, half = hmma_a_position(layout, i, within)
                index[i, k] = (lane * registers + register) * 2 + half
            else:
                lane, half = hmma_b_position(layout, within, i)
                index[k, i] = (lane * registers + register) * 2 + half
    return index


@cache
def accumulator_index() -> Index:
    """Position in a warp's 32 x 8 registers of C[row, column]: (16, 16)."""
    index = np.empty((16, 16), np.int64)
    for row in range(16):
        for column in range(16):
            step = 2 * (row // 8) + column // 8
            lane, register = hmma_d_position(step, row % 8, column % 8)
            index[row, column] = lane * 8 + 2 * step + register
    return index


@cache
def value_index(registers: int) -> Index:
    """Position in a warp's 32 x `registers` words, as halves, of each condensed value."""
    places = [value_position(i) for i in range(registers * REGISTER_VALUES)]
    return np.array([(lane * registers + r) * 2 + half for r, lane, half in places])


def _flat(value: Array, dtype: Any) -> Array:
    """A warp's registers in one axis: (CTAs, warps, 32, n) words to (CTAs, warps, 32 * n)."""
    whole = np.broadcast_to(value, (*value.shape[:2], WARP_SIZE, value.shape[-1]))
    return np.ascontiguousarray(whole).reshape(*value.shape[:2], -1).view(dtype)


def rank_one_updates(
    total: Array, left: Array, right: Array, masks: tuple[Array, Array] | None = None
) -> None:
    """total += left[:, k] x right[k, :] for ascending k; f32 (n, M, N), (n, M, K), (n, K, N).

    `masks`: bool like left and right; where either is false the product counts as absent.
    """
    for first in range(0, len(total), _CHUNK):
        part = slice(first, first + _CHUNK)
        product = np.empty_like(total[part])
        for k in range(left.shape[2]):
            np.multiply(left[part, :, k, None], right[part, k, None, :], out=product)
            if masks is not None:
                product[~(masks[0][part, :, k, None] & masks[1][part, k, None, :])] = 0
            total[part] += product


def _hmma(simt: Simt, op: HmmaOp | HmmaStepOp, operands: tuple[Array, ...]) -> tuple[Array]:
    simt.whole_warps(op)
    a, b, c = operands
    if isinstance(op, HmmaStepOp):
        a, b = a[..., None], b[..., None]
    registers = a.shape[-1]
    outer = np.broadcast_shapes(*(x.shape[:2] for x in operands))

    def tiles(value: Array, index: Index, dtype: Any) -> Array:
        tile = _flat(value, dtype)[..., index].astype(np.float32, copy=False)
        return np.broadcast_to(tile, (*outer, *index.shape)).reshape(-1, *index.shape)

    total = np.array(tiles(c, accumulator_index(), np.float32))
    left = tiles(a, hmma_index("a", op.layout_a.data, registers), np.float16)
    right = tiles(b, hmma_index("b", op.layout_b.data, registers), np.float16)
    rank_one_updates(total, left, right)
    result = np.empty((len(total), 256), np.float32)
    result[:, accumulator_index()] = total
    return (result.reshape(*outer, WARP_SIZE, 8),)


@cache
def _sparse_index() -> Index:
    """Position in a warp's 32 words, as halves, of the values of each line: (16, 4)."""
    places = [[nm_value_position(line, v) for v in range(NM_VALUES)] for line in range(16)]
    return np.array([[2 * lane + half for lane, half in line] for line in places])


@cache
def _dense_index(layout: str, depth: int) -> Index:
    """Position in a warp's words of the dense operand, as halves, of [line, k]: (16, depth)."""
    index = np.empty((16, depth), np.int64)
    for line in range(16):
        for k in range(depth):
            lane, register, half = nm_dense_position(layout, depth, k, line)
            index[line, k] = (lane * (depth // 4) + register) * 2 + half
    return index


def _hmma_sp(simt: Simt, op: HmmaSpOp, operands: tuple[Array, ...]) -> tuple[Array]:
    simt.whole_warps(op)
    values, indices, dense, c = operands
    n, m = NM_SHAPES[op.shape.data]
    depth = NM_VALUES * m // n
    outer = np.broadcast_shapes(*(x.shape[:2] for x in operands))

    def whole(value: Array, index: Index, dtype: Any) -> Array:
        found = _flat(value, dtype)[..., index]
        return np.broadcast_to(found, (*outer, *index.shape)).reshape(-1, *index.shape)

    places = np.empty((16, NM_VALUES, 2), np.int64)
    for line in range(16):
        for value in range(NM_VALUES):
            places[line, value] = nm_index_position(depth, line, op.slice.value.data, value)
    words = whole(indices[..., None], places[..., 0], np.uint32)
    k = ((words >> places[..., 1].astype(np.uint32)) & np.uint32(m - 1)).astype(np.int64)
    k += m * (np.arange(NM_VALUES) // n)
    sparse = whole(values[..., None], _sparse_index(), np.float16).astype(np.float32)
    other = whole(dense, _dense_index(op.layout.data, depth), np.float16).astype(np.float32)
    total = np.array(whole(c, accumulator_index(), np.float32))
    total = total if op.right is None else np.ascontiguousarray(total.swapaxes(1, 2))
    for v in range(NM_VALUES):
        # the elements of all other lines at the k of each line's value
        met = np.take_along_axis(
            other, np.broadcast_to(k[..., v, None], (*k.shape[:2], 16)).swapaxes(1, 2), axis=2
        )
        more = total + sparse[..., v, None] * met.swapaxes(1, 2)
        total = np.where(sparse[..., v, None] != 0, more, total)
    total = total if op.right is None else total.swapaxes(1, 2)
    result = np.empty((len(total), 256), np.float32)
    result[:, accumulator_index()] = total
    return (result.reshape(*outer, WARP_SIZE, 8),)


def _ballot(simt: Simt, op: BallotOp, operands: tuple[Array, ...]) -> tuple[Array]:
    simt.whole_warps(op)
    predicate = operands[0]
    lanes = np.broadcast_to(predicate, (*predicate.shape[:2], WARP_SIZE))
    return (np.packbits(lanes, axis=-1, bitorder="little").view(np.uint32),)


def _shuffle(simt: Simt, op: ShuffleOp, operands: tuple[Array, ...]) -> tuple[Array]:
    simt.whole_warps(op)
    value, lane = operands
    outer = np.broadcast_shapes(value.shape[:2], lane.shape[:2])
    value, lane = (np.broadcast_to(x, (*outer, WARP_SIZE)) for x in (value, lane))
    source = np.where(lane < WARP_SIZE, lane, np.arange(WARP_SIZE)).astype(np.int64)
    return (np.take_along_axis(value, source, axis=-1),)


def _load_values(simt: Simt, op: LoadValuesOp, operands: tuple[Array, ...]) -> tuple[Array]:
    simt.whole_warps(op)
    lane = np.arange(WARP_SIZE, dtype=np.uint32)
    address, header = operands
    # Lane l's address is 16 bytes (8 values) after that of lane l - 1.
    starts = address - lane * (_LANE_VALUES * 2)
    for what, x in (("address less 16 bytes a lane", starts), ("header", header)):
        odd = simt.live(x != x[..., :1])
        if odd.any():
            raise simt.lane_error(op, odd, f"the {what} is {{}}, not that of lane 0", x)
    starts = starts + (header >> HEADER_SHIFT)
    count = (header & ((1 << HEADER_SHIFT) - 1)) * _LANE_VALUES
    room = word_count(op.result.type) * REGISTER_VALUES
    many = simt.live(count > room)
    if many.any():
        raise simt.lane_error(op, many, f"{{}} values; the registers hold at most {room}", count)
    blocks: list[Array] = []
    for start in range(0, room, WARP_SIZE * _LANE_VALUES):
        first = lane * _LANE_VALUES + start
        wanted = simt.live(count > first)
        found = simt.memory.load(starts + first * 2, 0, _U16, _LANE_VALUES, wanted)
        held = (first[:, None] + np.arange(_LANE_VALUES)) < count[..., None]
        blocks.append(np.where(held, found, np.uint16(_UNDEFINED)))
    return (np.concatenate(np.broadcast_arrays(*blocks), axis=-1).view(np.uint32),)


_RUN_LANES: dict[Lanes, list[int]] = {
    Lanes.LOW: list(range(16)),
    Lanes.HIGH: list(range(16, 32)),
    Lanes.ALL: [half + k for k in range(16) for half in (0, 16)],
}
"""Lanes in the order in which their values follow each other."""


def _load_runs(simt: Simt, op: LoadRunsOp, operands: tuple[Array, ...]) -> tuple[Array]:
    simt.whole_warps(op)
    lanes = _RUN_LANES[op.lanes.data]
    address, counts = (np.broadcast_to(x, simt.grid)[..., lanes].astype(np.int64) for x in operands)
    first, total = counts & 0xFF, counts >> 8 & 0xFF
    following = address // RUN_SLOT_BYTES * RUN_SLOT_BYTES + RUN_SLOT_BYTES
    registers = word_count(op.result.type)
    wrong = (first > total) | (address + 2 * first > following)
    wrong |= 2 * (total - first) > RUN_SLOT_BYTES
    wrong &= simt.live(np.ones(simt.grid, np.bool_))[..., lanes]
    if wrong.any():
        raise simt.error(op, "a run has more values than its slots of 64 bytes hold")
    if int(total.sum(axis=-1).max()) > registers * REGISTER_VALUES:
        raise simt.error(op, f"more values than {registers} registers hold")
    result = np.zeros((*simt.grid[:2], registers * REGISTER_VALUES), np.uint16)
    place = np.cumsum(total, axis=-1) - total
    position = value_index(registers)
    cta, warp = np.indices(simt.grid[:2])
    for i in range(int(total.max())):
        at = np.where(i < first, address + 2 * i, following + 2 * (i - first))
        mask = np.zeros(simt.grid, np.bool_)
        mask[..., : len(lanes)] = i < total
        where = np.zeros(simt.grid, np.int64)
        where[..., : len(lanes)] = at
        found = simt.memory.load(where, 0, _U16, 1, simt.live(mask))[..., 0]
        for lane in range(len(lanes)):
            some = i < total[..., lane]
            index = position[place[..., lane][some] + i]
            result[cta[some], warp[some], index] = found[..., lane][some]
    return (result.view(np.uint32).reshape(*simt.grid, registers),)


def _dense(simt: Simt, op: SpwmmaOp, side: str, operands: tuple[Array, Array],
           which: Index) -> tuple[Array, Array]:  # fmt: skip
    """The (n, 16, vectors) tiles of warps `which`, f32, 0 where the bitmap's bit is; the bits."""
    values, bitmap = operands
    halves = op.vectors // TILE_M
    first = TILE_K if (op.high_a if side == "a" else op.high_b) is not None else 0
    words = np.broadcast_to(bitmap, simt.grid)[..., first : first + halves * TILE_K]
    words = words.reshape(-1, halves, TILE_K)[which].swapaxes(1, 2)
    flat = np.ascontiguousarray(words).view(np.uint8).reshape(len(which), -1)
    bits = np.unpackbits(flat, axis=-1, bitorder="little")
    registers = values.shape[-1]
    held = bits.astype(np.bool_)
    count, room = held.sum(axis=1), registers * REGISTER_VALUES
    if (count > room).any():
        raise simt.error(
            op, f"a tile has {int(count.max())} values; its registers hold at most {room}"
        )
    shape = (*simt.grid[:2], WARP_SIZE * registers * 2)
    flat_values = np.broadcast_to(_flat(values, np.float16), shape).reshape(-1, shape[2])[which]
    place = np.maximum(np.cumsum(bits, axis=1, dtype=np.int64), 1) - 1
    position = value_index(registers)[place]
    dense = np.where(held, np.take_along_axis(flat_values, position, axis=1), np.float16(0))
    tiles = (len(which), TILE_K, op.vectors)
    return dense.astype(np.float32).reshape(tiles), held.reshape(tiles)


def _spwmma(simt: Simt, op: SpwmmaOp, operands: tuple[Array, ...]) -> tuple[()]:
    active = simt.whole_warps(op)
    a, b, a_bitmap, b_bitmap = operands
    which = np.arange(len(simt.acc)) if active is None else np.flatnonzero(active)
    left, left_bits = _dense(simt, op, "a", (a, a_bitmap), which)
    right, right_bits = _dense(simt, op, "b", (b, b_bitmap), which)
    finite = bool(np.isfinite(left).all() and np.isfinite(right).all())
    masks = None if finite else (left_bits.swapaxes(1, 2), right_bits)
    first, blocks = op.tile.value.data, op.vectors // TILE_M
    tiles = simt.acc[which, first : first + blocks**2]
    square = (len(which), blocks, blocks, TILE_M, TILE_M)
    whole = tiles.reshape(square).swapaxes(2, 3)
    total = np.ascontiguousarray(whole).reshape(len(which), op.vectors, op.vectors)
    rank_one_updates(total, left.swapaxes(1, 2), right, masks)
    back = total.reshape(len(which), blocks, TILE_M, blocks, TILE_M).swapaxes(2, 3)
    simt.acc[which, first : first + blocks**2] = back.reshape(tiles.shape)
    return ()


def _acc_clear(simt: Simt, op: AccClearOp, operands: tuple[Array, ...]) -> tuple[()]:
    del operands
    active = simt.whole_warps(op)
    simt.acc[slice(None) if active is None else active, op.tile.value.data] = 0
    return ()


def _acc_read(simt: Simt, op: AccReadOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del operands
    simt.whole_warps(op)
    part = slice(8 * op.part.value.data, 8 * op.part.value.data + 8)
    tile = simt.acc[:, op.tile.value.data]
    lanes = tile[:, :, part] if op.transposed is not None else tile[:, part].swapaxes(1, 2)
    return (np.array(lanes).reshape(*simt.grid, 8),)


def _barrier(simt: Simt, op: BarrierOp, operands: tuple[Array, ...]) -> tuple[()]:
    del operands
    if simt.active is not None:
        runs = np.broadcast_to(simt.active, simt.grid)
        split = runs.any(axis=(1, 2), keepdims=True) & ~runs
        if split.any():
            raise simt.lane_error(op, split, "is not at this barrier, but other lanes are")
    return ()


def _fence(simt: Simt, op: FenceOp, operands: tuple[Array, ...]) -> tuple[()]:
    del simt, op, operands
    return ()


WARP: dict[type[Operation], Handler] = {
    BarrierOp: _barrier,
    FenceOp: _fence,
    BallotOp: _ballot,
    ShuffleOp: _shuffle,
    HmmaOp: _hmma,
    HmmaStepOp: _hmma,
    HmmaSpOp: _hmma_sp,
    LoadValuesOp: _load_values,
    LoadRunsOp: _load_runs,
    SpwmmaOp: _spwmma,
    AccClearOp: _acc_clear,
    AccReadOp: _acc_read,
}
"""Handlers of the ops that a warp or CTA executes together."""
