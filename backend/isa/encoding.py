"""128-bit instruction words, derived from the instruction table.

In: an `Inst` (mnemonic, operands by role, modifiers by name, guard). Out: its two 64-bit words, and
back; `scan` checks and summarises a whole program at once. Invalid input raises `EncodingError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import DstcError
from .table import (
    BY_OPCODE,
    INSTRUCTIONS,
    MAX_ACC_TILES,
    NUM_REGISTERS,
    PT,
    RZ,
    SPECIAL_REGISTERS,
    Instruction,
    Kind,
    Modifier,
    Operand,
)


class EncodingError(DstcError):
    """An instruction has no encoding, or words are no instruction; `role`: the operand at fault."""

    def __init__(self, message: str, role: str = "") -> None:
        super().__init__(message)
        self.role = role


@dataclass(frozen=True, slots=True)
class Reg:
    """A register as a FLEX operand."""

    index: int


@dataclass(frozen=True, slots=True)
class Imm:
    """A 32-bit immediate as a FLEX operand: 0 <= value < 2**32."""

    value: int


@dataclass(frozen=True, slots=True)
class Param:
    """A kernel parameter as a FLEX operand: byte offset, a multiple of 4."""

    offset: int


Value = int | tuple[int, int] | tuple[int, bool] | Reg | Imm | Param
"""REG, IMM, LABEL, SREG, ACC: int; PRED: (index, negate); ADDR: (register, signed offset)."""
ALWAYS = (PT, False)
"""The guard of an unguarded instruction."""


@dataclass(frozen=True)
class Inst:
    """One instruction. Omitted optional predicates are PT, omitted modifiers "" where allowed."""

    mnemonic: str
    operands: Mapping[str, Value] = field(default_factory=dict[str, Value])
    modifiers: Mapping[str, str] = field(default_factory=dict[str, str])
    guard: tuple[int, bool] = ALWAYS

    @property
    def row(self) -> Instruction:
        """The instruction's row in the table; `EncodingError` if there is none."""
        row = INSTRUCTIONS.get(self.mnemonic)
        if row is None:
            raise EncodingError(f"there is no instruction {self.mnemonic}; see `dstc isa`")
        return row

    def groups(self) -> Iterator[tuple[Operand, int, int]]:
        """(operand, first register, registers) of each register group but RZ, table order."""
        row = self.row
        for operand in row.operands:
            value = self.operands.get(operand.role)
            if operand.kind is Kind.ADDR and isinstance(value, tuple):
                value = value[0]
            elif operand.kind is Kind.FLEX and isinstance(value, Reg):
                value = value.index
            elif operand.kind is not Kind.REG:
                continue
            if isinstance(value, int) and value != RZ:
                yield operand, value, row.registers(operand, self.modifiers)


@dataclass(frozen=True)
class BitField:
    """Bits [shift, shift + bits) of a word, and what they hold when an instruction has no use."""

    word: int
    shift: int
    bits: int
    unused: int
    holds: str

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.bits) - 1) << self.shift


FIELDS: dict[str, BitField] = {
    "opcode": BitField(0, 0, 8, 0, "opcode"),
    "guard": BitField(0, 8, 3, PT, "guard predicate"),
    "guard_negate": BitField(0, 11, 1, 0, "the guard is negated"),
    "rd": BitField(0, 12, 8, RZ, "register d"),
    "ra": BitField(0, 20, 8, RZ, "register a, or an address's register"),
    "rb": BitField(0, 28, 8, RZ, "register b"),
    "rc": BitField(0, 36, 8, RZ, "register c"),
    "pd": BitField(0, 44, 3, PT, "predicate written"),
    "pa": BitField(0, 47, 3, PT, "first predicate read"),
    "pa_negate": BitField(0, 50, 1, 0, "it is negated"),
    "pb": BitField(0, 51, 3, PT, "second predicate read"),
    "pb_negate": BitField(0, 54, 1, 0, "it is negated"),
    "form": BitField(0, 55, 2, 0, "form of a flexible b: 0 register, 1 immediate, 2 parameter"),
    "acc": BitField(0, 57, 5, 0, "accumulation tile"),
    "imm": BitField(1, 0, 32, 0, "immediate, signed address offset, parameter offset in bytes, "
                                 "branch target (instruction index), special register"),
    "modifiers": BitField(1, 32, 24, 0, "modifier indices, in the table's order from bit 32"),
    "re": BitField(1, 56, 8, 0, "register e"),
}  # fmt: skip
"""Every field, at the same place in every instruction. Bits of no field are zero."""

