"""The ISA reference: docs/isa.md and `dstc isa`, from the tables that the tools run on.

In: the instruction table, the encoding's fields, the layouts. Out: Markdown
(`python -m dstc.backend.isa.reference > docs/isa.md`) and facts of an instruction for JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import container
from .assembler import DIRECTIVES, operand_form
from .disassembler import FLOAT_OPERANDS, register_text
from .encoding import FIELDS, Inst, encode, modifier_fields
from .layout import (
    HEADER_SHIFT,
    PITCH_ALIGN,
    VALUE_ALIGN,
    BitmapLayout,
    DenseLayout,
    hmma_a_position,
    hmma_b_position,
    hmma_d_position,
    nm_dense_position,
    value_position,
)
from .table import (
    FEATURES,
    INSTRUCTIONS,
    MAX_ACC_TILES,
    NM_SHAPES,
    NM_VALUES,
    NUM_PREDICATES,
    NUM_REGISTERS,
    SPECIAL_REGISTERS,
    TILE_K,
    TILE_M,
    TILE_N,
    WARP_SIZE,
    Instruction,
    Kind,
    Operand,
    Unit,
)

KIND_MEANING = {
    Kind.REG: "register `R0` to `R254`, or `RZ`",
    Kind.PRED: "predicate `P0` to `P6`, or `PT`; `!P0` negates one that is read",
    Kind.FLEX: "register, 32-bit immediate (`0x10`, `-3`, `1.5f`) or kernel parameter (`c[NAME]`)",
    Kind.IMM: "32-bit immediate",
    Kind.LABEL: "label, or the index of an instruction",
    Kind.SREG: "special register",
    Kind.ADDR: "byte address `[R4+0x10]`: a register plus a signed 32-bit offset",
    Kind.ACC: f"accumulation tile `ACC0` to `ACC{MAX_ACC_TILES - 1}`",
}
UNIT_TITLES = {
    Unit.ALU: "Integer, logic and moves",
    Unit.FMA: "Multiply and floating point",
    Unit.MUFU: "Special functions and conversions",
    Unit.BRANCH: "Control",
    Unit.BARRIER: "Barrier",
    Unit.SHARED: "Shared memory and lane exchange",
    Unit.GLOBAL: "Global memory",
    Unit.TENSOR: "Tensor core",
}


def synopsis(row: Instruction) -> str:
    """How the instruction is written: `ISETP.compare.sign pd, a, b|immediate|c[param], pa?`."""
    head = row.mnemonic
    for modifier in row.modifiers:
        if len(modifier.choices) == 1:
            head += f".{modifier.choices[0]}"
        else:
            head += f"[.{modifier.name}]" if "" in modifier.choices else f".{modifier.name}"
    return f"{head} {', '.join(map(operand_form, row.operands))}".rstrip()


def register_count(row: Instruction, operand: Operand) -> str:
    """Registers of an operand's group as text."""
    if operand.regs:
        return str(operand.regs)
    sizes = row.sizes(operand).items()
    return ", ".join(f"{count} for `.{c}`" if c else f"{count}" for c, count in sizes)


def facts(row: Instruction) -> dict[str, Any]:
    """Everything about an instruction, as JSON has it."""
    return {
        "mnemonic": row.mnemonic,
        "opcode": row.opcode,
        "unit": str(row.unit),
        "extension": bool(row.features),
        "features": list(row.features),
        "synopsis": synopsis(row),
        "summary": row.summary,
        "operands": [
            {
                "role": operand.role,
                "kind": str(operand.kind),
                "field": operand.field,
                "registers": operand.regs or row.sizes(operand),
                "write": operand.write,
                "optional": operand.optional,
            }
            for operand in row.operands
        ],
        "modifiers": [
            {"name": m.name, "choices": list(m.choices), "bit": bit, "bits": m.bits}
            for m, bit in modifier_fields(row)
        ],
    }


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def instruction_page(row: Instruction) -> str:
    """One instruction in Markdown: synopsis, meaning, operands, modifiers, fields."""
    parts = [f"#### {row.mnemonic}", f"`{synopsis(row)}`", row.summary + "."]
    if row.operands:
        cells = [
            [
                f"`{operand.role}`",
                KIND_MEANING[operand.kind],
                "written" if operand.write else "read",
                register_count(row, operand) if operand.kind is Kind.REG else "",
                f"`{operand.field}`",
            ]
            for operand in row.operands
        ]
        parts.append(table(["operand", "is", "", "registers", "field"], cells))
    if row.modifiers:
        cells = [
            [m.name, " ".join(f"`.{c}`" if c else "(nothing)" for c in m.choices), f"{bit}", m.bits]
            for m, bit in modifier_fields(row)
        ]
        parts.append(table(["modifier", "choices, encoded 0, 1, ...", "bit", "bits"], cells))
    note = "".join(f", part of the {FEATURES[f]} (`{f}`)" for f in row.features)
    parts.insert(1, f"Opcode {row.opcode:#04x}, unit `{row.unit}`{note}.")
    return "\n\n".join(parts)


