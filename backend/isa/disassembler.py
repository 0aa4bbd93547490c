"""Instructions and programs as text that the assembler reads back to the same bytes.

In: an `Inst`, a `Kernel` or a `Program`. Out: one instruction a line, labels for branch targets.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from .encoding import ALWAYS, Imm, Inst, Param, Reg, Value, decode, scan
from .program import Kernel, Program
from .table import PT, RZ, SPECIAL_REGISTERS, Kind, Operand

FLOAT_OPERANDS = {"FADD", "FMUL", "FFMA", "FMNMX", "FSETP", "PACK"}
"""Instructions whose immediate is an f32, written `1.5f`."""
_FLOATS: dict[int, str | None] = {}


def float_text(bits: int) -> str | None:
    """The shortest `1.5f` that reads back to the f32 with these bits; None for a NaN."""
    if bits not in _FLOATS:
        value = np.uint32(bits).view(np.float32)
        text = None if np.isnan(value) else f"{value!s}f"
        _FLOATS[bits] = text
    return _FLOATS[bits]


def float_bits(value: float) -> int:
    """Bits of `value` rounded to f32; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return struct.unpack("<I", np.float32(value).tobytes())[0]


def register_text(index: int) -> str:
    """R7 or RZ."""
    return "RZ" if index == RZ else f"R{index}"


def _predicate_text(index: int, negate: bool | int) -> str:
    return ("!" if negate else "") + ("PT" if index == PT else f"P{index}")


def _flex(inst: Inst, value: Value, params: Sequence[str]) -> str:
    match value:
        case Reg(index):
            return register_text(index)
        case Param(offset):
            name = params[offset // 4] if offset // 4 < len(params) else hex(offset)
            return f"c[{name}]"
        case Imm(bits):
            text = float_text(bits) if inst.mnemonic in FLOAT_OPERANDS else None
            return text or hex(bits)
        case _:
            raise TypeError(value)


def _operand(inst: Inst, operand: Operand, params: Sequence[str], labels: Mapping[int, str]) -> str:
    value = inst.operands.get(operand.role, (PT, False))
    match operand.kind, value:
        case Kind.REG, int(index):
            return register_text(index)
        case Kind.PRED, (index, negate):
            return _predicate_text(index, negate)
        case Kind.ADDR, (register, offset):
            sign = "+" if offset > 0 else "-"
            return f"[{register_text(register)}{f'{sign}{abs(offset):#x}' if offset else ''}]"
        case Kind.ACC, int(index):
            return f"ACC{index}"
        case Kind.SREG, int(index):
            return SPECIAL_REGISTERS[index]
        case Kind.LABEL, int(index):
            return labels.get(index, hex(index))
        case Kind.IMM, int(bits):
            return hex(bits)
        case _:
            return _flex(inst, value, params)


def render(inst: Inst, params: Sequence[str] = (), labels: Mapping[int, str] | None = None) -> str:
    """One instruction as text, without the closing `;`.

    `params` names the kernel's parameters, `labels` its branch targets (else: the index in hex).
    """
    row = inst.row
    suffixes = [inst.modifiers.get(m.name, "") for m in row.modifiers]
    head = ".".join([row.mnemonic, *filter(None, suffixes)])
    operands = list(row.operands)
    while operands and operands[-1].optional:
        if inst.operands.get(operands[-1].role, ALWAYS) != ALWAYS:
            break
        operands.pop()
    guard = "" if inst.guard == ALWAYS else f"@{_predicate_text(*inst.guard)} "
    text = ", ".join(_operand(inst, operand, params, labels or {}) for operand in operands)
    return f"{guard}{head} {text}".rstrip()


def render_at(kernel: Kernel, index: int) -> str:
    """Instruction `index` of a kernel as text, for messages."""
    return render(decode(*kernel.code[index].tolist()), kernel.params)


def disassemble_kernel(kernel: Kernel) -> str:
    """A valid kernel as text, `.kernel` to `.end`."""
    kernel.validate()
    targets = np.unique(scan(kernel.code).target)
    labels = {int(t): f"L{i}" for i, t in enumerate(targets[targets >= 0])}
    lines = [
        f".kernel {kernel.name}",
        f".warps {kernel.warps}",
        f".shared {kernel.shared_bytes}",
        f".acc {kernel.acc_tiles}",
        f".registers {kernel.registers}",
        *(f".param {name}" for name in kernel.params),
    ]
    source: str | None = None
    for index, words in enumerate(kernel.code.tolist()):
        if index in labels:
            lines.append(f"{labels[index]}:")
        if kernel.sources and kernel.sources[index] != source:
            source = kernel.sources[index]
            lines.append(f"  .source {json.dumps(source)}")
        lines.append(f"  {render(decode(*words), kernel.params, labels)} ;")
    return "\n".join([*lines, ".end", ""])


def disassemble(program: Program) -> str:
    """All kernels of a program as text. Plan and data have no text form; a comment counts them."""
    parts = [disassemble_kernel(kernel) for kernel in program.kernels.values()]
    if program.plan is not None or program.data:
        steps = 0 if program.plan is None else len(program.plan.steps)
        parts.insert(
            0, f"// Not shown: a plan of {steps} steps, {len(program.data)} blocks of data.\n"
        )
    return "\n".join(parts)
