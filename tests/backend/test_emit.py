"""Emission: operands, guards, branches and block placement, against the disassembly."""

from __future__ import annotations

import pytest
from dstc.backend.allocator import allocate
from dstc.backend.emit import emit_kernel
from dstc.backend.isa.disassembler import disassemble_kernel
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.table import INSTRUCTIONS, SPECIAL_REGISTERS, Kind
from dstc.dialects.dstc_isa import OPS, ExitOp, IsaOp, PredType, RegType, UndefOp, Use

from .isa_text import parsed


def code(body: str) -> list[str]:
    """The disassembly's instructions and labels."""
    kernel = parsed(body)
    allocate(kernel)
    emitted = emit_kernel(kernel)
    emitted.validate()
    lines = (line.strip() for line in disassemble_kernel(emitted).splitlines())
    return [line.removesuffix(" ;") for line in lines if line and not line.startswith(".")]


def test_operands() -> None:
    assert code(
        """
  %l = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>
  %x = dstc_isa.mov param(1) : () -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%l), b(16) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %v = dstc_isa.ldg<128> a(%l + -16) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<4>
  %w = dstc_isa.ldg<64> a(%l + 32), guard(not %p), into(%v[2]) : (!dstc_isa.reg<1>, !dstc_isa.pred, !dstc_isa.reg<4>) -> !dstc_isa.reg<4>
  %s = dstc_isa.iadd3 a(%w[3]), b(-1) : (!dstc_isa.reg<4>) -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%x), b(%s), guard(%p) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.exit"""  # noqa: E501
    ) == [
        "S2R R4, SR_LANE",
        "MOV R5, c[y]",
        "ISETP.LT.U32 P0, R4, 0x10",
        "LDG.128 R0, [R4-0x10]",
        "@!P0 LDG.64 R2, [R4+0x20]",
        "IADD3 R0, R3, 0xffffffff, RZ",
        "@P0 STG.32 [R5], R0",
        "EXIT",
    ]


LOOP = """
  %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  dstc_isa.jump ^head(%z : !dstc_isa.reg<1>)
^head(%i: !dstc_isa.reg<1>):
  %p = dstc_isa.isetp<LT.U32> a(%i), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^body, ^done
^done:
  dstc_isa.exit
^body:
  dstc_isa.stg<32> b(%i) : (!dstc_isa.reg<1>) -> ()
  %j = dstc_isa.iadd3 a(%i), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.jump ^head(%j : !dstc_isa.reg<1>)"""


def test_a_loop_tested_at_the_top_has_one_branch_a_turn() -> None:
    assert code(LOOP) == [
        "MOV R0, 0x0",
        "BRA L1",
        "L0:",
        "STG.32 [RZ], R0",
        "IADD3 R0, R0, 0x1, RZ",
        "L1:",
        "ISETP.LT.U32 P0, R0, 0x3",
        "@P0 BRA L0",
        "EXIT",
    ]


def test_a_branch_to_what_follows_is_inverted() -> None:
    assert code(
        """
  %p = dstc_isa.isetp<EQ.U32> b(3) : () -> !dstc_isa.pred
  dstc_isa.bssy : () -> ()
  dstc_isa.branch %p : !dstc_isa.pred, ^then, ^join
^then:
  dstc_isa.red<ADD.U32> : () -> ()
  dstc_isa.jump ^join
^join:
  dstc_isa.bsync : () -> ()
  dstc_isa.exit"""
    ) == [
        "ISETP.EQ.U32 P0, RZ, 0x3",
        "BSSY",
        "@!P0 BRA L0",
        "RED.ADD.U32 [RZ], RZ",
        "L0:",
        "BSYNC",
        "EXIT",
    ]


def test_sources() -> None:
    kernel = parsed(
        """
  %a = dstc_isa.mov b(0) {dstc.source = ["conv1", "relu1"], dstc_isa.tile = "spwmma"} : () -> !dstc_isa.reg<1>
  dstc_isa.stg<32> b(%a) : (!dstc_isa.reg<1>) -> ()
  dstc_isa.exit"""  # noqa: E501
    )
    allocate(kernel)
    emitted = emit_kernel(kernel)
    assert emitted.sources == ("conv1, relu1 / k / spwmma", "k", "k")
    assert (emitted.warps, emitted.shared_bytes, emitted.params) == (2, 64, ("x", "y"))


def test_not_allocated() -> None:
    with pytest.raises(DstcError, match="run allocate-registers first"):
        emit_kernel(parsed("dstc_isa.exit"))


@pytest.mark.parametrize("mnemonic", OPS)
def test_every_instruction(mnemonic: str) -> None:
    """Each row of the table goes through dialect text, allocation and encoding."""
    row = INSTRUCTIONS[mnemonic]
    kernel = parsed("dstc_isa.exit")
    block = kernel.body.blocks[0]
    exit_ = block.first_op
    assert isinstance(exit_, ExitOp)
    modifiers = [m.choices[-1] for m in row.modifiers]
    chosen = dict(zip((m.name for m in row.modifiers), modifiers, strict=True))
    guard = IsaOp.build("ISETP", immediates={"b": 1}, modifiers=["EQ", "U32"])
    block.insert_op_before(guard, exit_)
    uses: dict[str, Use] = {"guard": Use(guard.outs[0], 0, True)}
    immediates: dict[str, int | str] = {}
    for operand in row.operands:
        if operand.write:
            continue
        if operand.kind == Kind.ACC:
            immediates["acc"] = 0
        elif operand.kind == Kind.SREG:
            immediates["sr"] = SPECIAL_REGISTERS[-1]
        else:
            pred = operand.kind == Kind.PRED
            size = 1 if pred else row.registers(operand, chosen)
            value = UndefOp(PredType.of() if pred else RegType.of(size))
            block.insert_op_before(value, exit_)
            uses[operand.role] = Use(value.out, 0)
            if operand.kind == Kind.ADDR:
                immediates["offset"] = -4
    op = IsaOp.build(mnemonic, uses, modifiers=modifiers, immediates=immediates)
    block.insert_op_before(op, exit_)
    kernel.verify()
    body = "\n".join(str(o) for o in block.ops)
    again = parsed(str(kernel).split("{\n", 1)[1].rsplit("}", 1)[0])
    assert str(again) == str(kernel), body
    allocate(kernel)
    emitted = emit_kernel(kernel)
    emitted.validate()
    suffix = "".join(f".{m}" for m in modifiers if m)
    assert f"@!P0 {mnemonic}{suffix}" in disassemble_kernel(emitted)