def _grid(cell: Callable[[int, int], str], rows: int, columns: int, corner: str) -> str:
    body = [[f"**{r}**", *(cell(r, c) for c in range(columns))] for r in range(rows)]
    return table([corner, *(str(c) for c in range(columns))], body)


def _tensor_layouts() -> list[str]:
    def pair(position: tuple[int, int]) -> str:
        return f"{position[0]}.{position[1]}"

    parts = [
        "### Tensor operand layouts",
        "HMMA multiplies A (16x4) by B (4x16) into one 8x8 quadrant of D (16x16) a step. A cell "
        "below is `lane.half`: the lane, and the half (0 low, 1 high) of its register.",
    ]
    for layout in ("AROW", "ACOL"):

        def a_cell(row: int, k: int, layout: str = layout) -> str:
            return pair(hmma_a_position(layout, row, k))

        parts += [f"**A, `.{layout}`**", _grid(a_cell, 16, 4, "row \\ k")]
    for layout in ("BCOL", "BROW"):

        def b_cell(k: int, column: int, layout: str = layout) -> str:
            return pair(hmma_b_position(layout, k, column))

        parts += [f"**B, `.{layout}`**", _grid(b_cell, 4, 16, "k \\ column")]
    parts += [
        "**c and d**, one 8x8 quadrant; a cell is `lane.register` (0 or 1 of the pair). Step s has "
        "rows 8*(s/2) to 8*(s/2)+7 and columns 8*(s%2) to 8*(s%2)+7 of D.",
        _grid(lambda r, c: pair(hmma_d_position(0, r, c)), 8, 8, "row \\ column"),
        *_nm_layouts(),
        f"**Condensed values** of a {TILE_M}x{TILE_K} tile, for SPWMMA: which two values each of "
        "the eight registers of a lane holds (low half, high half). Two 128-bit loads a lane, at "
        "byte 16*lane and 512 + 16*lane of the tile's values, put them there. Registers 8 to 15, "
        "for SPWMMA64, go on so.",
    ]
    held = {value_position(i): i for i in range(TILE_M * TILE_K)}

    def values(lane: int, register: int) -> str:
        return f"{held[register, lane, 0]}, {held[register, lane, 1]}"

    rows = [
        [f"**{lane}**", *(values(lane, register) for register in range(8))]
        for lane in (0, 1, 2, WARP_SIZE - 1)
    ]
    parts.append(table(["lane \\ register", *map(str, range(8))], rows))
    parts += [
        "**Element bitmaps** of a tile: lane k (or 16 + k, with the `HI` half) holds word k; bit i "
        "of the word is vector i of the tile. SPWMMA64: lane k holds word k of vectors 0 to 31, "
        "lane 16 + k that of vectors 32 to 63.",
        f"**Accumulation tiles**: {TILE_M}x{TILE_N} f32. ARD and AWR move 8 rows (or, with `.T`, 8 "
        "columns) between a tile and eight registers: register r of lane l is row 8p + r, column "
        "l (with `.T`: column 8p + r, row l).",
    ]
    return parts


def anchor(row: Instruction) -> str:
    """The name of an instruction's heading in a link."""
    return row.mnemonic.lower().replace(".", "")


