"""`dstc asm`, `dstc disasm`, `dstc isa`: text to program, program to text, the ISA reference.

In: an assembly file, a program file, a mnemonic. Out: a program file, assembly text, a listing.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from typing import Any

from ...backend.isa.errors import DstcError
from .common import add_options, write_json, write_text


def add_parsers(subparsers: Any) -> None:
    """Add the subcommands `asm`, `disasm` and `isa`."""
    p = subparsers.add_parser(
        "asm",
        help="assemble text to a program",
        description="Assemble F.s to a program file. docs/isa.md describes the text.",
    )
    p.add_argument("input", metavar="F.s", help="assembly text")
    p.add_argument("-o", "--output", metavar="F.bin", required=True, help="program file to write")
    p.set_defaults(run=asm)
    p = subparsers.add_parser(
        "disasm",
        help="show a program as assembly text",
        description="Show a program as text that `dstc asm` reads back to the same kernels.",
    )
    p.add_argument("input", metavar="F.bin", help="program file")
    p.add_argument("-o", "--output", metavar="F.s", default="-", help="default: standard output")
    p.set_defaults(run=disasm)
    p = subparsers.add_parser(
        "isa",
        help="list the instructions",
        description="List the instructions, or tell all about one.",
    )
    p.add_argument("mnemonic", nargs="?", metavar="MNEMONIC", help="one instruction")
    add_options(p, "json")
    p.set_defaults(run=isa)


def asm(args: argparse.Namespace) -> int:
    """`dstc asm F.s -o F.bin`."""
    from ...backend.isa.assembler import assemble_file

    program = assemble_file(args.input)
    if args.output == "-":
        sys.stdout.buffer.write(program.to_bytes())
    else:
        program.save(args.output)
    return 0


def disasm(args: argparse.Namespace) -> int:
    """`dstc disasm F.bin [-o F.s]`."""
    from ...backend.isa.disassembler import disassemble
    from ...backend.isa.program import Program

    write_text(args.output, disassemble(Program.load(args.input)))
    return 0


def isa(args: argparse.Namespace) -> int:
    """`dstc isa [MNEMONIC]`: one line an instruction, or one instruction in detail."""
    from ...backend.isa.reference import facts
    from ...backend.isa.table import INSTRUCTIONS

    names = list(INSTRUCTIONS)
    if args.mnemonic is not None:
        name: str = args.mnemonic.upper()
        if name not in INSTRUCTIONS:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else "`dstc isa` lists them"
            raise DstcError(f"there is no instruction {args.mnemonic}; {hint}")
        names = [name]
    rows = [facts(INSTRUCTIONS[name]) for name in names]
    if args.json:
        write_json(args.json, {"schema": 1, "instructions": rows})
    if args.json == "-":
        return 0
    if args.mnemonic is not None:
        _print_one(rows[0])
        return 0
    for row in rows:
        mark = "*" if row["extension"] else " "
        summary = textwrap.shorten(row["summary"], 80, placeholder=" ...")
        print(f"{row['mnemonic']:8}{mark} {row['unit']:8} {summary}")
    print("* extension; `dstc isa MNEMONIC` tells all about one")
    return 0


def _print_one(row: dict[str, Any]) -> None:
    from ...backend.isa.table import FEATURES

    extension = "".join(f", {FEATURES[feature]}" for feature in row["features"])
    print(row["synopsis"])
    print(f"opcode {row['opcode']:#04x}, unit {row['unit']}{extension}\n")
    print(textwrap.fill(row["summary"], 90, initial_indent="  ", subsequent_indent="  "))
    if row["operands"]:
        print("\noperands")
    for operand in row["operands"]:
        count: int | dict[str, int] = operand["registers"]
        counts = list(count.values()) if isinstance(count, dict) else [count]
        size = "/".join(dict.fromkeys(map(str, counts)))
        group = f", {size} registers" if operand["kind"] == "reg" and size != "1" else ""
        access = "written" if operand["write"] else "read"
        optional = ", optional (PT)" if operand["optional"] else ""
        print(f"  {operand['role']:3} {operand['kind']}, {access}{group}{optional}, "
              f"field {operand['field']}")  # fmt: skip
    if row["modifiers"]:
        print("\nmodifiers, in this order")
    for modifier in row["modifiers"]:
        choices = ", ".join(f".{c}" if c else "(nothing)" for c in modifier["choices"])
        print(f"  {modifier['name']}: {choices}; word 1, bit {modifier['bit']}")
