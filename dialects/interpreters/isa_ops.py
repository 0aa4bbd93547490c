"""What each instruction of the ISA computes, on numpy: `dstc_isa` under interpretation.

In: operands of lanes, u32 (CTAs, warps, 32, registers) or bool (CTAs, warps, 32), chosen modifiers,
immediates. Out: `SEMANTICS`, a function a mnemonic; its result, if it has one. Nothing is shared
with the simulator, so that each checks the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...backend.isa.table import TILE_K, WARP_SIZE, WIDTH_BYTES
from ..dstc_isa import IsaOp
from ..dstc_tile import Lanes
from .lane_ops import special
from .simt_arith import maximum, minimum, to_signed, to_unsigned
from .simt_memory import Array, Mask
from .warp_ops import (
    RUN_ORDER,
    DualShape,
    SparseShape,
    dense_product,
    dual_product,
    gathered_runs,
    sparse_product,
    value_index,
)

if TYPE_CHECKING:
    from .isa_machine import IsaMachine


@dataclass(frozen=True)
class Operands:
    """Operands by role, modifiers by name, immediates by role, registers of the result."""

    values: Mapping[str, Array]
    modifiers: Mapping[str, str]
    immediates: Mapping[str, int | str]
    registers: int

    def word(self, role: str) -> Array:
        """An operand of one register, without the axis of registers."""
        return self.values[role][..., 0]

    def number(self, role: str) -> Array:
        """An operand of one register as f32."""
        return self.word(role).astype(np.uint32, copy=False).view(np.float32)

    def immediate(self, role: str) -> int:
        """An immediate; 0 if it is not given."""
        value = self.immediates.get(role, 0)
        assert isinstance(value, int)
        return value


Semantics = Callable[["IsaMachine", IsaOp, Operands, "Mask | None"], "Array | None"]
"""(machine, op, operands, lanes that run or None for all) -> result."""


def _signed(a: Array) -> Array:
    return a.astype(np.uint32, copy=False).view(np.int32)


Function = (
    Callable[[Array], Array] | Callable[[Array, Array], Array]
    | Callable[[Array, Array, Array], Array]
)  # fmt: skip


def _words(function: Function, *roles: str) -> Semantics:
    """A function of u32 words, each one register."""
    call = cast("Callable[..., Array]", function)

    def run(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
        result = call(*(o.word(role) for role in roles))
        return result.astype(np.uint32, copy=False)[..., None]

    return run


def _numbers(function: Function, *roles: str) -> Semantics:
    """A function of f32, each one register."""
    call = cast("Callable[..., Array]", function)

    def run(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
        return call(*(o.number(role) for role in roles)).astype(np.float32)[..., None]

    return run


def _by(modifier: str, cases: Mapping[str, Semantics]) -> Semantics:
    """One of `cases` by the choice of a modifier."""

    def run(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array | None:
        return cases[o.modifiers[modifier]](m, op, o, runs)

    return run


def _shifted(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: np.where(b < 32, function(a, np.minimum(b, 31)), np.uint32(0))


def _shift_signed(a: Array, b: Array) -> Array:
    return (_signed(a) >> np.minimum(b, 31).astype(np.int32)).view(np.uint32)


def _high(a: Array, b: Array, c: Array) -> Array:
    return (a.astype(np.uint64) * b.astype(np.uint64) >> np.uint64(32)).astype(np.uint32) + c


def _funnel(left: bool) -> Callable[[Array, Array, Array], Array]:
    def run(a: Array, b: Array, c: Array) -> Array:
        both = a.astype(np.uint64) | c.astype(np.uint64) << np.uint64(32)
        by = (b & 31).astype(np.uint64)
        return (both << by >> np.uint64(32) if left else both >> by).astype(np.uint32)

    return run


def _permute(a: Array, b: Array, c: Array) -> Array:
    both = a.astype(np.uint64) | c.astype(np.uint64) << np.uint64(32)
    result = np.zeros(np.broadcast_shapes(a.shape, b.shape, c.shape), np.uint64)
    for byte in range(4):
        which = (b >> np.uint32(4 * byte) & np.uint32(7)).astype(np.uint64)
        result |= (both >> which * np.uint64(8) & np.uint64(0xFF)) << np.uint64(8 * byte)
    return result.astype(np.uint32)


def _highest_one(a: Array) -> Array:
    found = np.full(a.shape, 0xFFFFFFFF, np.uint32)
    for bit in range(32):
        found = np.where(a >> np.uint32(bit) & 1, np.uint32(bit), found)
    return found


def _reversed_bits(a: Array) -> Array:
    result = np.zeros_like(a)
    for bit in range(32):
        result |= (a >> np.uint32(bit) & np.uint32(1)) << np.uint32(31 - bit)
    return result


_RELATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
    "ANY": lambda a, b: (a & b) != 0,
    "NONE": lambda a, b: (a & b) == 0,
}


def _compare_words(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    a, b = o.word("a"), o.word("b")
    if o.modifiers["sign"] == "S32":
        a, b = _signed(a), _signed(b)
    return _RELATIONS[o.modifiers["compare"]](a, b) & o.values["pa"]


def _compare_numbers(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    relation = _RELATIONS[o.modifiers["compare"]]
    return relation(o.number("a"), o.number("b")) & o.values["pa"]


_LOGIC = {"AND": np.logical_and, "OR": np.logical_or, "XOR": np.logical_xor}


def _logic(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    return _LOGIC[o.modifiers["op"]](o.values["pa"], o.values["pb"])


def multiply_add(a: Array, b: Array, c: Array) -> Array:
    """a * b + c, f32, rounded once: the f64 sum is made odd where it is not exact."""
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = c.astype(np.float64)
    total = product + addend
    rest = total - product
    error = (product - (total - rest)) + (addend - rest)
    inexact = np.isfinite(total) & (error != 0) & np.isfinite(error)
    away = (error < 0) == (total > 0)
    down = np.where(inexact & away, np.nextafter(total, 0.0), total)
    odd = (down.view(np.uint64) | np.uint64(1)).view(np.float64)
    return np.where(inexact, odd, total).astype(np.float32)


def _choice(o: Operands) -> tuple[bool, bool]:
    return o.modifiers["select"] == "MIN", o.modifiers.get("nan") == "NAN"


def _choose_number(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    a, b = o.number("a"), o.number("b")
    smaller, nan = _choice(o)
    best = (minimum if smaller else maximum)(a, b)
    if not nan:
        best = np.where(np.isnan(a), b, np.where(np.isnan(b), a, best))
    return best.astype(np.float32)[..., None]


def _choose_word(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    a, b = o.word("a"), o.word("b")
    choose = np.minimum if o.modifiers["select"] == "MIN" else np.maximum
    if o.modifiers["sign"] == "S32":
        return choose(_signed(a), _signed(b)).view(np.uint32)[..., None]
    return choose(a, b)[..., None]


def _half(a: Array) -> Array:
    return (a & np.uint32(0xFFFF)).astype(np.uint16).view(np.float16).astype(np.float32)


def _bits(a: Array) -> Array:
    return a.astype(np.float16).view(np.uint16).astype(np.uint32)


def _function(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    return special(o.modifiers["function"].lower(), o.number("a"))[..., None]


def _special_register(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    nx, ny, nz = m.ctas
    cta = np.arange(m.grid[0]).reshape(-1, 1, 1, 1)
    warp = np.arange(m.grid[1]).reshape(1, -1, 1, 1)
    lane = np.arange(WARP_SIZE).reshape(1, 1, -1, 1)
    found: dict[str, Any] = {
        "SR_LANE": lane, "SR_WARP": warp, "SR_TID": warp * WARP_SIZE + lane,
        "SR_CTAID_X": cta % nx, "SR_CTAID_Y": cta // nx % ny, "SR_CTAID_Z": cta // (nx * ny),
        "SR_NCTAID_X": nx, "SR_NCTAID_Y": ny, "SR_NCTAID_Z": nz,
    }  # fmt: skip
    name = str(o.immediates["sr"])
    if name not in found:
        raise m.error(op, f"the interpreter has no {name}")
    return np.asarray(found[name], np.uint32).reshape(np.shape(found[name]) or (1, 1, 1, 1))


# Lanes


def _active(m: IsaMachine, runs: Mask | None) -> Array:
    return np.broadcast_to(np.True_ if runs is None else runs, m.grid)


def _shuffle(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    value = np.broadcast_to(o.word("a"), m.grid)
    by = np.broadcast_to(o.word("b"), m.grid).astype(np.int64)
    lane = np.arange(WARP_SIZE, dtype=np.int64)
    source = {"IDX": by, "UP": lane - by, "DOWN": lane + by, "BFLY": lane ^ by}[o.modifiers["mode"]]
    inside = (source >= 0) & (source < WARP_SIZE)
    source = np.where(inside, source, lane)
    inside &= np.take_along_axis(_active(m, runs), source, axis=-1)
    found = np.take_along_axis(value, source, axis=-1)
    return np.where(inside, found, value)[..., None]


def _vote(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    lanes = np.broadcast_to(o.values["pa"], m.grid) & _active(m, runs)
    mask = np.packbits(lanes, axis=-1, bitorder="little").view(np.uint32)
    return np.broadcast_to(mask, m.grid)[..., None]


def _vote_predicate(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    holds, active = np.broadcast_to(o.values["pa"], m.grid), _active(m, runs)
    if o.modifiers["mode"] == "ALL":
        found = (holds | ~active).all(axis=-1, keepdims=True)
    else:
        found = (holds & active).any(axis=-1, keepdims=True)
    return np.broadcast_to(found, m.grid)


# Memory

_UNITS = {"U8": np.dtype(np.uint8), "U16": np.dtype(np.uint16)}


def _load(shared: bool) -> Semantics:
    def run(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
        memory = m.shared if shared else m.memory
        width = o.modifiers["width"]
        unit = _UNITS.get(width, np.dtype(np.uint32))
        count = WIDTH_BYTES[width] // unit.itemsize
        found = memory.load(o.word("a"), o.immediate("offset"), unit, count, runs)
        return found.astype(np.uint32)

    return run


def _store(shared: bool) -> Semantics:
    def run(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
        memory = m.shared if shared else m.memory
        unit = _UNITS.get(o.modifiers["width"], np.dtype(np.uint32))
        value = o.values["b"].astype(unit)
        memory.store(o.word("a"), o.immediate("offset"), value, runs, m.grid)

    return run


def _reduce(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
    address, value = o.word("a"), o.word("b")
    if o.modifiers["op"] == "OR":
        m.memory.set_bits(address, o.immediate("offset"), value, runs, m.grid)
        return
    address = address + np.uint32(o.immediate("offset") & 0xFFFFFFFF)
    if o.modifiers["type"] == "F32":
        m.memory.fetch_add(address, value.view(np.float32), runs, m.grid)
    else:
        m.memory.fetch_add(address, value, runs, m.grid)


def _atomic(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    address = o.word("a") + np.uint32(o.immediate("offset") & 0xFFFFFFFF)
    return m.memory.fetch_add(address, o.word("b"), runs, m.grid)[..., None]


_RUNS = {"LO": Lanes.LOW, "HI": Lanes.HIGH, "ALL": Lanes.ALL}


def _runs(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    address = o.word("a") + np.uint32(o.immediate("offset") & 0xFFFFFFFF)
    lanes = RUN_ORDER[_RUNS[o.modifiers["lanes"]]]
    return gathered_runs(m, op, (address, o.word("b")), lanes, o.registers, runs)


def _nothing(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
    return None


# Tensor core


def _warps(m: IsaMachine, op: IsaOp, runs: Mask | None) -> Mask | None:
    """Which warps run, by CTA and warp; None if all. A warp runs whole."""
    if runs is None:
        return None
    some, every = runs.any(axis=2), runs.all(axis=2)
    if not np.array_equal(some, every):
        raise m.error(op, "needs all 32 lanes of each warp that comes here")
    return every.ravel()


def _quadrant(o: Operands) -> slice:
    step = int(o.modifiers["step"].removeprefix("STEP"))
    return slice(2 * step, 2 * step + 2)


def _sums(m: IsaMachine, o: Operands) -> Array:
    """The 8 registers of a 16 x 16 tile, c in those of the step."""
    c = o.values["c"]
    whole = np.zeros((*np.broadcast_shapes(c.shape[:-1], (1, 1, WARP_SIZE)), 8), np.uint32)
    whole[..., _quadrant(o)] = c
    return whole.view(np.float32)


def _dense(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    _warps(m, op, runs)
    layouts = (o.modifiers["layout_a"], o.modifiers["layout_b"])
    result = dense_product(o.values["a"], o.values["b"], _sums(m, o), layouts)
    return np.ascontiguousarray(result[..., _quadrant(o)])


def _sparse(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    _warps(m, op, runs)
    how = SparseShape(
        o.modifiers["shape"], o.modifiers["layout"],
        int(o.modifiers["slice"].removeprefix("SLICE")), o.modifiers["sparse"] == "B",
    )  # fmt: skip
    operands = (o.word("a"), o.word("e"), o.values["b"], _sums(m, o))
    return np.ascontiguousarray(sparse_product(operands, how)[..., _quadrant(o)])


def _dual(vectors: int) -> Semantics:
    def run(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
        high = (o.modifiers.get("half_a") == "AHI", o.modifiers.get("half_b") == "BHI")
        how = DualShape(vectors, *high, o.immediate("acc"))
        operands = (o.values["a"], o.values["b"], o.word("c"), o.word("e"))
        dual_product(m, op, operands, how, _warps(m, op, runs))

    return run


def _step(o: Operands, side: str) -> int:
    """The lane that holds the word of step k."""
    k = int(o.modifiers["k"].removeprefix("K"))
    return k + TILE_K * (o.modifiers[f"half_{side}"] == f"{side.upper()}HI")


def _bit_product(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    a, b = (np.broadcast_to(o.word(side), m.grid)[..., _step(o, side)] for side in "ab")
    lanes = np.arange(WARP_SIZE, dtype=np.uint32)
    held = a[..., None] >> lanes & np.uint32(1)
    return np.where(held, b[..., None], np.uint32(0))[..., None]


def _outer(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
    warps = _warps(m, op, runs)
    product = np.broadcast_to(o.word("c"), m.grid).reshape(-1, WARP_SIZE)
    starts = np.broadcast_to(o.word("e"), m.grid).reshape(-1, WARP_SIZE)
    streams = {
        side: np.ascontiguousarray(
            np.broadcast_to(o.values[side], (*m.grid, o.values[side].shape[-1]))
        ).view(np.float16).reshape(len(product), -1)
        for side in "ab"
    }  # fmt: skip
    first_a = (starts[:, _step(o, "a")] & 0xFFFF).astype(np.int64)
    first_b = (starts[:, _step(o, "b")] >> 16).astype(np.int64)
    skip_a = 8 * int(o.modifiers["chunk_a"][1:])
    skip_b = 16 * int(o.modifiers["chunk_b"][1:])
    for w in range(len(product)):
        if warps is not None and not warps[w]:
            continue
        rows = np.flatnonzero(product[w])
        union = int(np.bitwise_or.reduce(product[w]))
        columns = np.array([i for i in range(32) if union >> i & 1], np.int64)
        rows, columns = rows[skip_a : skip_a + 8], columns[skip_b : skip_b + 16]
        if not len(rows) or not len(columns):
            continue
        left = first_a[w] + skip_a + np.arange(len(rows))
        right = first_b[w] + skip_b + np.arange(len(columns))
        a, b = streams["a"][w], streams["b"][w]
        if left[-1] >= len(a) or right[-1] >= len(b):
            raise m.error(op, "the vector lies beyond the stream of values")
        x = a[value_index(len(a) // 64)[left]].astype(np.float32)
        y = b[value_index(len(b) // 64)[right]].astype(np.float32)
        m.acc[w, o.immediate("acc")][np.ix_(rows, columns)] += x[:, None] * y[None, :]


def _clear(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
    warps = _warps(m, op, runs)
    m.acc[slice(None) if warps is None else warps, o.immediate("acc")] = 0


def _part(o: Operands) -> slice:
    part = int(o.modifiers["part"].removeprefix("P"))
    return slice(8 * part, 8 * part + 8)


def _read(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    tile = m.acc[:, o.immediate("acc")]
    turned = o.modifiers["transpose"] == "T"
    lanes = tile[:, :, _part(o)] if turned else tile[:, _part(o)].swapaxes(1, 2)
    return np.array(lanes).reshape(*m.grid, 8)


def _write(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> None:
    warps = _warps(m, op, runs)
    value = np.ascontiguousarray(np.broadcast_to(o.values["a"], (*m.grid, 8))).view(np.float32)
    lanes = value.reshape(-1, WARP_SIZE, 8)
    tile = m.acc[:, o.immediate("acc")]
    new = tile.copy()
    if o.modifiers["transpose"] == "T":
        new[:, :, _part(o)] = lanes
    else:
        new[:, _part(o)] = lanes.swapaxes(1, 2)
    m.acc[:, o.immediate("acc")] = new if warps is None else np.where(
        warps[:, None, None], new, tile
    )  # fmt: skip


def _select(m: IsaMachine, op: IsaOp, o: Operands, runs: Mask | None) -> Array:
    return np.where(o.values["pa"], o.word("a"), o.word("b"))[..., None]


SEMANTICS: dict[str, Semantics] = {
    "MOV": _words(lambda b: b, "b"),
    "S2R": _special_register,
    "SEL": _select,
    "PRMT": _words(_permute, "a", "b", "c"),
    "SHFL": _shuffle,
    "VOTE": _vote,
    "VOTEP": _vote_predicate,
    "IADD3": _words(lambda a, b, c: a + b + c, "a", "b", "c"),
    "ISUB": _words(np.subtract, "a", "b"),
    "IMAD": _by("part", {"LO": _words(lambda a, b, c: a * b + c, "a", "b", "c"),
                         "HI": _words(_high, "a", "b", "c")}),
    "IMNMX": _choose_word,
    "LOP": _by("op", {"AND": _words(np.bitwise_and, "a", "b"),
                      "OR": _words(np.bitwise_or, "a", "b"),
                      "XOR": _words(np.bitwise_xor, "a", "b"),
                      "ANDN": _words(lambda a, b: a & ~b, "a", "b")}),
    "SHL": _words(_shifted(np.left_shift), "a", "b"),
    "SHR": _by("sign", {"U32": _words(_shifted(np.right_shift), "a", "b"),
                        "S32": _words(_shift_signed, "a", "b")}),
    "SHF": _by("direction", {"L": _words(_funnel(True), "a", "b", "c"),
                             "R": _words(_funnel(False), "a", "b", "c")}),
    "POPC": _words(np.bitwise_count, "a"),
    "FLO": _words(_highest_one, "a"),
    "BREV": _words(_reversed_bits, "a"),
    "ISETP": _compare_words,
    "PLOP": _logic,
    "FADD": _numbers(np.add, "a", "b"),
    "FMUL": _numbers(np.multiply, "a", "b"),
    "FFMA": _numbers(multiply_add, "a", "b", "c"),
    "FMNMX": _choose_number,
    "FSETP": _compare_numbers,
    "MUFU": _function,
    "I2F": _by("sign", {"U32": _words(lambda a: a.astype(np.float32).view(np.uint32), "a"),
                        "S32": _words(lambda a: _signed(a).astype(np.float32).view(np.uint32),
                                      "a")}),
    "F2I": _by("sign", {"U32": _words(lambda a: to_unsigned(a.view(np.float32)), "a"),
                        "S32": _words(lambda a: to_signed(a.view(np.float32)), "a")}),
    "F2F": _by("half", {"LO": _words(lambda a: _half(a).view(np.uint32), "a"),
                        "HI": _words(lambda a: _half(a >> 16).view(np.uint32), "a")}),
    "PACK": _words(lambda a, b: _bits(a.view(np.float32)) | _bits(b.view(np.float32)) << 16,
                   "a", "b"),
    "LDG": _load(False),
    "STG": _store(False),
    "LDS": _load(True),
    "STS": _store(True),
    "RED": _reduce,
    "ATOM": _atomic,
    "PREFETCH": _nothing,
    "LDV": _runs,
    "NOP": _nothing,
    "BSSY": _nothing,
    "BSYNC": _nothing,
    "BAR": _nothing,  # the machine waits
    "HMMA": _dense,
    "HMMA.SP": _sparse,
    "SPWMMA": _dual(32),
    "SPWMMA64": _dual(64),
    "BOHMMA": _bit_product,
    "OHMMA": _outer,
    "ACLR": _clear,
    "ARD": _read,
    "AWR": _write,
}  # fmt: skip
"""By mnemonic, of all instructions but the terminators."""