_BLANK = sum(f.unused << f.shift for f in FIELDS.values() if f.word == 0)
_U32 = 0xFFFFFFFF


def modifier_fields(row: Instruction) -> list[tuple[Modifier, int]]:
    """Each modifier of an instruction with its lowest bit in word 1."""
    shift, result = FIELDS["modifiers"].shift, list[tuple[Modifier, int]]()
    for modifier in row.modifiers:
        result.append((modifier, shift))
        shift += modifier.bits
    assert shift <= FIELDS["modifiers"].shift + FIELDS["modifiers"].bits, row.mnemonic
    return result


@dataclass(frozen=True)
class _Codec:
    """What encoding and decoding an instruction needs, computed once."""

    row: Instruction
    base: int
    modifiers: tuple[tuple[Modifier, int, dict[str, int]], ...]

    @staticmethod
    def of(row: Instruction) -> _Codec:
        fields = tuple(
            (modifier, shift, {c: i << shift for i, c in enumerate(modifier.choices)})
            for modifier, shift in modifier_fields(row)
        )
        return _Codec(row, _BLANK | row.opcode, fields)


_CODECS = {mnemonic: _Codec.of(row) for mnemonic, row in INSTRUCTIONS.items()}


def _put(name: str, value: int) -> int:
    """What to exclusive-or into the blank word of field `name` so that it holds `value`."""
    at = FIELDS[name]
    return (value ^ at.unused) << at.shift


def _integer(value: object, limit: int, what: str, operand: Operand) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise EncodingError(f"{what} must be 0 to {limit - 1:#x}, not {value!r}", operand.role)
    return value


def _register(value: object, operand: Operand, row: Instruction, mods: Mapping[str, str]) -> int:
    if type(value) is not int or not 0 <= value <= RZ:
        raise EncodingError(f"needs a register R0 to R254 or RZ, not {value!r}", operand.role)
    count = operand.regs or row.registers(operand, mods)
    if count > 1 and value != RZ:
        align = min(4, count)
        if value % align:
            raise EncodingError(
                f"R{value} starts a group of {count} registers, which must start at a multiple "
                f"of {align}",
                operand.role,
            )
        if value + count > NUM_REGISTERS:
            raise EncodingError(
                f"R{value} starts a group of {count} registers, past R254; start it lower",
                operand.role,
            )
    return value


_Encoder = Callable[[object, Operand, Instruction, Mapping[str, str]], tuple[int, int]]
_Decoder = Callable[[int, int, Operand], Value]


def _encode_reg(
    value: object, operand: Operand, row: Instruction, mods: Mapping[str, str]
) -> tuple[int, int]:
    bits = _put(operand.field, _register(value, operand, row, mods))
    return (0, bits) if FIELDS[operand.field].word else (bits, 0)


def _pair(value: object, operand: Operand, what: str) -> tuple[object, object]:
    if not isinstance(value, tuple) or len(value) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise EncodingError(f"needs {what}, not {value!r}", operand.role)
    return value  # pyright: ignore[reportUnknownVariableType]


def _encode_pred(
    value: object, operand: Operand, _row: Instruction, _mods: Mapping[str, str]
) -> tuple[int, int]:
    index, negate = _pair(value, operand, "a predicate (index, negate)")
    word = _put(operand.field, _integer(index, 8, "predicate index", operand))
    if negate:
        if operand.write:
            raise EncodingError("a predicate that is written cannot be negated", operand.role)
        word ^= 1 << FIELDS[operand.field + "_negate"].shift
    return word, 0


