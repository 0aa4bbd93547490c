"""Assembly text to programs (docs/isa.md, 'Assembly text').

In: text, one instruction or directive a line. Out: a `Program` of validated kernels without a plan;
the first mistake raises `DstcError` as `file:line:column: what; what to do`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .disassembler import float_bits, register_text
from .encoding import ALWAYS, EncodingError, Imm, Inst, Param, Reg, Value, encode, scan
from .errors import DstcError
from .files import read_bytes
from .program import NAME, Kernel, Program
from .table import (
    INSTRUCTIONS,
    MAX_ACC_TILES,
    NUM_PREDICATES,
    PT,
    RZ,
    SPECIAL_REGISTERS,
    Instruction,
    Kind,
    Operand,
)

_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*)\s*:", re.ASCII)
_DIRECTIVE = re.compile(r"\s*(\.[A-Za-z_]\w*)\s*(.*?)\s*$", re.ASCII | re.DOTALL)
_INSTRUCTION = re.compile(r"\s*(?:@(\S+)\s+)?([^\s;@]+)\s*([^;]*?)\s*(?:;\s*)?$")
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)")
_FLOAT = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+|inf|nan))[fF]")
_ADDRESS = re.compile(r"\[\s*(\w+)\s*(?:([+-])\s*(\w+)\s*)?\]", re.ASCII)
_PARAMETER = re.compile(r"c\[\s*([^\]\s]*)\s*\]")
_REGISTERS = {register_text(i): i for i in range(RZ + 1)}
_PREDICATES = {
    f"{mark}P{i if i < NUM_PREDICATES else 'T'}": (i, mark == "!")
    for mark in ("", "!")
    for i in range(PT + 1)
}
_SPECIAL = {name: i for i, name in enumerate(SPECIAL_REGISTERS)}
_ACC = {f"ACC{i}": i for i in range(MAX_ACC_TILES)}


class _Bad(Exception):
    """What is wrong, and the 0-based column (-1: of the operand being read)."""

    def __init__(self, what: str, column: int = -1) -> None:
        super().__init__(what)
        self.column = column


def _hint(word: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise


def _integer(text: str, least: int, most: int, what: str) -> int:
    try:
        value = int(text, 0) if _INTEGER.fullmatch(text) else None
    except ValueError:  # such as 007, or thousands of digits
        value = None
    if value is None:
        raise _Bad(f"{what} '{text[:40]}' is no integer; write 12 or 0xc")
    if not least <= value <= most:
        raise _Bad(f"{what} {text[:40]} is out of range; use {least} to {most:#x}")
    return value


def _immediate(text: str) -> int:
    number = _FLOAT.fullmatch(text)
    if number:
        return float_bits(float(number[1]))
    return _integer(text, -(1 << 31), (1 << 32) - 1, "immediate") & 0xFFFFFFFF


@dataclass
class _Draft:
    """The kernel being read."""

    name: str
    line: int
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    params: dict[str, int] = field(default_factory=dict[str, int])
    labels: dict[str, int] = field(default_factory=dict[str, int])
    fixups: list[tuple[int, str, int, int]] = field(default_factory=list[tuple[int, str, int, int]])
    """(instruction, label, line, column) of branches to be resolved at `.end`."""
    code: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    lines: list[int] = field(default_factory=list[int])
    sources: list[str] = field(default_factory=list[str])
    source: str | None = None
    target: str = ""
    """The label that the instruction being read branches to."""


def _register(text: str, _draft: _Draft) -> int:
    index = _REGISTERS.get(text)
    if index is None:
        raise _Bad(f"'{text}' is no register; use R0 to R254 or RZ")
    return index


def _predicate(text: str, _draft: _Draft) -> Value:
    value = _PREDICATES.get(text)
    if value is None:
        raise _Bad(f"'{text}' is no predicate; use P0 to P6, PT or !P0")
    return value


def _flex(text: str, draft: _Draft) -> Value:
    if text in _REGISTERS:
        return Reg(_REGISTERS[text])
    parameter = _PARAMETER.fullmatch(text)
    if parameter is None:
        if text[:1].isdigit() or text[:1] in ("+", "-", ".") or _FLOAT.fullmatch(text):
            return Imm(_immediate(text))
        raise _Bad(
            f"'{text}' is no register, immediate or parameter; use R4, 0x10, 1.5f or c[NAME]"
        )
    name = parameter[1]
    if name[:1].isdigit():
        offset = _integer(name, 0, (1 << 32) - 4, "parameter offset")
        if offset >= 4 * len(draft.params):
            raise _Bad(f"c[{name}] is past the kernel's {len(draft.params)} parameters; add .param")
        return Param(offset)
    if name not in draft.params:
        raise _Bad(f"there is no parameter {name}; " + _hint(name, draft.params, "add .param"))
    return Param(4 * draft.params[name])


def _address(text: str, draft: _Draft) -> Value:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise _Bad(f"'{text}' is no address; write [R4], [R4+0x10] or [RZ+0x10]")
    register = _register(match[1], draft)
    offset = _integer(match[3] or "0", 0, 1 << 31, "address offset")
    return register, -offset if match[2] == "-" else offset


def _target(text: str, draft: _Draft) -> Value:
    if text[:1].isdigit():
        return _integer(text, 0, (1 << 32) - 1, "branch target")
    draft.target = text
    return 0


def _named(known: dict[str, int], what: str, use: str) -> Callable[[str, _Draft], Value]:
    def parse(text: str, _draft: _Draft) -> Value:
        if text not in known:
            raise _Bad(f"'{text}' is no {what}; " + _hint(text, known, use))
        return known[text]

    return parse


_PARSERS: dict[Kind, Callable[[str, _Draft], Value]] = {
    Kind.REG: _register,
    Kind.PRED: _predicate,
    Kind.FLEX: _flex,
    Kind.IMM: lambda text, _draft: _immediate(text),
    Kind.LABEL: _target,
    Kind.SREG: _named(_SPECIAL, "special register", "see `dstc isa S2R`"),
    Kind.ADDR: _address,
    Kind.ACC: _named(_ACC, "accumulation tile", f"use ACC0 to ACC{MAX_ACC_TILES - 1}"),
}
_MOST = (1 << 32) - 1
_NUMBERS = {".warps": ("warps", 32), ".shared": ("shared_bytes", _MOST),
            ".acc": ("acc_tiles", MAX_ACC_TILES), ".registers": ("registers", RZ)}  # fmt: skip
"""Directives that set a number of the kernel: the field and its greatest value."""
DIRECTIVES = (".kernel", *_NUMBERS, ".param", ".source", ".end")


def _modifiers(text: str) -> tuple[Instruction, dict[str, str]]:
    """Row and modifiers of `MNEMONIC.SUFFIX...`; suffixes in the table's order."""
    mnemonic, *suffixes = text.split(".")
    if suffixes and f"{mnemonic}.{suffixes[0]}" in INSTRUCTIONS:  # HMMA.SP
        mnemonic += f".{suffixes.pop(0)}"
    row = INSTRUCTIONS.get(mnemonic)
    if row is None:
        hint = _hint(mnemonic.upper(), INSTRUCTIONS, "see `dstc isa`")
        raise _Bad(f"there is no instruction {mnemonic}; {hint}")
    chosen: dict[str, str] = {}
    for modifier in row.modifiers:
        if suffixes and suffixes[0] in modifier.choices and suffixes[0]:
            chosen[modifier.name] = suffixes.pop(0)
        elif "" in modifier.choices:
            chosen[modifier.name] = ""
        else:
            choices = ", ".join(f".{c}" for c in modifier.choices)
            given = f" where .{suffixes[0]} is" if suffixes else ""
            raise _Bad(f"{mnemonic} needs its {modifier.name}{given}; write one of {choices}")
    if suffixes:
        raise _Bad(f"{mnemonic} has no modifier .{suffixes[0]} there; see `dstc isa {mnemonic}`")
    return row, chosen


