"""Lane-wise operations of `dstc_tile`: identity, memory accesses, f16 pairs, vectors.

In: arrays of lanes (see `simt`). Out: `LANE`, handlers by operation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.ir import Attribute, Operation

from ...backend.isa.table import WARP_SIZE
from ..dstc_tile import (
    AtomicAddOp,
    AtomicOrOp,
    CombineOp,
    ExtractOp,
    FunnelOp,
    HalvesOp,
    Id,
    IdOp,
    LoadOp,
    MufuOp,
    PackOp,
    PopulationCountOp,
    PrefetchOp,
    Space,
    Special,
    SplatOp,
    StoreOp,
    UnpackOp,
    word_count,
)
from .simt import Handler, Simt, dtype_of, is_vector, merge
from .simt_memory import Array, Mask, Memory

_NARROW = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}


def _id(simt: Simt, op: IdOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del operands
    nx, ny, _ = simt.kernel.grid_size
    cta = np.arange(simt.grid[0], dtype=np.uint32).reshape(-1, 1, 1)
    match op.which.data:
        case Id.LANE:
            return (np.arange(WARP_SIZE, dtype=np.uint32).reshape(1, 1, -1),)
        case Id.WARP:
            return (np.arange(simt.grid[1], dtype=np.uint32).reshape(1, -1, 1),)
        case Id.CTA_X:
            return (cta % np.uint32(nx),)
        case Id.CTA_Y:
            return (cta // np.uint32(nx) % np.uint32(ny),)
        case Id.CTA_Z:
            return (cta // np.uint32(nx * ny),)


def _memory(simt: Simt, op: LoadOp | StoreOp) -> Memory:
    return simt.memory if op.space.data == Space.GLOBAL else simt.shared


def _mask(simt: Simt, predicate: Array | None) -> Mask | None:
    return simt.active if predicate is None else simt.live(predicate)


def _word_dtype(simt: Simt, op: Operation, type_: Attribute) -> np.dtype[np.generic]:
    dtype = dtype_of(type_)
    if dtype is None or dtype.itemsize != 4:
        raise simt.error(op, "lanes load, store and hold i32, f32 and vectors of them")
    return dtype


def _load(simt: Simt, op: LoadOp, operands: tuple[Array, ...]) -> tuple[Array]:
    address = operands[0]
    predicate = operands[1] if op.predicate is not None else None
    dtype = _word_dtype(simt, op, op.result.type)
    mask = _mask(simt, predicate)
    offset = op.offset.value.data
    if op.bits is not None:
        found = _memory(simt, op).load(address, offset, _NARROW[op.bits.value.data], 1, mask)
        found = found.astype(dtype)
    else:
        count = word_count(op.result.type)
        found = _memory(simt, op).load(address, offset, dtype, count, mask)
    value = found if is_vector(op.result.type) else found[..., 0]
    if predicate is None:
        return (value,)
    default = operands[2] if op.default is not None else _POISON.view(dtype)[0]
    return (merge(predicate, value, default),)


def _store(simt: Simt, op: StoreOp, operands: tuple[Array, ...]) -> tuple[()]:
    value, address = operands[:2]
    dtype = _word_dtype(simt, op, op.value.type)
    words = value if is_vector(op.value.type) else value[..., None]
    words = words.astype(dtype if op.bits is None else _NARROW[op.bits.value.data], copy=False)
    mask = _mask(simt, operands[2] if op.predicate is not None else None)
    _memory(simt, op).store(address, op.offset.value.data, words, mask, simt.grid)
    return ()


def _prefetch(simt: Simt, op: PrefetchOp, operands: tuple[Array, ...]) -> tuple[()]:
    del simt, op, operands
    return ()


def _atomic_or(simt: Simt, op: AtomicOrOp, operands: tuple[Array, ...]) -> tuple[()]:
    value, address = operands[:2]
    mask = _mask(simt, operands[2] if op.predicate is not None else None)
    simt.memory.set_bits(address, op.offset.value.data, value, mask, simt.grid)
    return ()


def _atomic_add(simt: Simt, op: AtomicAddOp, operands: tuple[Array, ...]) -> tuple[Array]:
    value, address = operands[:2]
    mask = _mask(simt, operands[2] if op.predicate is not None else None)
    return (simt.memory.fetch_add(address, value, mask, simt.grid),)


def _popcount(simt: Simt, op: PopulationCountOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt, op
    return (np.bitwise_count(operands[0]).astype(np.uint32),)


def _funnel(simt: Simt, op: FunnelOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt, op
    low, high, amount = (x.astype(np.uint64) for x in operands)
    pair = high << np.uint64(32) | low
    return ((pair >> (amount & np.uint64(31))).astype(np.uint32),)


SPECIAL: dict[str, Callable[[Array], Array]] = {
    Special.RCP: lambda x: 1 / x,
    Special.RSQ: lambda x: 1 / np.sqrt(x),
    Special.SQRT: np.sqrt,
    Special.EX2: np.exp2,
    Special.LG2: np.log2,
    Special.TANH: np.tanh,
    Special.SIN: np.sin,
    Special.COS: np.cos,
}
"""MUFU's functions, in f64."""


def special(function: str, x: Array) -> Array:
    """MUFU of f32: in f64, rounded once."""
    return SPECIAL[function](x.astype(np.float64)).astype(np.float32)


def _mufu(simt: Simt, op: MufuOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt
    return (special(op.function.data, operands[0]),)


def _half_bits(value: Array) -> Array:
    return value.astype(np.float16).view(np.uint16).astype(np.uint32)


def _pack(simt: Simt, op: PackOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt, op
    low, high = operands
    return (_half_bits(low) | _half_bits(high) << 16,)


def _unpack(simt: Simt, op: UnpackOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt
    half = operands[0] >> 16 if op.high is not None else operands[0]
    return (half.astype(np.uint16).view(np.float16).astype(np.float32),)


def _extract(simt: Simt, op: ExtractOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt
    return (operands[0][..., op.index.value.data],)


def _combine(simt: Simt, op: CombineOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt, op
    return (np.stack(np.broadcast_arrays(*operands), axis=-1),)


def _halves(simt: Simt, op: HalvesOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del simt
    count = len(op.low)
    pairs = zip(operands[:count], operands[count:], strict=True)
    return (np.stack(np.broadcast_arrays(*(low | high << 16 for low, high in pairs)), axis=-1),)


def _splat(simt: Simt, op: SplatOp, operands: tuple[Array, ...]) -> tuple[Array]:
    del operands
    dtype = _word_dtype(simt, op, op.result.type)
    bits = op.bits.value.data & 0xFFFFFFFF
    count = [word_count(op.result.type)] if is_vector(op.result.type) else []
    return (np.full((1, 1, 1, *count), bits, np.uint32).view(dtype),)


_POISON = np.array([0xFFFFFFFF], np.uint32)
"""What lanes outside the predicate get where no default is given: all ones, a NaN."""

LANE: dict[type[Operation], Handler] = {
    IdOp: _id,
    LoadOp: _load,
    StoreOp: _store,
    PrefetchOp: _prefetch,
    AtomicOrOp: _atomic_or,
    AtomicAddOp: _atomic_add,
    PopulationCountOp: _popcount,
    FunnelOp: _funnel,
    MufuOp: _mufu,
    PackOp: _pack,
    UnpackOp: _unpack,
    ExtractOp: _extract,
    CombineOp: _combine,
    HalvesOp: _halves,
    SplatOp: _splat,
}
"""Handlers of the ops that each lane executes for itself."""