def _encode_flex(
    value: object, operand: Operand, row: Instruction, mods: Mapping[str, str]
) -> tuple[int, int]:
    if isinstance(value, Reg):
        return _put("rb", _register(value.index, operand, row, mods)), 0
    if isinstance(value, Imm):
        return _put("form", 1), _integer(value.value, 1 << 32, "immediate", operand)
    if isinstance(value, Param):
        offset = _integer(value.offset, 1 << 32, "parameter offset", operand)
        if offset % 4:
            raise EncodingError(
                f"parameter offset {offset:#x} must be a multiple of 4", operand.role
            )
        return _put("form", 2), offset
    raise EncodingError(f"needs Reg, Imm or Param, not {value!r}", operand.role)


def _encode_word(limit: int, what: str) -> _Encoder:
    def encoder(
        value: object, operand: Operand, _row: Instruction, _mods: Mapping[str, str]
    ) -> tuple[int, int]:
        return 0, _integer(value, limit, what, operand)

    return encoder


def _encode_addr(
    value: object, operand: Operand, row: Instruction, mods: Mapping[str, str]
) -> tuple[int, int]:
    register, offset = _pair(value, operand, "an address (register, offset)")
    if type(offset) is not int or not -(1 << 31) <= offset < 1 << 31:
        raise EncodingError(
            f"address offset must fit 32 signed bits, unlike {offset!r}", operand.role
        )
    # An address is one register, whatever the width of the data.
    if type(register) is not int or not 0 <= register <= RZ:
        raise EncodingError(f"needs a register R0 to R254 or RZ, not {register!r}", operand.role)
    del row, mods
    return _put(operand.field, register), offset & _U32


def _encode_acc(
    value: object, operand: Operand, _row: Instruction, _mods: Mapping[str, str]
) -> tuple[int, int]:
    tile = _integer(value, MAX_ACC_TILES, "accumulation tile", operand)
    if tile % operand.regs:
        raise EncodingError(
            f"ACC{tile} starts a group of {operand.regs} tiles, which must start at a multiple of "
            f"{operand.regs}",
            operand.role,
        )
    return _put("acc", tile), 0


def _get(word: int, name: str) -> int:
    at = FIELDS[name]
    return (word >> at.shift) & ((1 << at.bits) - 1)


def _decode_reg(w0: int, w1: int, operand: Operand) -> Value:
    at = FIELDS[operand.field]
    return ((w1 if at.word else w0) >> at.shift) & 0xFF


def _decode_pred(w0: int, _w1: int, operand: Operand) -> Value:
    negate = False if operand.write else bool(_get(w0, operand.field + "_negate"))
    return _get(w0, operand.field), negate


def _decode_flex(w0: int, w1: int, operand: Operand) -> Value:
    form = _get(w0, "form")
    if form == 0:
        return Reg(_get(w0, "rb"))
    if form == 3:
        raise EncodingError("operand form 3 is undefined", operand.role)
    return Imm(w1 & _U32) if form == 1 else Param(w1 & _U32)


def _decode_imm(_w0: int, w1: int, _operand: Operand) -> Value:
    return w1 & _U32


def _decode_addr(w0: int, w1: int, operand: Operand) -> Value:
    offset = w1 & _U32
    return _get(w0, operand.field), offset - (1 << 32) if offset >> 31 else offset


_KINDS: dict[Kind, tuple[_Encoder, _Decoder]] = {
    Kind.REG: (_encode_reg, _decode_reg),
    Kind.PRED: (_encode_pred, _decode_pred),
    Kind.FLEX: (_encode_flex, _decode_flex),
    Kind.IMM: (_encode_word(1 << 32, "immediate"), _decode_imm),
    Kind.LABEL: (_encode_word(1 << 32, "branch target"), _decode_imm),
    Kind.SREG: (_encode_word(len(SPECIAL_REGISTERS), "special register index"), _decode_imm),
    Kind.ADDR: (_encode_addr, _decode_addr),
    Kind.ACC: (_encode_acc, lambda w0, _w1, _operand: _get(w0, "acc")),
}


