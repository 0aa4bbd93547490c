"""Instructions of a lane's own tile ops: memory, lane exchange, conversions. Not a pass.

In: `dstc_tile` ops on words and vectors. Out: `HANDLERS`.
"""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from ..dialects import dstc_tile as tile
from ..dialects.dstc_isa import FenceOp, Use
from .isa_builder import (
    Constant,
    Handler,
    KernelConverter,
)

_WIDTHS = {1: "32", 2: "64", 4: "128"}
_SPECIAL = {
    tile.Id.LANE: "SR_LANE",
    tile.Id.WARP: "SR_WARP",
    tile.Id.CTA_X: "SR_CTAID_X",
    tile.Id.CTA_Y: "SR_CTAID_Y",
    tile.Id.CTA_Z: "SR_CTAID_Z",
}
_SPACES = {tile.Space.GLOBAL: ("LDG", "STG"), tile.Space.SHARED: ("LDS", "STS")}


def _splat(c: KernelConverter, op: tile.SplatOp) -> None:
    c.words[op.result] = [Constant(op.bits.value.data & 0xFFFFFFFF)] * tile.word_count(
        op.result.type
    )


def _id(c: KernelConverter, op: tile.IdOp) -> None:
    c.words[op.result] = [c.special(_SPECIAL[op.which.data])]


def _access(
    c: KernelConverter, address: SSAValue, offset: int
) -> tuple[dict[str, Use | SSAValue], dict[str, int | str]]:
    uses: dict[str, Use | SSAValue] = {}
    register = c.register(c.word(address))
    if register is not None:
        uses["a"] = register
    return uses, {"offset": offset} if offset else {}