class _Assembler:
    """Reads lines; `kernels` holds those that are complete."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kernels: dict[str, Kernel] = {}
        self.draft: _Draft | None = None
        self.heads: dict[str, tuple[Instruction, dict[str, str]]] = {}

    def error(self, line: int, column: int, what: str) -> DstcError:
        return DstcError(f"{self.name}:{line}:{column + 1}: {what}")

    def run(self, text: str) -> Program:
        number = 0
        for number, raw in enumerate(text.split("\n"), 1):
            try:
                self.line(raw.rstrip("\r"), number)
            except _Bad as bad:
                indent = len(raw) - len(raw.lstrip())
                column = bad.column if bad.column >= 0 else indent
                raise self.error(number, column, str(bad)) from None
        if self.draft is not None:
            raise self.error(
                self.draft.line, 0, f"kernel {self.draft.name} has no end; close it with .end"
            )
        if not self.kernels:
            raise self.error(max(number, 1), 0, "there is no kernel; begin one with .kernel NAME")
        return Program(self.kernels)

    def line(self, raw: str, number: int) -> None:
        start = 0
        while label := _LABEL.match(raw, start):
            self.label(label[1], label.start(1))
            start = label.end()
        directive = _DIRECTIVE.match(raw, start)
        if directive:
            self.directive(directive[1], directive[2], directive.start(2), number)
            return
        text = raw
        if "#" in raw or "//" in raw:
            text = re.split(r"#|//", raw, maxsplit=1)[0]
        if text[start:].strip():
            self.instruction(text, start, number)

    def kernel(self, column: int) -> _Draft:
        if self.draft is None:
            raise _Bad("this is outside a kernel; begin one with .kernel NAME", column)
        return self.draft

    def label(self, name: str, column: int) -> None:
        draft = self.kernel(column)
        if name in draft.labels:
            raise _Bad(f"label {name} is there already; rename one", column)
        draft.labels[name] = len(draft.code)

    def directive(self, name: str, rest: str, column: int, number: int) -> None:
        if name != ".source":
            rest = re.split(r"#|//", rest, maxsplit=1)[0].rstrip()
        if name == ".kernel":
            self.begin(rest, column, number)
            return
        if name not in DIRECTIVES:
            raise _Bad(
                f"there is no directive {name}; "
                + _hint(name, DIRECTIVES, f"use one of {', '.join(DIRECTIVES)}")
            )
        draft = self.kernel(-1)
        try:
            if name in _NUMBERS:
                key, most = _NUMBERS[name]
                draft.numbers[key] = _integer(rest, 0, most, name)
            elif name == ".param":
                if not NAME.fullmatch(rest):
                    raise _Bad(f"'{rest}' is no parameter name; write .param NAME")
                if rest in draft.params:
                    raise _Bad(f"parameter {rest} is there already; rename one")
                draft.params[rest] = len(draft.params)
            elif name == ".source":
                draft.source = _quoted(rest)
                draft.sources += [""] * (len(draft.code) - len(draft.sources))
            else:
                if rest:
                    raise _Bad(f"'{rest}' follows .end; remove it")
                self.end(draft, number)
        except _Bad as bad:
            raise _Bad(str(bad), column) from None

    def begin(self, name: str, column: int, number: int) -> None:
        if self.draft is not None:
            raise _Bad(f"kernel {self.draft.name} is still open; close it with .end")
        if not NAME.fullmatch(name):
            raise _Bad(f"'{name}' is no kernel name; write .kernel NAME", column)
        if name in self.kernels:
            raise _Bad(f"kernel {name} is there already; rename one", column)
        self.draft = _Draft(name, number)

    def instruction(self, text: str, start: int, number: int) -> None:
        match = _INSTRUCTION.match(text, start)
        if match is None:
            raise _Bad("this is no instruction; write one a line, as in `IADD3 R4, R5, 0x1, RZ ;`")
        draft = self.kernel(match.start(2))
        head = self.heads.get(match[2])
        if head is None:
            try:
                head = self.heads[match[2]] = _modifiers(match[2])
            except _Bad as bad:
                raise _Bad(str(bad), match.start(2)) from None
        guard = ALWAYS
        if match[1] is not None:
            if match[1] not in _PREDICATES:
                raise _Bad(f"'@{match[1]}' is no guard; use @P0 or @!P0", match.start(1))
            guard = _PREDICATES[match[1]]
        row, modifiers = head
        texts = [t.strip() for t in match[3].split(",")] if match[3] else []
        draft.target = ""
        operands = _operands(row, texts, match, draft)
        try:
            words = encode(Inst(row.mnemonic, operands, modifiers, guard))
        except EncodingError as error:
            roles = [operand.role for operand in row.operands]
            column = _column(match, roles.index(error.role)) if error.role else match.start(2)
            raise _Bad(f"{error}; see `dstc isa {row.mnemonic}`", column) from None
        if draft.target:
            index = next(i for i, o in enumerate(row.operands) if o.kind is Kind.LABEL)
            where = (len(draft.code), draft.target, number, _column(match, index))
            draft.fixups.append(where)
        draft.code.append(words)
        draft.lines.append(number)
        if draft.source is not None:
            draft.sources.append(draft.source)

    def end(self, draft: _Draft, number: int) -> None:
        for index, label, line, column in draft.fixups:
            if label not in draft.labels:
                hint = _hint(label, draft.labels, f"add `{label}:`")
                raise self.error(line, column, f"there is no label {label}; {hint}")
            w0, w1 = draft.code[index]
            draft.code[index] = w0, w1 | draft.labels[label]
        code = np.array(draft.code, np.uint64).reshape(-1, 2)
        used = int(scan(code).registers.max(initial=0))
        draft.numbers.setdefault("registers", used)
        kernel = Kernel(
            draft.name,
            code,
            params=tuple(draft.params),
            sources=tuple(draft.sources),
            **draft.numbers,
        )
        try:
            kernel.validate()
        except DstcError as error:
            index = re.search(r": instruction (\d+): ", str(error))
            line = draft.lines[int(index[1])] if index else number
            raise self.error(line, 0, str(error)) from None
        self.kernels[draft.name] = kernel
        self.draft = None


def _quoted(text: str) -> str:
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        value, end = None, 0
    if not isinstance(value, str) or not re.fullmatch(r"\s*((#|//).*)?", text[end:]):
        raise _Bad('.source needs a quoted text; write .source "conv1"')
    return value


def _column(match: re.Match[str], index: int) -> int:
    """0-based column of operand `index`."""
    at = match.start(3)
    for text in match[3].split(",")[:index]:
        at += len(text) + 1
    rest = match.string[at:]
    return at + len(rest) - len(rest.lstrip())


def _operands(
    row: Instruction, texts: list[str], match: re.Match[str], draft: _Draft
) -> dict[str, Value]:
    operands: dict[str, Value] = {}
    needed = sum(not operand.optional for operand in row.operands)
    if not needed <= len(texts) <= len(row.operands):
        form = ", ".join(operand_form(operand) for operand in row.operands)
        raise _Bad(
            f"{row.mnemonic} takes {form or 'no operands'}, not {len(texts)} operands",
            match.start(2),
        )
    for index, (operand, text) in enumerate(zip(row.operands, texts, strict=False)):
        try:
            operands[operand.role] = _PARSERS[operand.kind](text, draft)
        except _Bad as bad:
            raise _Bad(
                f"{row.mnemonic} operand {operand.role}: {bad}", _column(match, index)
            ) from None
    return operands


def operand_form(operand: Operand) -> str:
    """How an operand is written in a synopsis: `d`, `[a]`, `b|imm|c[]`, `pa?`."""
    text = {Kind.ADDR: "[{}+offset]", Kind.FLEX: "{}|immediate|c[param]"}.get(operand.kind, "{}")
    return text.format(operand.role) + ("?" if operand.optional else "")


def assemble(text: str, name: str = "<input>") -> Program:
    """The program that `text` describes; `DstcError` names `name`, line and column."""
    return _Assembler(name).run(text)


def assemble_file(path: str | Path) -> Program:
    """The program in the assembly file `path` (UTF-8)."""
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise DstcError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    return assemble(text, str(path))
