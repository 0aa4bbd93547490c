"""Hypothesis strategies for instructions and kernels, drawn from the instruction table.

In: nothing. Out: random valid `Inst`s and `Kernel`s that use every instruction and operand form.
"""

import struct

import numpy as np
from dstc.backend.isa.encoding import Imm, Inst, Param, Reg, encode
from dstc.backend.isa.program import Kernel
from dstc.backend.isa.table import INSTRUCTIONS, NUM_REGISTERS, RZ, SPECIAL_REGISTERS, Kind
from hypothesis import strategies as st

U32 = st.integers(0, 2**32 - 1)
FLOAT_BITS = st.floats(width=32).map(lambda x: struct.unpack("<I", struct.pack("<f", x))[0])
PREDICATE = st.tuples(st.integers(0, 7), st.booleans())


@st.composite
def registers(draw, count):
    """First register of a group, aligned and inside; sometimes RZ."""
    align = min(4, count)
    last = (NUM_REGISTERS - count) // align
    return RZ if draw(st.integers(0, 9)) == 0 else align * draw(st.integers(0, last))


def operand_values(row, operand, modifiers, params, length):
    match operand.kind:
        case Kind.REG:
            return registers(row.registers(operand, modifiers))
        case Kind.PRED:
            return st.tuples(st.integers(0, 7), st.just(False)) if operand.write else PREDICATE
        case Kind.FLEX:
            forms = [registers(1).map(Reg), U32.map(Imm), FLOAT_BITS.map(Imm)]
            if params:
                forms.append(st.integers(0, params - 1).map(lambda i: Param(4 * i)))
            return st.one_of(forms)
        case Kind.IMM:
            return U32
        case Kind.LABEL:
            return st.integers(0, length - 1)
        case Kind.SREG:
            return st.integers(0, len(SPECIAL_REGISTERS) - 1)
        case Kind.ADDR:
            return st.tuples(registers(1), st.integers(-(2**31), 2**31 - 1))
        case Kind.ACC:
            return st.integers(0, 32 // operand.regs - 1).map(lambda i: i * operand.regs)


@st.composite
def instructions(draw, params=8, length=100):
    row = INSTRUCTIONS[draw(st.sampled_from(list(INSTRUCTIONS)))]
    modifiers = {m.name: draw(st.sampled_from(m.choices)) for m in row.modifiers}
    operands = {
        operand.role: draw(operand_values(row, operand, modifiers, params, length))
        for operand in row.operands
    }
    guard = draw(st.one_of(st.just((7, False)), PREDICATE))
    return Inst(row.mnemonic, operands, modifiers, guard)


NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.$-]{0,8}\Z").filter(lambda s: s.isascii())


@st.composite
def kernels(draw, name="k", largest=8):
    params = draw(st.lists(NAMES, max_size=4, unique=True))
    length = draw(st.integers(1, largest))
    body = [draw(instructions(len(params), length)) for _ in range(length - 1)]
    code = np.array([encode(inst) for inst in [*body, Inst("EXIT")]], np.uint64)
    texts = st.text(max_size=5)
    sources = draw(st.one_of(st.just([]), st.lists(texts, min_size=length, max_size=length)))
    return Kernel(
        name,
        code,
        registers=255,
        warps=draw(st.integers(1, 32)),
        shared_bytes=draw(U32),
        acc_tiles=32,
        params=tuple(params),
        sources=tuple(sources),
    )
