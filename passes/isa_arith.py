"""Instructions of `arith` ops: integers, floats, predicates. Not a pass.

In: `arith` ops of a kernel. Out: `HANDLERS`; products and sums with one use are taken in by the
addition that uses them, comparisons by the conjunction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr, i1
from xdsl.ir import Attribute, Operation
from xdsl.utils.bitwise_casts import convert_f32_to_u32

from ..dialects import dstc_tile as tile
from ..dialects.dstc_isa import Use
from .isa_builder import (
    SWAPPED,
    Constant,
    Deferred,
    Handler,
    KernelConverter,
    Word,
    only_user,
    power_of_two,
)

_BINARY: dict[type[Operation], tuple[str, tuple[str, ...], bool]] = {
    arith.SubiOp: ("ISUB", (), False),
    arith.AndIOp: ("LOP", ("AND",), True),
    arith.OrIOp: ("LOP", ("OR",), True),
    arith.XOrIOp: ("LOP", ("XOR",), True),
    arith.ShLIOp: ("SHL", (), False),
    arith.ShRUIOp: ("SHR", ("U32",), False),
    arith.ShRSIOp: ("SHR", ("S32",), False),
    arith.MinUIOp: ("IMNMX", ("MIN", "U32"), True),
    arith.MaxUIOp: ("IMNMX", ("MAX", "U32"), True),
    arith.MinSIOp: ("IMNMX", ("MIN", "S32"), True),
    arith.MaxSIOp: ("IMNMX", ("MAX", "S32"), True),
    arith.AddfOp: ("FADD", (), True),
    arith.MulfOp: ("FMUL", (), True),
    arith.MaxnumfOp: ("FMNMX", ("MAX", ""), True),
    arith.MinnumfOp: ("FMNMX", ("MIN", ""), True),
    arith.MaximumfOp: ("FMNMX", ("MAX", "NAN"), True),
    arith.MinimumfOp: ("FMNMX", ("MIN", "NAN"), True),
}
"""Two-operand ops: mnemonic, modifiers, whether the operands commute."""
_LOGIC: dict[type[Operation], tuple[str, ...]] = {
    arith.AndIOp: ("AND",),
    arith.OrIOp: ("OR",),
    arith.XOrIOp: ("XOR",),
}
"""On predicates: PLOP's modifiers."""