def _load(c: KernelConverter, op: tile.LoadOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    size = tile.word_count(op.result.type)
    width = _WIDTHS[size] if op.bits is None else f"U{op.bits.value.data}"
    guard = None if op.predicate is None else c.predicate(op.predicate)
    if guard is not None:
        uses["guard"] = guard
    if guard is not None and op.default is not None:
        # A copy of its own: the load overwrites it.
        into = c.undefined(size)
        for i, word in enumerate(c.all_words(op.default)):
            move, move_immediates = c.operands(None, word)
            move["into"] = Use(into, i)
            into = c.emit("MOV", move, immediates=move_immediates).value
        uses["into"] = into
    loaded = c.emit(_SPACES[op.space.data][0], uses, modifiers=(width,), immediates=immediates)
    c.words[op.result] = [Use(loaded.value, i) for i in range(size)]


def _store(c: KernelConverter, op: tile.StoreOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    if op.value in c.deferred:
        c.force(op.value)
    words = c.words[op.value]
    size = len(words)
    if size == 1:
        register = c.register(words[0])
        if register is not None:
            uses["b"] = register
    else:
        uses["b"] = c.group(words, size)
    if op.predicate is not None:
        guard = c.predicate(op.predicate)
        if guard is not None:
            uses["guard"] = guard
    width = _WIDTHS[size] if op.bits is None else f"U{op.bits.value.data}"
    c.emit(_SPACES[op.space.data][1], uses, modifiers=(width,), immediates=immediates)


def _prefetch(c: KernelConverter, op: tile.PrefetchOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    if op.predicate is not None:
        guard = c.predicate(op.predicate)
        if guard is not None:
            uses["guard"] = guard
    c.emit("PREFETCH", uses, modifiers=("L1",), immediates=immediates)


def _atomic_or(c: KernelConverter, op: tile.AtomicOrOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    register = c.register(c.word(op.value))
    if register is not None:
        uses["b"] = register
    if op.predicate is not None:
        guard = c.predicate(op.predicate)
        if guard is not None:
            uses["guard"] = guard
    c.emit("RED", uses, modifiers=("OR", "U32"), immediates=immediates)


def _atomic_add(c: KernelConverter, op: tile.AtomicAddOp) -> None:
    uses, _ = _access(c, op.address, 0)
    register = c.register(c.word(op.value))
    if register is not None:
        uses["b"] = register
    guard = None if op.predicate is None else c.predicate(op.predicate)
    if guard is not None:
        uses["guard"] = guard
    c.words[op.result] = [c.emit("ATOM", uses, modifiers=("ADD", "U32"))]


def _barrier(c: KernelConverter, op: Operation) -> None:
    del op
    c.emit("BAR", modifiers=("SYNC",))


def _fence(c: KernelConverter, op: Operation) -> None:
    del op
    c.place(FenceOp(), at_top=False)


def _ballot(c: KernelConverter, op: tile.BallotOp) -> None:
    predicate = c.predicate(op.predicate)
    uses = {} if predicate is None else {"pa": predicate}
    c.words[op.result] = [c.emit("VOTE", uses, modifiers=("BALLOT",))]


def _shuffle(c: KernelConverter, op: tile.ShuffleOp) -> None:
    c.words[op.result] = [c.compute("SHFL", c.word(op.value), c.word(op.lane), None, "IDX")]


def _popcount(c: KernelConverter, op: tile.PopulationCountOp) -> None:
    uses, _ = c.operands(c.word(op.value))
    c.words[op.result] = [c.emit("POPC", uses)]


def _funnel(c: KernelConverter, op: tile.FunnelOp) -> None:
    c.words[op.result] = [c.compute("SHF", c.word(op.low), c.word(op.amount), c.word(op.high), "R")]


def _mufu(c: KernelConverter, op: tile.MufuOp) -> None:
    uses, _ = c.operands(c.word(op.value))
    c.words[op.result] = [c.emit("MUFU", uses, modifiers=(op.function.data.upper(),))]


def _pack(c: KernelConverter, op: tile.PackOp) -> None:
    c.words[op.result] = [c.compute("PACK", c.word(op.low), c.word(op.high))]


def _unpack(c: KernelConverter, op: tile.UnpackOp) -> None:
    uses, _ = c.operands(c.word(op.value))
    half = "LO" if op.high is None else "HI"
    c.words[op.result] = [c.emit("F2F", uses, modifiers=(half,))]


def _extract(c: KernelConverter, op: tile.ExtractOp) -> None:
    c.words[op.result] = [c.words[op.vector][op.index.value.data]]


def _combine(c: KernelConverter, op: tile.CombineOp) -> None:
    c.words[op.result] = [c.word(element) for element in op.elements]


def _halves(c: KernelConverter, op: tile.HalvesOp) -> None:
    # into a group at once: what is stored together needs no copies
    group = c.undefined(len(op.low))
    for i, (low, high) in enumerate(zip(op.low, op.high, strict=True)):
        uses, immediates = c.operands(c.word(high), Constant(1 << 16), c.word(low))
        uses["into"] = Use(group, i)
        group = c.emit("IMAD", uses, modifiers=("LO",), immediates=immediates).value
    c.words[op.result] = [Use(group, i) for i in range(len(op.low))]


HANDLERS: dict[type[Operation], Handler] = {
    tile.IdOp: _id,
    tile.LoadOp: _load,
    tile.StoreOp: _store,
    tile.PrefetchOp: _prefetch,
    tile.AtomicOrOp: _atomic_or,
    tile.AtomicAddOp: _atomic_add,
    tile.BarrierOp: _barrier,
    tile.FenceOp: _fence,
    tile.BallotOp: _ballot,
    tile.ShuffleOp: _shuffle,
    tile.PopulationCountOp: _popcount,
    tile.FunnelOp: _funnel,
    tile.MufuOp: _mufu,
    tile.PackOp: _pack,
    tile.UnpackOp: _unpack,
    tile.ExtractOp: _extract,
    tile.CombineOp: _combine,
    tile.HalvesOp: _halves,
    tile.SplatOp: _splat,
}
"""Handlers by op."""
