"""Instructions of tensor ops: HMMA, SPWMMA, the accumulation buffer. Not a pass.

In: `dstc_tile` ops of a whole warp. Out: `HANDLERS`.
"""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from ..backend.isa.layout import HEADER_SHIFT
from ..backend.isa.table import REGISTER_VALUES, TILE_K, TILE_M
from ..dialects import dstc_tile as tile
from ..dialects.dstc_isa import Use
from .isa_builder import (
    Constant,
    Handler,
    KernelConverter,
)

_STEPS = {32: ("SPWMMA", ("323216",)), 64: ("SPWMMA64", ("646416",))}
"""By window: mnemonic and shape."""


def _hmma(c: KernelConverter, op: tile.HmmaOp | tile.HmmaStepOp) -> None:
    a, b, acc = c.all_words(op.a), c.all_words(op.b), list(c.words[op.c])
    for j in range(len(a)):
        for step in range(4):
            uses, _ = c.operands(a[j])
            second = c.register(b[j])
            if second is not None:
                uses["b"] = second
            pair = acc[2 * step : 2 * step + 2]
            if pair != [Constant(0)] * 2:
                uses["c"] = c.group(pair, 2)
            modifiers = ("884", op.layout_a.data, op.layout_b.data, f"STEP{step}")
            d = c.emit("HMMA", uses, modifiers=modifiers)
            acc[2 * step : 2 * step + 2] = [Use(d.value, 0), Use(d.value, 1)]
    c.words[op.result] = acc


def _hmma_sp(c: KernelConverter, op: tile.HmmaSpOp) -> None:
    acc = list(c.words[op.c])
    uses, _ = c.operands(c.word(op.values))
    indices = c.register(c.word(op.indices))
    if indices is not None:
        uses["e"] = indices
    uses["b"] = c.part(c.all_words(op.dense))
    side = "A" if op.right is None else "B"
    for step in range(4):
        pair = acc[2 * step : 2 * step + 2]
        into = {} if pair == [Constant(0)] * 2 else {"c": c.group(pair, 2)}
        modifiers = (
            op.shape.data, side, op.layout.data, f"STEP{step}", f"SLICE{op.slice.value.data}",
        )  # fmt: skip
        d = c.emit("HMMA.SP", {**uses, **into}, modifiers=modifiers)
        acc[2 * step : 2 * step + 2] = [Use(d.value, 0), Use(d.value, 1)]
    c.words[op.result] = acc


def _load_values(c: KernelConverter, op: tile.LoadValuesOp) -> None:
    lane = c.special("SR_LANE")
    registers = tile.word_count(op.result.type)
    group = c.undefined(registers)
    header = c.word(op.header)
    start = c.compute("IMAD", header, Constant(1 << 32 - HEADER_SHIFT), c.word(op.address), "HI")
    # the number of 16-byte pieces at the top: a lane has one of the first 32, one of the next
    pieces = c.compute("IMAD", header, Constant(1 << 32 - HEADER_SHIFT), Constant(0), "LO")
    for part in range(registers // 4):
        piece = c.cache(
            ("piece", part),
            lambda part=part: c.emit(
                "IMAD" if part == 0 else "IADD3",
                {"a": lane if part == 0 else c.cached[("piece", 0)]},
                modifiers=("LO",) if part == 0 else (),
                immediates={"b": (32 * part or 1) << 32 - HEADER_SHIFT},
                at_top=True,
            ),
        )
        uses, immediates = c.operands(piece, pieces)
        guard = c.emit("ISETP", uses, modifiers=("LT", "U32"), immediates=immediates)
        offset: dict[str, int | str] = {"offset": 512 * part} if part else {}
        address = c.register(start)
        place: dict[str, Use | SSAValue] = {} if address is None else {"a": address}
        loaded = c.emit(
            "LDG",
            {**place, "guard": guard, "into": Use(group, 4 * part)},
            modifiers=("128",),
            immediates=offset,
        )
        group = loaded.value
    c.words[op.result] = [Use(group, i) for i in range(registers)]


_RUNS = {tile.Lanes.LOW: "LO", tile.Lanes.HIGH: "HI", tile.Lanes.ALL: "ALL"}


def _load_runs(c: KernelConverter, op: tile.LoadRunsOp) -> None:
    uses: dict[str, Use | SSAValue] = {}
    for role, value in (("a", op.address), ("b", op.counts)):
        register = c.register(c.word(value))
        if register is not None:
            uses[role] = register
    loaded = c.emit("LDV", uses, modifiers=(_RUNS[op.lanes.data],))
    size = tile.word_count(op.result.type)
    c.words[op.result] = [Use(loaded.value, i) for i in range(size)]


def _spwmma(c: KernelConverter, op: tile.SpwmmaOp) -> None:
    mnemonic, modifiers = _STEPS[op.vectors]
    if op.vectors == TILE_M:
        modifiers += ("AHI" if op.high_a else "ALO", "BHI" if op.high_b else "BLO")
    uses: dict[str, Use | SSAValue] = {}
    for role, values in (("a", op.a), ("b", op.b)):
        size = tile.word_count(values.type)
        uses[role] = c.group(c.words[values], size)
        full = size * REGISTER_VALUES == op.vectors * TILE_K
        modifiers += ("" if full else f"{role.upper()}{size * REGISTER_VALUES}",)
    for role, bitmap in (("c", op.a_bitmap), ("e", op.b_bitmap)):
        register = c.register(c.word(bitmap))
        if register is not None:
            uses[role] = register
    c.emit(mnemonic, uses, modifiers=modifiers, immediates={"acc": op.tile.value.data})


def _acc_clear(c: KernelConverter, op: tile.AccClearOp) -> None:
    c.emit("ACLR", immediates={"acc": op.tile.value.data})


def _acc_read(c: KernelConverter, op: tile.AccReadOp) -> None:
    modifiers = (f"P{op.part.value.data}", "T" if op.transposed else "")
    d = c.emit("ARD", modifiers=modifiers, immediates={"acc": op.tile.value.data})
    c.words[op.result] = [Use(d.value, i) for i in range(8)]


HANDLERS: dict[type[Operation], Handler] = {
    tile.HmmaOp: _hmma,
    tile.HmmaStepOp: _hmma,
    tile.HmmaSpOp: _hmma_sp,
    tile.LoadValuesOp: _load_values,
    tile.LoadRunsOp: _load_runs,
    tile.SpwmmaOp: _spwmma,
    tile.AccClearOp: _acc_clear,
    tile.AccReadOp: _acc_read,
}
"""Handlers by op."""
