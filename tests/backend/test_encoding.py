"""Instruction words: round trips, strictness, and scan against decode."""

import numpy as np
import pytest
from dstc.backend.isa.encoding import FIELDS, Imm, Inst, Param, Reg, decode, encode, scan
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.table import INSTRUCTIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from .isa_strategies import instructions


def accepted(w0, w1):
    try:
        return decode(w0, w1)
    except DstcError as error:
        assert "\n" not in str(error)
        return None


@settings(max_examples=300)
@given(instructions())
def test_decode_is_the_inverse_of_encode(inst):
    assert decode(*encode(inst)) == inst


@settings(max_examples=300)
@given(instructions(), st.lists(st.integers(0, 127), max_size=3))
def test_words_are_accepted_exactly_if_encode_writes_them(inst, flips):
    w0, w1 = encode(inst)
    for bit in flips:
        w0, w1 = (w0 ^ 1 << bit, w1) if bit < 64 else (w0, w1 ^ 1 << bit - 64)
    read = accepted(w0, w1)
    facts = scan(np.array([[w0, w1]], np.uint64))
    assert bool(facts.valid[0]) == (read is not None)
    if read is not None:
        assert encode(read) == (w0, w1)
        ends = [first + count for _, first, count in read.groups()]
        assert facts.registers[0] == max(ends, default=0)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_words_decode_or_are_refused(w0, w1):
    valid = bool(scan(np.array([[w0, w1]], np.uint64)).valid[0])
    assert (accepted(w0, w1) is not None) == valid


def test_scan_reports_what_each_instruction_needs():
    code = [
        Inst("SPWMMA", {"acc": 3, "a": 16, "b": 24, "c": 40, "e": 41},
             {"shape": "323216", "half_a": "ALO", "half_b": "BHI"}),
        Inst("MOV", {"d": 1, "b": Param(8)}),
        Inst("BRA", {"target": 7}),
        Inst("LDG", {"d": 4, "a": (9, -4)}, {"width": "128"}),
    ]  # fmt: skip
    facts = scan(np.array([encode(inst) for inst in code], np.uint64))
    assert facts.valid.all()
    assert facts.registers.tolist() == [42, 2, 0, 10]
    assert facts.acc.tolist() == [3, -1, -1, -1]
    assert facts.param.tolist() == [-1, 8, -1, -1]
    assert facts.target.tolist() == [-1, -1, 7, -1]


def test_omitted_predicates_are_true_and_omitted_modifiers_empty():
    whole = {"pd": (0, False), "a": 1, "b": Imm(2), "pa": (7, False)}
    short = {key: value for key, value in whole.items() if key != "pa"}
    modifiers = {"compare": "LT", "sign": "S32"}
    assert encode(Inst("ISETP", short, modifiers)) == encode(Inst("ISETP", whole, modifiers))
    part = {"part": "P1"}
    operands = {"d": 8, "acc": 0}
    assert encode(Inst("ARD", operands, part)) == encode(
        Inst("ARD", operands, part | {"transpose": ""})
    )


def test_the_fixed_positions():
    w0, w1 = encode(Inst("IADD3", {"d": 1, "a": 2, "b": Reg(3), "c": 4}, guard=(5, True)))
    assert w0 & 0xFFF == 0x10 | 5 << 8 | 1 << 11
    assert [w0 >> shift & 0xFF for shift in (12, 20, 28, 36)] == [1, 2, 3, 4]
    assert w0 >> 44 == 7 | 7 << 3 | 7 << 7
    assert w1 == 0


def test_fields_do_not_overlap():
    for word in (0, 1):
        masks = [field.mask for field in FIELDS.values() if field.word == word]
        assert sum(masks) == np.bitwise_or.reduce(np.array(masks, np.uint64))


WRONG = [
    (Inst("IADD4"), "there is no instruction IADD4"),
    (Inst("MOV", {"d": 1}), "no operand 'b'"),
    (Inst("MOV", {"d": 256, "b": Reg(0)}), "operand 'd' needs a register"),
    (Inst("MOV", {"d": 1, "b": 3}), "needs Reg, Imm or Param"),
    (Inst("MOV", {"d": 1, "b": Imm(-1)}), "immediate must be 0 to 0xffffffff"),
    (Inst("MOV", {"d": 1, "b": Param(6)}), "multiple of 4"),
    (Inst("LDG", {"d": 3, "a": (0, 0)}, {"width": "64"}), "start at a multiple of 2"),
    (Inst("LDG", {"d": 252, "a": (0, 0)}, {"width": "128"}), "past R254"),
    (Inst("LDG", {"d": 0, "a": (0, 2**31)}, {"width": "32"}), "fit 32 signed bits"),
    (Inst("LDG", {"d": 0, "a": (0, 0)}, {"width": "256"}), "width must be one of U8, U16, 32"),
    (Inst("VOTEP", {"pd": (0, True), "pa": (0, True)}, {"mode": "ALL"}), "cannot be negated"),
    (Inst("ACLR", {"acc": 32}), "accumulation tile must be 0 to 0x1f"),
    (Inst("S2R", {"d": 0, "sr": 99}), "special register index"),
    (Inst("EXIT", guard=(8, False)), "guard predicate"),
]


@pytest.mark.parametrize(("inst", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_does_not_fit_is_named(inst, message):
    with pytest.raises(DstcError, match=r"^[^\n]*$") as error:
        encode(inst)
    assert message in str(error.value)


def test_every_instruction_has_room_for_its_modifiers():
    assert max(sum(m.bits for m in row.modifiers) for row in INSTRUCTIONS.values()) <= 32