def _nm_layouts() -> list[str]:
    """Operands of HMMA.SP."""
    parts = [
        "**HMMA.SP**: lines are rows of A or columns of B, 16 of each operand; a step is a "
        "quadrant of D as HMMA's. **a** holds value v of line i in lane 2i + v/2, half "
        "v%2. **e** holds the indices of line i in lanes 2i (the first 32 k of 64) and 2i + 1, "
        "from bit 0 on: 2 bits a value counted from the first k of its four (2:4), or 4 "
        "bits from the first of its sixteen (4:16); within a group they ascend. **b**, by shape "
        "and layout; a cell is `lane.register.half`, for the first lines."
    ]
    for shape, (n, m) in NM_SHAPES.items():
        for layout in ("ALONG", "ACROSS"):
            depth = NM_VALUES * m // n

            def cell(line: int, k: int, layout: str = layout, depth: int = depth) -> str:
                return ".".join(map(str, nm_dense_position(layout, depth, k, line)))

            parts += [f"**b, `.{shape}`, `.{layout}`**", _grid(cell, 3, depth, "line \\ k")]
    return parts


def _memory_layouts() -> list[str]:
    dense, bitmap = DenseLayout.of((100, 3, 5, 5), 2), BitmapLayout(100, 600)
    sections = [
        ["warp-bitmap words", 0, f"{bitmap.v_tiles} x {bitmap.warp_words} u32"],
        ["starts", bitmap.starts_offset, f"{bitmap.v_tiles} u32"],
        ["headers", bitmap.headers_offset, f"{bitmap.v_tiles} x {bitmap.header_stride} u32"],
        ["element bitmaps", bitmap.bitmaps_offset, f"{bitmap.tiles} x {TILE_K} u32"],
        ["values", bitmap.values_offset, "f16"],
    ]
    return [
        "### Tensors in memory",
        f"A dense tensor is a row-major 2-D array: its first dimension by all the others. Rows and "
        f"pitch are padded with zeros to multiples of {PITCH_ALIGN}; a 1-D tensor is one row. A "
        f"100x3x5x5 f16 tensor has {dense.rows} rows of {dense.columns}, pitch {dense.pitch}, "
        f"{dense.padded_rows} rows allocated, {dense.bytes} bytes.",
        f"A two-level bitmap operand is `vectors` (along M or N) by `depth` (along K), cut into "
        f"{TILE_M}x{TILE_K} tiles; tile (v, k) has index v * k_tiles + k. It is one allocation of "
        "five parts: warp-bitmap words (bit k % 32 of word k / 32 of row v: the tile has a "
        "non-zero), starts (byte offset of a row's values within the values), headers (byte offset "
        f"of the tile's values within its row's << {HEADER_SHIFT} | their number / 8, rounded up), "
        "element bitmaps, and values (depth by depth, within a depth by ascending "
        f"vector). A tile's values start at a multiple of {VALUE_ALIGN} bytes, packed or in slots "
        f"of {bitmap.tile_bytes} bytes. With a window of 64 (SPWMMA64) all is the same with 64x16 "
        "tiles: a tile has 32 bitmap words, first those of vectors 0 to 31, and 2048 bytes of "
        "values at most. Negative zero counts as zero; NaN and infinity are non-zero. For "
        f"{bitmap.vectors} vectors by depth {bitmap.depth} ({bitmap.v_tiles} x {bitmap.k_tiles} "
        "tiles):",
        table(["part", "byte offset", "size"], sections),
    ]


_HEADER_FIELDS = (
    ("4 bytes", "magic `DSTC`"),
    ("u32", f"version, {container.VERSION}"),
    ("u32", "number of sections"),
    ("u32", "bytes of names"),
    ("u64", "bytes of the file"),
    ("u32", "crc32 of section table and names"),
    ("u32", "zero"),
)
_SECTION_FIELDS = (
    ("u32", "kind: " + ", ".join(f"{k} {name}" for k, name in container.SECTION_KINDS.items())),
    ("u32, u32", "offset and size of the name (UTF-8) in the names; names are in section order"),
    ("u32", "crc32 of the contents"),
    ("u64, u64", "offset in the file and size of the contents"),
)

