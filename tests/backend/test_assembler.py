"""Assembly text: round trips through the disassembler, the text's forms, errors with positions."""

import numpy as np
import pytest
from dstc.backend.isa.assembler import assemble, assemble_file
from dstc.backend.isa.disassembler import disassemble, float_bits, float_text, render_at
from dstc.backend.isa.encoding import Imm, Inst, Param, decode, encode
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.program import Program
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .isa_strategies import kernels

SAXPY = """\
// y += 1.5 * x
.kernel saxpy
.warps 4
.shared 0x100   # bytes
.param x
.param n
    S2R R0, SR_LANE ;
.source "scale // \\"twice\\" # not a comment"
loop: again:
    @!P0 FMUL R4, R0, 1.5f ; // three halves
    LDG.128 R8, [R4-0x10]
    ISETP.LT.S32 P0, R0, c[n] ;
    @P0 BRA loop ;
    PLOP.AND P1, P0, !P1 ;
    @PT STG.32 [RZ+16], R8 ;
    MOV R1, -1 ;
    EXIT ;
.end
"""


@settings(max_examples=1000)
@given(kernels())
def test_disassembly_assembles_to_the_same_bytes(kernel):
    program = Program({kernel.name: kernel})
    text = disassemble(program)
    again = assemble(text)
    assert again.to_bytes() == program.to_bytes()
    assert disassemble(again) == text


def test_the_forms_of_the_text():
    kernel = assemble(SAXPY).kernels["saxpy"]
    assert (kernel.warps, kernel.shared_bytes, kernel.acc_tiles) == (4, 256, 0)
    assert (kernel.registers, kernel.params) == (12, ("x", "n"))
    assert kernel.sources[:2] == ("", 'scale // "twice" # not a comment')
    code = [decode(*words) for words in kernel.code.tolist()]
    assert code[1].operands["b"] == Imm(0x3FC00000)
    assert code[2].operands["a"] == (4, -16)
    assert code[3].operands["b"] == Param(4)
    assert code[4] == Inst("BRA", {"target": 1}, {}, (0, False))
    assert code[5].operands["pb"] == (1, True)
    assert code[7].operands["b"] == Imm(0xFFFFFFFF)
    assert render_at(kernel, 4) == "@P0 BRA 0x1"


def test_several_kernels_in_one_file():
    program = assemble(SAXPY + ".kernel other\nEXIT\n.end")
    assert list(program.kernels) == ["saxpy", "other"]
    assert assemble(disassemble(program)) == program


@given(st.integers(0, 2**32 - 1))
@example(0x7F800000)
@example(0xFF800000)
@example(0x80000000)
@example(1)
def test_float_text_reads_back(bits):
    text = float_text(bits)
    if np.isnan(np.uint32(bits).view(np.float32)):
        assert text is None
    else:
        assert float_bits(float(text.removesuffix("f"))) == bits


WRONG = [
    ("IADD R1, R2", 1, "there is no instruction IADD; did you mean IADD3?"),
    ("  IADD3 R4, R5, 0x100000000, RZ", 17, "out of range"),
    ("LDG.128 R9, [R4]", 9, "must start at a multiple of 4"),
    ("LDG R8, [R4]", 1, "needs its width; write one of .U8, .U16, .32, .64, .128"),
    ("LDG.32.64 R8, [R4]", 1, "has no modifier .64 there"),
    ("ISETP.LT P0, R1, R2", 1, "needs its sign"),
    ("BRA lop", 5, "there is no label lop; did you mean loop?"),
    ("@P0 BRA 99", 1, "branch target 99 does not exist"),
    ("@Q0 EXIT", 2, "is no guard"),
    ("MOV R1, c[m]", 9, "there is no parameter m"),
    ("MOV R1, c[0x8]", 9, "past the kernel's 2 parameters"),
    ("MOV R1, 1x", 9, "is no integer"),
    ("MOV R256, R1", 5, "'R256' is no register"),
    ("MOV r1, R1", 5, "'r1' is no register"),
    ("EXIT 3", 1, "EXIT takes no operands"),
    ("SEL R1, R2, R3", 1, "SEL takes d, a, b|immediate|c[param], pa"),
    ("STG.32 [4], R1", 8, "'4' is no register"),
    ("STG.32 R4, R1", 8, "is no address"),
    ("S2R R0, SR_LAN", 9, "did you mean SR_LANE?"),
    ("ACLR ACC0", 1, "accumulation tile ACC0 does not exist; the kernel has 0"),
    ("VOTEP.ALL !P0, P1", 11, "cannot be negated"),
    (".warp 3", 1, "did you mean .warps?"),
    (".warps many", 8, "is no integer"),
    (".warps 0", 1, "warps must be 1 to 32"),
    (".registers 3", 1, "does not exist; the kernel has 3"),
    (".param x", 8, "parameter x is there already"),
    (".source 3", 9, "needs a quoted text"),
    (".kernel b", 1, "kernel saxpy is still open"),
    ("loop:", 1, "label loop is there already"),
    ("; ;", 1, "this is no instruction"),
]


@pytest.mark.parametrize(("line", "column", "message"), WRONG, ids=[line for line, _, _ in WRONG])
def test_errors_name_file_line_and_column(line, column, message):
    lines = SAXPY.splitlines()
    lines.insert(11, line)
    with pytest.raises(DstcError, match=r"^[^\n]*$") as error:
        assemble("\n".join(lines), "f.s")
    text = str(error.value)
    assert message in text
    if "kernel has 3" not in message and "1 to 32" not in message:
        assert text.startswith(f"f.s:12:{column}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.s:1:1: there is no kernel"),
        ("EXIT", "f.s:1:1: this is outside a kernel"),
        (".kernel k\nEXIT", "f.s:1:1: kernel k has no end"),
        (".kernel k\n.end", "f.s:2:1: kernel k: there is no instruction"),
        (".kernel k\nNOP\n.end", "f.s:3:1: kernel k: it can run past its end"),
        (".kernel k\nEXIT\nl:\n@P0 BRA l\n.end", "it can run past its end"),
        (".kernel k\nBRA l\nl:\n.end", "branch target 1 does not exist"),
        (".kernel 3", "f.s:1:9: '3' is no kernel name"),
        (".kernel k\nEXIT\n.end x", "f.s:3:6: 'x' follows .end"),
    ],
)
def test_errors_of_the_whole(text, message):
    with pytest.raises(DstcError, match=r"^[^\n]*$") as error:
        assemble(text, "f.s")
    assert message in str(error.value)


@settings(max_examples=300)
@given(st.text(), st.integers(0, len(SAXPY)), st.integers(0, 20))
def test_any_text_assembles_or_is_refused_in_one_line(text, at, cut):
    try:
        assemble(SAXPY[:at] + text + SAXPY[at + cut :], "f.s")
    except DstcError as error:
        assert str(error).startswith("f.s:")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "f.s"
    path.write_bytes(b"\xff")
    with pytest.raises(DstcError, match="is not UTF-8"):
        assemble_file(path)
    with pytest.raises(DstcError, match="cannot be read"):
        assemble_file(tmp_path / "none.s")


def test_a_long_program_is_read_quickly():
    """No quadratic step: 20,000 branches with a label each."""
    lines = [f"l{i}: @P0 BRA l{i}" for i in range(20_000)]
    program = assemble("\n".join([".kernel k", *lines, "EXIT", ".end"]))
    assert len(program.kernels["k"].code) == 20_001
    assert encode(Inst("EXIT")) == tuple(program.kernels["k"].code[-1].tolist())