def encode(inst: Inst) -> tuple[int, int]:
    """The two 64-bit words of an instruction; `EncodingError` says what does not fit."""
    codec = _CODECS.get(inst.mnemonic)
    if codec is None:
        raise EncodingError(f"there is no instruction {inst.mnemonic}; see `dstc isa`")
    w0, w1 = codec.base, 0
    guard, negate = inst.guard
    if inst.guard != ALWAYS:
        if not 0 <= guard <= PT:
            raise EncodingError(f"guard predicate must be 0 to 7, not {guard}")
        w0 ^= _put("guard", guard) | _put("guard_negate", int(negate))
    for modifier, _shift, indices in codec.modifiers:
        index = indices.get(inst.modifiers.get(modifier.name, ""))
        if index is None:
            given = inst.modifiers.get(modifier.name, "")
            choices = ", ".join(c or "(nothing)" for c in modifier.choices)
            raise EncodingError(
                f"{inst.mnemonic}: {modifier.name} must be one of {choices}, not '{given}'"
            )
        w1 |= index
    for operand in codec.row.operands:
        value = inst.operands.get(operand.role)
        if value is None:
            if operand.optional:
                continue
            raise EncodingError(
                f"{inst.mnemonic} has no operand '{operand.role}'; give it", operand.role
            )
        try:
            d0, d1 = _KINDS[operand.kind][0](value, operand, codec.row, inst.modifiers)
        except EncodingError as error:
            raise EncodingError(
                f"{inst.mnemonic}: operand '{operand.role}' {error}", error.role
            ) from None
        w0 ^= d0
        w1 |= d1
    return w0, w1


def decode(w0: int, w1: int) -> Inst:
    """The instruction that two 64-bit words encode.

    Strict: what `encode` would not write (an unknown opcode or modifier, unused bits, a misaligned
    register group, ...) raises `EncodingError`.
    """
    w0, w1 = int(w0), int(w1)
    row = BY_OPCODE.get(w0 & 0xFF)
    if row is None:
        raise EncodingError(f"opcode {w0 & 0xFF:#04x} is undefined")
    modifiers: dict[str, str] = {}
    for modifier, shift, _indices in _CODECS[row.mnemonic].modifiers:
        index = (w1 >> shift) & ((1 << modifier.bits) - 1)
        if index >= len(modifier.choices):
            raise EncodingError(f"{row.mnemonic}: {modifier.name} {index} is undefined")
        modifiers[modifier.name] = modifier.choices[index]
    operands = {operand.role: _KINDS[operand.kind][1](w0, w1, operand) for operand in row.operands}
    guard = (w0 >> 8 & 7, bool(w0 >> 11 & 1))
    inst = Inst(row.mnemonic, operands, modifiers, guard)
    c0, c1 = encode(inst)
    if (c0, c1) != (w0, w1):
        raise EncodingError(
            f"{row.mnemonic}: unused bits are set ({c0 ^ w0:#x} in word 0, {c1 ^ w1:#x} in word 1)"
        )
    return inst