_INTRODUCTION = f"""# The instruction set

Generated by `python -m dstc.backend.isa.reference` from `backend/isa/`; do not edit.

A warp is {WARP_SIZE} lanes that run one instruction at a time. A lane has {NUM_REGISTERS} 32-bit
registers `R0` to `R{NUM_REGISTERS - 1}` and {NUM_PREDICATES} predicates, `P0` to
`P{NUM_PREDICATES - 1}`; `RZ` reads as zero, `PT` as true, and what is written to them is dropped.
A group of registers is named by its first, which is a multiple of the group's size, at most 4;
`RZ` stands for a whole group. A guard `@P0` or `@!P0` lets an instruction act only in the lanes
where it holds. Kernel parameters are 32-bit words that instructions read as operand `c[NAME]`.
Addresses are bytes in a 32-bit space. What each instruction costs is the machine's: see
`dstc machines`."""

_ASSEMBLY = """## Assembly text

One instruction, label or directive a line; `#` and `//` begin a comment; the closing `;` is
optional. `@guard MNEMONIC.modifiers operands ;`: modifiers in the order of the instruction's
page, all of them; predicates at the end of the operands that are `PT` may be left out. Integers
are decimal, `0x...` or `0b...`; `1.5f` is the f32 of that value."""

_DIRECTIVE_MEANING = {
    ".kernel": ("NAME", "begins a kernel"),
    ".warps": ("N", "warps a CTA, 1 to 32; default 1"),
    ".shared": ("BYTES", "shared memory a CTA; default 0"),
    ".acc": ("N", "accumulation tiles a warp; default 0"),
    ".registers": ("N", "registers a lane; default: as many as are used"),
    ".param": ("NAME", "the next parameter; `c[NAME]` or `c[0x0]`, `c[0x4]`, ... in operands"),
    ".source": ('"TEXT"', "what the following instructions were made from; JSON's escapes"),
    ".end": ("", "ends the kernel, resolves its labels and checks it"),
}


def document() -> str:
    """docs/isa.md."""
    directives = [
        [f"`{f'{name} {_DIRECTIVE_MEANING[name][0]}'.strip()}`", _DIRECTIVE_MEANING[name][1]]
        for name in DIRECTIVES
    ]
    listing = [
        [f"[{r.mnemonic}](#{r.mnemonic.lower()})", f"{r.opcode:#04x}", r.unit, r.summary]
        for r in INSTRUCTIONS.values()
    ]
    fields = [
        [f"`{name}`", f.word, f"{f.shift} to {f.shift + f.bits - 1}", f.unused, f.holds]
        for name, f in FIELDS.items()
    ]
    words = encode(Inst("NOP"))
    parts = [
        _INTRODUCTION,
        "## All instructions",
        table(["instruction", "opcode", "unit", "meaning"], listing),
        _ASSEMBLY,
        table(["directive", "meaning"], directives),
        f"An immediate of {', '.join(sorted(FLOAT_OPERANDS))} is disassembled as an f32.",
        "## Encoding",
        "An instruction is 128 bits: word 0, then word 1, each 64 bits, little-endian. Fields are "
        "at the same place in every instruction; one that an instruction has no use for holds the "
        "value in column `unused`, bits of no field are zero, and a decoder refuses anything else. "
        f"`NOP` is `{words[0]:#018x} {words[1]:#018x}`.",
        table(["field", "word", "bits", "unused", "holds"], fields),
        "Special registers, by index: "
        + ", ".join(f"{i} `{name}`" for i, name in enumerate(SPECIAL_REGISTERS))
        + f". Register field {255}: `{register_text(255)}`.",
        "## Instructions",
    ]
    for unit, title in UNIT_TITLES.items():
        parts.append(f"### {title}")
        parts += [instruction_page(row) for row in INSTRUCTIONS.values() if row.unit is unit]
    parts += ["## Layouts", *_tensor_layouts(), *_memory_layouts()]
    parts += [
        "## Program container",
        f"Version {container.VERSION}, little-endian. A header of {container.HEADER.size} bytes, "
        f"{container.SECTION.size} bytes for each section, the names of the sections, then the "
        f"sections, each at the next multiple of {container.SECTION_ALIGN} bytes with zeros "
        "between. The meta section is first: JSON with the kernels' numbers, parameters and "
        "sources, and the plan (null for bare kernels). A text section holds a kernel's code, a "
        "data section a block of constant data as the device gets it. The same program always "
        "gives the same bytes; any other bytes are refused.",
        table(["header field", "holds"], _HEADER_FIELDS),
        table(["section field", "holds"], _SECTION_FIELDS),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(document(), end="")