def magic(divisor: int) -> tuple[int, int]:
    """(m, s) with n // divisor == (n * m >> 32) >> s for all n < 2^31.

    Granlund and Montgomery, Division by invariant integers using multiplication, PLDI 1994.
    """
    bits = (divisor - 1).bit_length()
    return -(-(1 << (31 + bits)) // divisor), bits - 1


def _constant(c: KernelConverter, op: arith.ConstantOp) -> None:
    value: Attribute = op.value
    if op.result.type == i1:
        if isinstance(value, IntegerAttr) and value.value.data == 0:
            never = c.cache(
                "never",
                lambda: c.emit("ISETP", modifiers=("NE", "U32"), immediates={"b": 0}, at_top=True),
            )
            c.predicates[op.result] = never
        else:
            c.predicates[op.result] = None
        return
    if not tile.is_words(op.result.type):
        raise c.error(f"a constant of {op.result.type} has no instruction; use i32 or f32")
    numbers: Sequence[Any] = []
    match value:
        case FloatAttr() | IntegerAttr():
            numbers = [value.value.data]
        case DenseIntOrFPElementsAttr():
            numbers = cast("Sequence[Any]", value.get_values())
        case _:
            raise c.error(f"the constant {value} has no instruction")
    c.words[op.result] = [
        Constant(convert_f32_to_u32(n) if isinstance(n, float) else int(n) & 0xFFFFFFFF)
        for n in numbers
    ]


def _addi(c: KernelConverter, op: arith.AddiOp) -> None:
    inputs = [op.lhs, op.rhs]
    taken = next((v for v in inputs if v in c.deferred), None)
    if taken is not None:
        d = c.deferred[taken]
        other = c.word(inputs[1 - inputs.index(taken)])
        if d.kind == "mul" and isinstance(other, Constant):
            c.force(taken)  # IMAD adds registers only
            c.words[op.result] = [c.add3(c.word(taken), other, Constant(0))]
            return
        del c.deferred[taken]
        if d.kind == "mul":
            c.words[op.result] = [c.multiply_add(d.a, d.b, other)]
        else:
            c.words[op.result] = [c.add3(d.a, d.b, other)]
        return
    a, b = c.word(op.lhs), c.word(op.rhs)
    user = only_user(op.result)
    if isinstance(user, arith.AddiOp) and user.parent is op.parent:
        c.deferred[op.result] = Deferred("add", a, b)
    else:
        c.words[op.result] = [c.add3(a, b, Constant(0))]


def _multiply(c: KernelConverter, op: Operation) -> None:
    a, b = c.word(op.operands[0]), c.word(op.operands[1])
    if isinstance(op, arith.ShLIOp):
        if not isinstance(b, Constant) or b.bits > 31 or not isinstance(a, Use):
            _binary(c, op)
            return
        b = Constant(1 << b.bits)
    user = only_user(op.results[0])
    if isinstance(user, arith.AddiOp) and user.parent is op.parent:
        c.deferred[op.results[0]] = Deferred("mul", a, b)
    else:
        c.words[op.results[0]] = [c.multiply_add(a, b, Constant(0))]


def _binary(c: KernelConverter, op: Operation) -> None:
    if op.results[0].type == i1:
        _logic(c, op)
        return
    mnemonic, modifiers, commutes = _BINARY[type(op)]
    a, b = c.word(op.operands[0]), c.word(op.operands[1])
    if commutes and not isinstance(a, Use):
        a, b = b, a
    c.words[op.results[0]] = [c.compute(mnemonic, a, b, None, *modifiers)]


def _logic(c: KernelConverter, op: Operation) -> None:
    if type(op) not in _LOGIC:
        raise c.error(f"{op.name} of predicates has no instruction; use andi, ori or xori")
    # ISETP takes in the conjunction: of two comparisons, the one that fewer others need.
    free = [
        v
        for v in op.operands
        if isinstance(v.owner, arith.CmpiOp) and (c.block, v) not in c.compared
    ]
    if free and isinstance(op, arith.AndIOp):
        taken = min(free, key=lambda v: sum(1 for _ in v.uses))
        other = op.operands[1 if taken is op.operands[0] else 0]
        assert isinstance(taken.owner, arith.CmpiOp)
        c.predicates[op.results[0]] = c.compare(taken.owner, c.predicate(other))
        return
    both = [c.predicate(v) for v in op.operands]
    uses = {role: p for role, p in zip(("pa", "pb"), both, strict=True) if p is not None}
    c.predicates[op.results[0]] = c.emit("PLOP", uses, modifiers=_LOGIC[type(op)])


def _quotient(c: KernelConverter, op: arith.DivUIOp | arith.RemUIOp) -> tuple[Word, int, Word]:
    """(dividend, divisor, quotient); a divisor that is no power of two needs a dividend < 2^31."""
    divisor = c.word(op.rhs)
    if not isinstance(divisor, Constant) or not divisor.bits:
        raise c.error(f"{op.name}: only division by a constant above 0 has instructions")
    dividend = c.word(op.lhs)
    power = power_of_two(divisor)
    if power is not None:
        shifted = c.compute("SHR", dividend, Constant(power), None, "U32") if power else dividend
        return dividend, divisor.bits, shifted
    m, s = magic(divisor.bits)
    high = c.compute("IMAD", dividend, Constant(m), Constant(0), "HI")
    return dividend, divisor.bits, c.compute("SHR", high, Constant(s), None, "U32")


def _divide(c: KernelConverter, op: arith.DivUIOp) -> None:
    c.words[op.result] = [_quotient(c, op)[2]]


def _remainder(c: KernelConverter, op: arith.RemUIOp) -> None:
    divisor = c.word(op.rhs)
    if isinstance(divisor, Constant) and power_of_two(divisor) is not None:
        mask = Constant(divisor.bits - 1)
        c.words[op.result] = [c.compute("LOP", c.word(op.lhs), mask, None, "AND")]
        return
    dividend, number, quotient = _quotient(c, op)
    c.words[op.result] = [c.multiply_add(quotient, Constant(-number & 0xFFFFFFFF), dividend)]


_FLOAT_COMPARE = {1: "EQ", 2: "GT", 3: "GE", 4: "LT", 5: "LE", 13: "NE"}
"""arith.cmpf's predicate number (oeq, ogt, oge, olt, ole, une) -> FSETP's modifier."""


def _compare_floats(c: KernelConverter, op: arith.CmpfOp) -> None:
    relation = _FLOAT_COMPARE.get(op.predicate.value.data)
    if relation is None:
        raise c.error("arith.cmpf: only oeq, ogt, oge, olt, ole and une have an instruction")
    a, b = c.word(op.lhs), c.word(op.rhs)
    if not isinstance(a, Use) and isinstance(b, Use):
        a, b, relation = b, a, SWAPPED[relation]
    uses, immediates = c.operands(a, b)
    c.predicates[op.result] = c.emit("FSETP", uses, modifiers=(relation,), immediates=immediates)


def _subtract_floats(c: KernelConverter, op: arith.SubfOp) -> None:
    """a - b = b * -1 + a, rounded once."""
    a, b = c.word(op.lhs), c.word(op.rhs)
    c.words[op.result] = [c.compute("FFMA", b, Constant(_MINUS_ONE), a)]


_MINUS_ONE = 0xBF800000
_SIGN = 0x80000000


def _negate(c: KernelConverter, op: arith.NegfOp) -> None:
    c.words[op.result] = [c.compute("LOP", c.word(op.operand), Constant(_SIGN), None, "XOR")]


_CONVERSIONS: dict[type[Operation], tuple[str, str]] = {
    arith.SIToFPOp: ("I2F", "S32"),
    arith.UIToFPOp: ("I2F", "U32"),
    arith.FPToSIOp: ("F2I", "S32"),
    arith.FPToUIOp: ("F2I", "U32"),
}
"""Conversions: mnemonic and sign."""


def _convert(c: KernelConverter, op: Operation) -> None:
    mnemonic, sign = _CONVERSIONS[type(op)]
    uses, _ = c.operands(c.word(op.operands[0]))
    c.words[op.results[0]] = [c.emit(mnemonic, uses, modifiers=(sign,))]


def _select(c: KernelConverter, op: arith.SelectOp) -> None:
    condition = c.predicate(op.cond)
    pairs = zip(c.all_words(op.lhs), c.all_words(op.rhs), strict=True)
    c.words[op.result] = [c.select(condition, a, b) for a, b in pairs]


def _bitcast(c: KernelConverter, op: arith.BitcastOp) -> None:
    c.words[op.results[0]] = c.all_words(op.operands[0])


HANDLERS: dict[type[Operation], Handler] = {
    arith.ConstantOp: _constant,
    arith.AddiOp: _addi,
    arith.MuliOp: _multiply,
    arith.DivUIOp: _divide,
    arith.RemUIOp: _remainder,
    arith.CmpfOp: _compare_floats,
    arith.SubfOp: _subtract_floats,
    arith.NegfOp: _negate,
    **dict.fromkeys(_CONVERSIONS, _convert),
    arith.SelectOp: _select,
    arith.BitcastOp: _bitcast,
    **dict.fromkeys(_BINARY, _binary),
    arith.ShLIOp: _multiply,
}
"""Handlers by op."""
