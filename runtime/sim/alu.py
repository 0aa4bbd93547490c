"""What the lane-wise instructions compute: one row a form, on vectors of 32 lanes.

In: register rows as LLVM vectors. Out: two intrinsics, `alu` (to a register) and `compare` (to a
predicate), that switch over the rows. The number of a form is fixed by the decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...backend.isa.table import SIGN
from .intrinsics import I1, I32, V32F, V32I, intrinsic, load, pointer, splat, widen

_V1 = ir.VectorType(I1, 32)
_V64 = ir.VectorType(ir.IntType(64), 32)


class Lanes:
    """The operands of a form: a, b, c as <32 x i32>, p as <32 x i1>; and the operations."""

    def __init__(self, builder: Any, a: Any, b: Any, c: Any, p: Any = None) -> None:
        self.builder, self.a, self.b, self.c, self.p = builder, a, b, c, p

    def __getattr__(self, name: str) -> Any:
        return getattr(self.builder, name)

    @property
    def fa(self) -> Any:
        """Operand a as f32."""
        return self.builder.bitcast(self.a, V32F)

    @property
    def fb(self) -> Any:
        """Operand b as f32."""
        return self.builder.bitcast(self.b, V32F)

    @property
    def fc(self) -> Any:
        """Operand c as f32."""
        return self.builder.bitcast(self.c, V32F)

    def bits(self, value: Any) -> Any:
        """An f32 vector as i32."""
        return self.builder.bitcast(value, V32I)

    def call(self, name: str, result: Any, *args: Any) -> Any:
        """An LLVM intrinsic by its full name."""
        kind = ir.FunctionType(result, [arg.type for arg in args])
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, name), args
        )

    def shifted(self, emit: str) -> Any:
        """a shifted by b; logical shifts by more than 31 give 0, arithmetic ones the sign."""
        fits = self.builder.icmp_unsigned("<", self.b, splat(32, V32I))
        amount = self.builder.select(fits, self.b, splat(31, V32I))
        result = getattr(self.builder, emit)(self.a, amount)
        return result if emit == "ashr" else self.builder.select(fits, result, splat(0, V32I))

    def high_product(self) -> Any:
        """High words of the unsigned a * b."""
        b = self.builder
        product = b.mul(b.zext(self.a, _V64), b.zext(self.b, _V64))
        return b.trunc(b.lshr(product, splat(32, _V64)), V32I)

    def float_extreme(self, relation: str, *, number_wins: bool) -> Any:
        """min ("<") or max (">"), -0 < +0; which operand wins over a NaN."""
        b = self.builder

        def key(bits: Any) -> Any:
            flip = b.lshr(b.ashr(bits, splat(31, V32I)), splat(1, V32I))
            return b.xor(bits, flip)

        best = b.select(b.icmp_signed(relation, key(self.a), key(self.b)), self.a, self.b)
        over_a, over_b = (self.b, self.a) if number_wins else (self.a, self.b)
        best = b.select(b.fcmp_unordered("uno", self.fa, self.fa), over_a, best)
        return b.select(b.fcmp_unordered("uno", self.fb, self.fb), over_b, best)

    def narrow(self, bits: Any) -> Any:
        """f16 bits (low 16 of each lane) of f32 bits; to nearest even, NaN stays NaN."""
        b = self.builder

        def at(value: int) -> Any:
            return splat(value, V32I)

        sign = b.and_(b.lshr(bits, at(16)), at(0x8000))
        size = b.and_(bits, at(0x7FFFFFFF))
        odd = b.and_(b.lshr(size, at(13)), at(1))
        rebias = (0xFFF - (112 << 23)) & 0xFFFFFFFF
        normal = b.lshr(b.add(b.add(size, at(rebias)), odd), at(13))
        half = b.fadd(b.bitcast(size, V32F), splat(0.5, V32F))  # aligns an f16 subnormal's ulp
        subnormal = b.sub(b.bitcast(half, V32I), at(0x3F000000))
        payload = b.or_(b.and_(b.lshr(size, at(13)), at(0x3FF)), at(0x7E00))
        nan = b.icmp_unsigned(">", size, at(0x7F800000))
        large = b.select(nan, payload, at(0x7C00))
        small = b.icmp_unsigned("<", size, at(113 << 23))
        result = b.select(small, subnormal, normal)
        result = b.select(b.icmp_unsigned(">=", size, at(143 << 23)), large, result)
        return b.or_(result, sign)


Form = tuple[str, ...]
"""A mnemonic and the modifiers that choose what it computes."""

REGISTER_FORMS: dict[Form, Callable[[Lanes], Any]] = {
    ("MOV",): lambda v: v.b,
    ("SEL",): lambda v: v.select(v.p, v.a, v.b),
    ("IADD3",): lambda v: v.add(v.add(v.a, v.b), v.c),
    ("ISUB",): lambda v: v.sub(v.a, v.b),
    ("IMAD", "LO"): lambda v: v.add(v.mul(v.a, v.b), v.c),
    ("IMAD", "HI"): lambda v: v.add(v.high_product(), v.c),
    ("IMNMX", "MIN", "U32"): lambda v: v.select(v.icmp_unsigned("<", v.a, v.b), v.a, v.b),
    ("IMNMX", "MAX", "U32"): lambda v: v.select(v.icmp_unsigned(">", v.a, v.b), v.a, v.b),
    ("IMNMX", "MIN", "S32"): lambda v: v.select(v.icmp_signed("<", v.a, v.b), v.a, v.b),
    ("IMNMX", "MAX", "S32"): lambda v: v.select(v.icmp_signed(">", v.a, v.b), v.a, v.b),
    ("LOP", "AND"): lambda v: v.and_(v.a, v.b),
    ("LOP", "OR"): lambda v: v.or_(v.a, v.b),
    ("LOP", "XOR"): lambda v: v.xor(v.a, v.b),
    ("LOP", "ANDN"): lambda v: v.and_(v.a, v.not_(v.b)),
    ("SHL",): lambda v: v.shifted("shl"),
    ("SHR", "U32"): lambda v: v.shifted("lshr"),
    ("SHR", "S32"): lambda v: v.shifted("ashr"),
    ("SHF", "L"): lambda v: v.call("llvm.fshl.v32i32", V32I, v.c, v.a, v.b),
    ("SHF", "R"): lambda v: v.call("llvm.fshr.v32i32", V32I, v.c, v.a, v.b),
    ("POPC",): lambda v: v.call("llvm.ctpop.v32i32", V32I, v.a),
    ("FLO",): lambda v: v.sub(
        splat(31, V32I), v.call("llvm.ctlz.v32i32", V32I, v.a, ir.Constant(I1, 0))
    ),
    ("BREV",): lambda v: v.call("llvm.bitreverse.v32i32", V32I, v.a),
    ("FADD",): lambda v: v.bits(v.fadd(v.fa, v.fb)),
    ("FMUL",): lambda v: v.bits(v.fmul(v.fa, v.fb)),
    ("FFMA",): lambda v: v.bits(v.call("llvm.fma.v32f32", V32F, v.fa, v.fb, v.fc)),
    ("FMNMX", "MIN", ""): lambda v: v.float_extreme("<", number_wins=True),
    ("FMNMX", "MAX", ""): lambda v: v.float_extreme(">", number_wins=True),
    ("FMNMX", "MIN", "NAN"): lambda v: v.float_extreme("<", number_wins=False),
    ("FMNMX", "MAX", "NAN"): lambda v: v.float_extreme(">", number_wins=False),
    ("I2F", "U32"): lambda v: v.bits(v.uitofp(v.a, V32F)),
    ("I2F", "S32"): lambda v: v.bits(v.sitofp(v.a, V32F)),
    ("F2I", "U32"): lambda v: v.call("llvm.fptoui.sat.v32i32.v32f32", V32I, v.fa),
    ("F2I", "S32"): lambda v: v.call("llvm.fptosi.sat.v32i32.v32f32", V32I, v.fa),
    ("F2F", "LO"): lambda v: v.bits(widen(v.builder, v.a)),
    ("F2F", "HI"): lambda v: v.bits(widen(v.builder, v.lshr(v.a, splat(16, V32I)))),
    ("PACK",): lambda v: v.or_(v.narrow(v.a), v.shl(v.narrow(v.b), splat(16, V32I))),
}
"""Forms whose result is a register of each lane."""

_RELATIONS = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}


def _integer(relation: str, signed: bool) -> Callable[[Lanes], Any]:
    if signed:
        return lambda v: v.icmp_signed(relation, v.a, v.b)
    return lambda v: v.icmp_unsigned(relation, v.a, v.b)


def _common(relation: str) -> Callable[[Lanes], Any]:
    return lambda v: v.icmp_unsigned(relation, v.and_(v.a, v.b), splat(0, V32I))


_COMMON = {"ANY": "!=", "NONE": "=="}
"""Relations of the ones that a and b have in common to none."""


def _floating(relation: str) -> Callable[[Lanes], Any]:
    if relation == "!=":
        return lambda v: v.fcmp_unordered(relation, v.fa, v.fb)
    return lambda v: v.fcmp_ordered(relation, v.fa, v.fb)


COMPARE_FORMS: dict[Form, Callable[[Lanes], Any]] = {
    **{("ISETP", k, "U32"): _integer(r, False) for k, r in _RELATIONS.items()},
    **{("ISETP", k, "S32"): _integer(r, True) for k, r in _RELATIONS.items()},
    **{("ISETP", k, sign): _common(r) for k, r in _COMMON.items() for sign in SIGN.choices},
    **{("FSETP", k): _floating(r) for k, r in _RELATIONS.items()},
}
"""Forms whose result is a predicate of each lane."""

FORM_NUMBER = {form: i for i, form in enumerate(REGISTER_FORMS)} | {
    form: i for i, form in enumerate(COMPARE_FORMS)
}
"""Number of a form in its intrinsic's switch."""