Words = NDArray[np.uint64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scan:
    """What a program's instructions need, one entry an instruction, without decoding each.

    valid: `decode` accepts it; registers: highest register + 1; acc, param, target: the highest
    accumulation tile, parameter offset in bytes, branch target, or -1. Only `valid` counts where
    it is false.
    """

    valid: NDArray[np.bool_]
    registers: Ints
    acc: Ints
    param: Ints
    target: Ints


def _field(words: tuple[Words, Words], name: str) -> Ints:
    at = FIELDS[name]
    mask = np.uint64((1 << at.bits) - 1)
    return ((words[at.word] >> np.uint64(at.shift)) & mask).astype(np.int64)


def _fixed_bits(row: Instruction) -> tuple[tuple[int, int], tuple[int, int]]:
    """(mask, value) for each word of the bits that are the same in every such instruction."""
    free = [FIELDS["guard"].mask | FIELDS["guard_negate"].mask, 0]
    for modifier, shift in modifier_fields(row):
        free[1] |= ((1 << modifier.bits) - 1) << shift
    for operand in row.operands:
        names = [operand.field]
        if operand.kind is Kind.FLEX:
            names += ["form", "imm"]
        elif operand.kind is Kind.ADDR:
            names.append("imm")
        elif operand.kind is Kind.PRED and not operand.write:
            names.append(operand.field + "_negate")
        for name in names:
            free[FIELDS[name].word] |= FIELDS[name].mask
    full = (1 << 64) - 1
    mask0, mask1 = full & ~free[0], full & ~free[1]
    return (mask0, (_BLANK | row.opcode) & mask0), (mask1, 0)


_FIXED = {row.opcode: _fixed_bits(row) for row in INSTRUCTIONS.values()}


def scan(code: Words) -> Scan:
    """Checks every instruction of `code`, uint64 (n, 2), as strictly as `decode` does."""
    n = len(code)
    result = Scan(np.zeros(n, np.bool_), *(np.full(n, -1, np.int64) for _ in range(4)))
    result.registers[:] = 0
    opcodes = (code[:, 0] & np.uint64(0xFF)).astype(np.int64)
    for opcode in np.unique(opcodes).tolist():
        row = BY_OPCODE.get(opcode)
        if row is None:
            continue
        at = np.flatnonzero(opcodes == opcode)
        _scan_row(row, (code[at, 0], code[at, 1]), at, result)
    return result


def _scan_row(row: Instruction, words: tuple[Words, Words], at: Ints, out: Scan) -> None:
    valid = np.ones(len(at), np.bool_)
    for word, (mask, value) in zip(words, _FIXED[row.opcode], strict=True):
        valid &= (word & np.uint64(mask)) == np.uint64(value)
    chosen: dict[str, Ints] = {}  # registers of the groups that a modifier sizes
    for modifier, shift in modifier_fields(row):
        index = (words[1] >> np.uint64(shift)).astype(np.int64) & ((1 << modifier.bits) - 1)
        valid &= index < len(modifier.choices)
        if modifier.registers:
            sizes = np.array(modifier.registers, np.int64)
            chosen[modifier.name] = sizes[np.minimum(index, len(sizes) - 1)]
    registers = np.zeros(len(at), np.int64)
    imm = _field(words, "imm")
    for operand in row.operands:
        match operand.kind:
            case Kind.REG | Kind.ADDR | Kind.FLEX:
                first = _field(words, operand.field)
                count: Ints = chosen[operand.sized_by] if operand.regs == 0 else np.full(
                    len(at), operand.regs, np.int64
                )  # fmt: skip
                end: Ints = first + count
                real: NDArray[np.bool_] = first != RZ
                aligned: NDArray[np.bool_] = first % np.minimum(count, 4) == 0
                valid &= ~real | (aligned & (end <= NUM_REGISTERS))
                registers = np.maximum(registers, np.where(real, end, 0))
                if operand.kind is Kind.FLEX:
                    form = _field(words, "form")
                    valid &= np.where(form == 0, imm == 0, ~real) & (form != 3)
                    valid &= (form != 2) | (imm % 4 == 0)
                    out.param[at] = np.where(form == 2, imm, -1)
            case Kind.LABEL:
                out.target[at] = imm
            case Kind.SREG:
                valid &= imm < len(SPECIAL_REGISTERS)
            case Kind.ACC:
                tile = _field(words, "acc")
                valid &= tile % operand.regs == 0
                out.acc[at] = tile + operand.regs - 1
            case Kind.PRED | Kind.IMM:
                pass  # every value is valid
    out.valid[at] = valid
    out.registers[at] = registers