def _switch(builder: Any, number: Any, forms: Any, lanes: Lanes, finish: Any) -> None:
    done = builder.append_basic_block("forms.done")
    switch = builder.switch(number, done)
    for i, emit in enumerate(forms.values()):
        block = builder.append_basic_block(f"form.{i}")
        switch.add_case(ir.Constant(number.type, i), block)
        with builder.goto_block(block):
            finish(emit(lanes))
            builder.branch(done)
    builder.position_at_end(done)


@intrinsic
def alu(
    _context: Any, regs: Any, _form: Any, _d: Any, _a: Any, _b: Any, _c: Any, _p: Any, _mask: Any
) -> Any:
    """alu(regs, form, d, a, b, c, p, mask): a register form, written in the lanes of `mask`.

    `regs` is the flat uint32 register file, d, a, b, c element offsets, p and mask lane masks.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(i: int) -> Any:
            return pointer(context, builder, signature.args[0], args[0], args[i], V32I)

        to = at(2)
        a, b, c = (load(builder, at(i)) for i in (3, 4, 5))
        lanes = Lanes(builder, a, b, c, builder.bitcast(args[6], _V1))
        mask = builder.bitcast(args[7], _V1)
        old = load(builder, to)

        def finish(value: Any) -> None:
            builder.store(builder.select(mask, value, old), to, align=4)

        _switch(builder, args[1], REGISTER_FORMS, lanes, finish)
        return context.get_dummy_value()

    at, word = types.intp, types.uint32
    return types.void(regs, at, at, at, at, at, word, word), codegen


@intrinsic
def compare(_context: Any, regs: Any, _form: Any, _a: Any, _b: Any) -> Any:
    """compare(regs, form, a, b): lane mask of a compare form."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(i: int) -> Any:
            return pointer(context, builder, signature.args[0], args[0], args[i], V32I)

        a, b = load(builder, at(2)), load(builder, at(3))
        result = cgutils.alloca_once(builder, I32)

        def finish(value: Any) -> None:
            builder.store(builder.bitcast(value, I32), result)

        _switch(builder, args[1], COMPARE_FORMS, Lanes(builder, a, b, a), finish)
        return builder.load(result)

    at = types.intp
    return types.uint32(regs, at, at, at), codegen


@intrinsic
def copy_lanes(_context: Any, regs: Any, _d: Any, _a: Any, _mask: Any) -> Any:
    """copy_lanes(regs, d, a, mask): register d = register a in the lanes of `mask`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(i: int) -> Any:
            return pointer(context, builder, signature.args[0], args[0], args[i], V32I)

        to, mask = at(1), builder.bitcast(args[3], _V1)
        new = load(builder, at(2))
        builder.store(builder.select(mask, new, load(builder, to)), to, align=4)
        return context.get_dummy_value()

    return types.void(regs, types.intp, types.intp, types.uint32), codegen
