"""The instruction table: the one place where the ISA is written down.

In: nothing. Out: `INSTRUCTIONS`, one row an instruction, from which the assembler, the
disassembler, the `dstc_isa` dialect, the simulator's decoder and docs/isa.md are derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

WARP_SIZE = 32
NUM_REGISTERS = 255
"""Allocatable 32-bit registers a lane, R0..R254."""
RZ = 255
"""Reads as zero; writes to it are dropped."""
NUM_PREDICATES = 7
"""Allocatable predicates a lane, P0..P6."""
PT = 7
"""Reads as true; writes to it are dropped."""
MAX_ACC_TILES = 32
"""Accumulation-buffer tiles that an instruction can name."""
INSTRUCTION_BYTES = 16
TILE_M = 32
TILE_N = 32
TILE_K = 16
"""A dual-side warp tile is TILE_M x TILE_K (A side) times TILE_K x TILE_N (B side)."""
HMMA_MACS = 8 * 8 * 4
"""Multiply-adds of one HMMA.884."""
REGISTER_VALUES = 2 * WARP_SIZE
"""Condensed f16 values that a register holds."""
VALUE_REGISTERS = 8
"""Registers that hold the condensed values of one 32x16 tile: 512 f16 at most."""
FEATURES = {
    "dual_side": "dual-side extension",
    "sequencer": "sequenced dual-side extension",
    "window_64": "extension to windows of 64",
    "runs": "loads of runs of condensed values",
    "nm": "weight-only n:m extension",
}
"""Features of a machine file that instructions need, and what they are called."""
WINDOWS = (32, 64)
"""Vectors over which an operand condenses: a tile is so many vectors x TILE_K."""


class Kind(StrEnum):
    """What an operand is, and so how it is written and which field holds it."""

    REG = "reg"  # R7, a group of `regs` consecutive registers aligned to the group's size
    PRED = "pred"  # P3
    FLEX = "flex"  # a register, a 32-bit immediate, or a kernel parameter c[0x10]
    IMM = "imm"  # a 32-bit immediate
    LABEL = "label"  # a branch target, an instruction index
    SREG = "sreg"  # a special register, SR_LANE
    ADDR = "addr"  # [R4+0x10]: a byte address in a register, plus a signed immediate
    ACC = "acc"  # ACC2: a 32x32 f32 tile of the warp's accumulation buffer


class Unit(StrEnum):
    """The pipe that an instruction occupies; the machine file times each (see docs/machine.md)."""

    ALU = "alu"
    FMA = "fma"
    MUFU = "mufu"
    BRANCH = "branch"
    SHARED = "shared"
    GLOBAL = "global"
    TENSOR = "tensor"
    BARRIER = "barrier"


@dataclass(frozen=True)
class Modifier:
    """A dotted suffix. `choices` are encoded by index; a choice `""` is written as nothing."""

    name: str
    choices: tuple[str, ...]
    registers: tuple[int, ...] = ()
    """By choice: the size of the operands that are `sized_by` this modifier."""

    @property
    def bits(self) -> int:
        """Bits that the index of a choice takes."""
        return max(1, (len(self.choices) - 1).bit_length())


@dataclass(frozen=True)
class Operand:
    """An operand: its role, kind, encoding field and size in registers."""

    role: str
    kind: Kind
    field: str
    regs: int = 1
    """Registers (ACC: accumulation tiles) in the group; 0: given by the modifier `sized_by`."""
    write: bool = False
    optional: bool = False
    """An omitted source predicate is PT."""
    sized_by: str = "width"


@dataclass(frozen=True)
class Instruction:
    """One row: everything there is to know of an instruction but its timing on a machine."""

    mnemonic: str
    opcode: int
    unit: Unit
    operands: tuple[Operand, ...]
    summary: str
    modifiers: tuple[Modifier, ...] = ()
    features: tuple[str, ...] = ()
    """Features of the machine file that it needs, the last one the most special."""
    tags: frozenset[str] = field(default_factory=frozenset[str])

    def registers(self, operand: Operand, modifiers: Mapping[str, str]) -> int:
        """Size of `operand`'s register group under the chosen `modifiers`."""
        return operand.regs or self.sizes(operand)[modifiers.get(operand.sized_by, "")]

    def sizes(self, operand: Operand) -> dict[str, int]:
        """Size of an operand of no fixed size by choice of the modifier that says it."""
        modifier = next(m for m in self.modifiers if m.name == operand.sized_by)
        return dict(zip(modifier.choices, modifier.registers, strict=True))

    def alignment(self, operand: Operand, modifiers: Mapping[str, str]) -> int:
        """The group starts at a multiple of this: its size, but no more than 4."""
        return min(4, self.registers(operand, modifiers))


NM_SHAPES: dict[str, tuple[int, int]] = {"888": (2, 4), "8816": (4, 16)}
"""HMMA.SP's shapes -> the n:m pattern of the sparse operand: 4 values stand for 8 or 16 k."""
NM_VALUES = 4
"""Values of a line of the sparse operand that one HMMA.SP takes."""
NM_SHAPE = Modifier(
    "shape", tuple(NM_SHAPES), tuple(NM_VALUES * m // n // 4 for n, m in NM_SHAPES.values())
)
"""It says how many registers hold the dense operand, two halves of 16 lines each."""
WIDTH_BYTES = {"U8": 1, "U16": 2, "32": 4, "64": 8, "128": 16}
WIDTH = Modifier("width", tuple(WIDTH_BYTES), (1, 1, 1, 2, 4))
RUN_SLOT_BYTES = 64
"""A slot of LDV: room for the f16 of 32 vectors."""
RUN_LANES = Modifier("lanes", ("LO", "HI", "ALL"), (VALUE_REGISTERS, VALUE_REGISTERS, 16))
"""Lanes whose runs LDV loads, and the registers of their values."""
SIGN = Modifier("sign", ("U32", "S32"))
COMPARE = Modifier("compare", ("EQ", "NE", "LT", "LE", "GT", "GE"))
INTEGER_COMPARE = Modifier("compare", (*COMPARE.choices, "ANY", "NONE"))
"""ANY and NONE: a and b have a one in common, or not (Volta: LOP3 with a predicate as result)."""
MINMAX = Modifier("select", ("MIN", "MAX"))
HALF = Modifier("half", ("LO", "HI"))

SPECIAL_REGISTERS = (
    "SR_LANE", "SR_WARP", "SR_TID",
    "SR_CTAID_X", "SR_CTAID_Y", "SR_CTAID_Z",
    "SR_NCTAID_X", "SR_NCTAID_Y", "SR_NCTAID_Z",
    "SR_SM", "SR_CLOCK",
)  # fmt: skip
"""Special registers, encoded by index. SR_CLOCK is the low 32 bits of the SM's cycle counter."""


def _d(regs: int = 1) -> Operand:
    return Operand("d", Kind.REG, "rd", regs, write=True)


def _d_of(modifier: Modifier) -> Operand:
    return Operand("d", Kind.REG, "rd", 0, write=True, sized_by=modifier.name)


def _r(role: str, regs: int = 1, at: str = "") -> Operand:
    return Operand(role, Kind.REG, at or "r" + role, regs)


def _flex() -> Operand:
    return Operand("b", Kind.FLEX, "rb")


def _addr() -> Operand:
    return Operand("a", Kind.ADDR, "ra")


_PD = Operand("pd", Kind.PRED, "pd", write=True)
_PA = Operand("pa", Kind.PRED, "pa", optional=True)
_PB = Operand("pb", Kind.PRED, "pb", optional=True)
_ACC = Operand("acc", Kind.ACC, "acc")
_DUAL = ("dual_side",)
_SEQUENCED = (*_DUAL, "sequencer")
_TRANSPOSE = Modifier("transpose", ("", "T"))
_PART = Modifier("part", ("P0", "P1", "P2", "P3"))
_HALVES = (Modifier("half_a", ("ALO", "AHI")), Modifier("half_b", ("BLO", "BHI")))
_STEP = (Modifier("k", tuple(f"K{i}" for i in range(TILE_K))), *_HALVES)


def _alu(mnemonic: str, opcode: int, operands: tuple[Operand, ...], summary: str,
         *modifiers: Modifier, unit: Unit = Unit.ALU) -> Instruction:  # fmt: skip
    return Instruction(mnemonic, opcode, unit, operands, summary, modifiers)


def _values(role: str) -> Operand:
    """Condensed values of a tile, in as many registers as the modifier `values_*` says."""
    return Operand(role, Kind.REG, "r" + role, 0, sized_by=f"values_{role}")


def _capacity(side: str, *registers: int) -> Modifier:
    """How many values the registers of a side hold: 64 a register; all of a tile unless told."""
    choices = ("", *(f"{side.upper()}{count * REGISTER_VALUES}" for count in registers[1:]))
    return Modifier(f"values_{side}", choices, registers)


def _tags(*tags: str) -> frozenset[str]:
    return frozenset(tags)


_ROWS: tuple[Instruction, ...] = (
    # Moves and lane exchange
    _alu("MOV", 0x01, (_d(), _flex()), "d = b"),
    _alu("S2R", 0x02, (_d(), Operand("sr", Kind.SREG, "imm")), "d = special register"),
    _alu("SEL", 0x03, (_d(), _r("a"), _flex(), Operand("pa", Kind.PRED, "pa")),
         "d = pa ? a : b"),
    _alu("PRMT", 0x04, (_d(), _r("a"), _flex(), _r("c")),
         "byte permute: byte i of d is byte (nibble i of b, 0..7) of the eight bytes {c,a}"),
    Instruction("SHFL", 0x05, Unit.SHARED, (_d(), _r("a"), _flex()),
                "d = a of another lane: IDX lane b, UP lane-b, DOWN lane+b, BFLY lane^b; a lane "
                "outside the warp or inactive gives the lane's own a",
                (Modifier("mode", ("IDX", "UP", "DOWN", "BFLY")),)),
    _alu("VOTE", 0x06, (_d(), Operand("pa", Kind.PRED, "pa")),
         "d = 32-bit mask of the active lanes whose pa is true (ballot)",
         Modifier("mode", ("BALLOT",))),
    _alu("VOTEP", 0x07, (_PD, Operand("pa", Kind.PRED, "pa")),
         "pd = pa is true in ALL / in ANY of the active lanes", Modifier("mode", ("ALL", "ANY"))),
    # Integer
    _alu("IADD3", 0x10, (_d(), _r("a"), _flex(), _r("c")), "d = a + b + c (mod 2^32)"),
    _alu("ISUB", 0x11, (_d(), _r("a"), _flex()), "d = a - b (mod 2^32)"),
    _alu("IMAD", 0x12, (_d(), _r("a"), _flex(), _r("c")),
         "LO: d = low 32 bits of a * b + c; HI: d = high 32 bits of the unsigned a * b, plus c",
         Modifier("part", ("LO", "HI")), unit=Unit.FMA),
    _alu("IMNMX", 0x13, (_d(), _r("a"), _flex()), "d = min or max of a and b", MINMAX, SIGN),
    _alu("LOP", 0x14, (_d(), _r("a"), _flex()), "bitwise a AND b, OR, XOR, ANDN (a & ~b)",
         Modifier("op", ("AND", "OR", "XOR", "ANDN"))),
    _alu("SHL", 0x15, (_d(), _r("a"), _flex()), "d = a << b; 0 if b > 31"),
    _alu("SHR", 0x16, (_d(), _r("a"), _flex()),
         "d = a >> b, logical (U32) or arithmetic (S32); b > 31 shifts everything out", SIGN),
    _alu("SHF", 0x17, (_d(), _r("a"), _flex(), _r("c")),
         "funnel shift of the 64-bit {c,a} (c high) by b & 31: R: low word of {c,a} >> b; "
         "L: high word of {c,a} << b", Modifier("direction", ("L", "R"))),
    _alu("POPC", 0x18, (_d(), _r("a")), "d = number of ones in a"),
    _alu("FLO", 0x19, (_d(), _r("a")), "d = position of the highest one in a; 0xffffffff if none"),
    _alu("BREV", 0x1A, (_d(), _r("a")), "d = a with its bits in reverse order"),
    _alu("ISETP", 0x1B, (_PD, _r("a"), _flex(), _PA),
         "pd = (a cmp b) and pa; ANY: a & b is not 0, NONE: it is 0", INTEGER_COMPARE, SIGN),
    _alu("PLOP", 0x1C, (_PD, _PA, _PB), "pd = pa AND pb, OR, XOR",
         Modifier("op", ("AND", "OR", "XOR"))),
    # Floating point
    _alu("FADD", 0x20, (_d(), _r("a"), _flex()), "d = a + b, f32, round to nearest even",
         unit=Unit.FMA),
    _alu("FMUL", 0x21, (_d(), _r("a"), _flex()), "d = a * b, f32", unit=Unit.FMA),
    _alu("FFMA", 0x22, (_d(), _r("a"), _flex(), _r("c")),
         "d = a * b + c, f32, rounded once", unit=Unit.FMA),
    _alu("FMNMX", 0x23, (_d(), _r("a"), _flex()),
         "d = min or max, f32, -0 < +0; of a NaN and a number the number, with NAN the NaN",
         MINMAX, Modifier("nan", ("", "NAN"))),
    _alu("FSETP", 0x24, (_PD, _r("a"), _flex(), _PA),
         "pd = (a cmp b) and pa, f32; with a NaN only NE is true", COMPARE),
    Instruction("MUFU", 0x25, Unit.MUFU, (_d(), _r("a")), "d = f(a), f32",
                (Modifier("function",
                          ("RCP", "RSQ", "SQRT", "EX2", "LG2", "TANH", "SIN", "COS")),)),
    _alu("I2F", 0x26, (_d(), _r("a")), "d = f32 of the integer a", SIGN, unit=Unit.MUFU),
    _alu("F2I", 0x27, (_d(), _r("a")),
         "d = integer of the f32 a, towards zero, saturating; NaN gives 0", SIGN, unit=Unit.MUFU),
    _alu("F2F", 0x28, (_d(), _r("a")), "d = f32 of the f16 in the low or high half of a", HALF),
    _alu("PACK", 0x29, (_d(), _r("a"), _flex()),
         "d = {f16(b), f16(a)}: a in the low half; f32 to f16, round to nearest even"),
    # Memory. Addresses are bytes in a 32-bit space; an access is aligned to its width.
    Instruction("LDG", 0x30, Unit.GLOBAL, (_d(0), _addr()),
                "d = global memory; U8 and U16 extend with zeros", (WIDTH,), tags=_tags("load")),
    Instruction("STG", 0x31, Unit.GLOBAL, (_addr(), _r("b", 0)),
                "global memory = b; of lanes that hit one address the highest wins", (WIDTH,),
                tags=_tags("store")),
    Instruction("LDS", 0x32, Unit.SHARED, (_d(0), _addr()), "d = shared memory", (WIDTH,),
                tags=_tags("load")),
    Instruction("STS", 0x33, Unit.SHARED, (_addr(), _r("b", 0)), "shared memory = b", (WIDTH,),
                tags=_tags("store")),
    Instruction("RED", 0x34, Unit.GLOBAL, (_addr(), _r("b")),
                "global memory += b (OR: |= b, bitwise in either type), atomically, lane by lane "
                "in ascending order",
                (Modifier("op", ("ADD", "OR")), Modifier("type", ("U32", "F32"))),
                tags=_tags("store")),
    Instruction("ATOM", 0x35, Unit.GLOBAL, (_d(), _addr(), _r("b")),
                "d = global memory; global memory += b, atomically, lane by lane",
                (Modifier("op", ("ADD",)), Modifier("type", ("U32",))),
                tags=_tags("load", "store")),
    Instruction("PREFETCH", 0x36, Unit.GLOBAL, (_addr(),),
                "have L1 fetch the sector of global memory at a, for later loads; nobody waits for "
                "it", (Modifier("level", ("L1",)),), tags=_tags("load")),
    Instruction("LDV", 0x37, Unit.GLOBAL, (_d_of(RUN_LANES), _addr(), _r("b")),
                "d = the condensed f16 of 16 lanes' runs, one lane's after the other's, as SPWMMA "
                "takes values; what is left of d is 0. A lane's run begins at a, in slots of 64 "
                "bytes: the low 8 bits of b tell how many of its values lie in a's slot, the next "
                "8 bits how many there are; the others begin the next slot. LO: lanes 0..15, HI: "
                "16..31, ALL: lanes 0, 16, 1, 17 and so on. Lanes that are off have no values",
                (RUN_LANES,), features=("dual_side", "runs"), tags=_tags("load")),
    # Control
    Instruction("NOP", 0x40, Unit.BRANCH, (), "nothing"),
    Instruction("BRA", 0x41, Unit.BRANCH, (Operand("target", Kind.LABEL, "imm"),),
                "lanes whose guard holds go to target; if only some do, the warp diverges: it goes "
                "on with the lanes that fell through, the others wait (see BSYNC)",
                tags=_tags("branch")),
    Instruction("BSSY", 0x42, Unit.BRANCH, (),
                "open a reconvergence region: remember the active lanes", tags=_tags("converge")),
    Instruction("BSYNC", 0x43, Unit.BRANCH, (),
                "the active lanes wait here; the next lanes that left by a divergent BRA of this "
                "region run; when none are left, the lanes remembered by BSSY go on together",
                tags=_tags("converge")),
    Instruction("EXIT", 0x44, Unit.BRANCH, (), "the active lanes whose guard holds are done",
                tags=_tags("exit")),
    Instruction("BAR", 0x45, Unit.BARRIER, (), "wait until all warps of the CTA that have not "
                "exited arrive", (Modifier("mode", ("SYNC",)),), tags=_tags("barrier")),
    # Dense tensor core
    Instruction("HMMA", 0x50, Unit.TENSOR, (_d(2), _r("a"), _r("b"), _r("c", 2)),
                "8x8x4 step of a 16x16x4 product, f16 x f16 + f32: quadrant STEPs (rows 8*(s/2), "
                "columns 8*(s%2)) of d = A * B + c, four rank-1 updates in ascending k, each "
                "rounded to f32. Layouts: docs/isa.md, 'Tensor operand layouts'",
                (Modifier("shape", ("884",)), Modifier("layout_a", ("AROW", "ACOL")),
                 Modifier("layout_b", ("BROW", "BCOL")),
                 Modifier("step", ("STEP0", "STEP1", "STEP2", "STEP3")))),
    # Weight-only n:m extension
    Instruction("HMMA.SP", 0x51, Unit.TENSOR,
                (_d(2), _r("a"), Operand("b", Kind.REG, "rb", 0, sized_by="shape"), _r("c", 2),
                 _r("e")),
                "HMMA on an operand whose lines (rows of A or, with B, columns of B) are n:m "
                "sparse along k: 2:4 and 8 k deep (888), or 4:16 and 16 deep (8816). a holds four "
                "values a line, by ascending k, b the other operand whole, e where the values "
                "belong: SLICE i takes the i-th 8 or 16 of the 64 k that e describes. Step and "
                "rounding as HMMA's; a value that is zero adds nothing, whatever it meets. "
                "Layouts: docs/isa.md, 'Tensor operand layouts'",
                (NM_SHAPE, Modifier("sparse", ("A", "B")),
                 Modifier("layout", ("ALONG", "ACROSS")),
                 Modifier("step", ("STEP0", "STEP1", "STEP2", "STEP3")),
                 Modifier("slice", tuple(f"SLICE{i}" for i in range(8)))), features=("nm",)),
    # Dual-side extension
    Instruction("SPWMMA", 0x60, Unit.TENSOR,
                (_ACC, _values("a"), _values("b"), _r("c"), _r("e", at="rd")),
                "acc += A * B for one 32x32x16 warp tile: a, b the condensed values, c and e the "
                "element bitmaps of A and B (16 words, in lanes 0..15 or, with HI, 16..31). The "
                "sequencer runs, for k = 0..15, the set BOHMMA + the OHMMAs that the bitmaps "
                "leave; one busy cycle an OHMMA. With A256 or B256 that side has the registers of "
                "256 values only, and a tile of more traps",
                (Modifier("shape", ("323216",)), *_HALVES, _capacity("a", VALUE_REGISTERS, 4),
                 _capacity("b", VALUE_REGISTERS, 4)), features=_SEQUENCED),
    Instruction("BOHMMA", 0x61, Unit.TENSOR, (_d(), _r("a"), _r("b")),
                "1-bit outer product of step k: lane i gets word k of bitmap b where bit i of word "
                "k of bitmap a is set, else 0 (word k is in lane k or, with HI, lane 16 + k)",
                (Modifier("shape", ("32321",)), *_STEP), features=_DUAL),
    Instruction("OHMMA", 0x62, Unit.TENSOR,
                (_ACC, _values("a"), _values("b"), _r("c"), _r("e", at="rd")),
                "8x16x1 outer product of condensed values, gathered from and scattered to the "
                "positions in c (a BOHMMA result). a and b hold streams of condensed values; step "
                "k's vector begins at the value of a that the low 16 bits of e tell in lane k "
                "(AHI: lane 16 + k), at that of b that the high 16 bits tell in lane k (BHI: 16 + "
                "k); chunk Ai takes A values 8i..8i+7, chunk Bj B values 16j..16j+15. Beyond the "
                "vector: squashed",
                (Modifier("shape", ("8161",)), *_STEP,
                 Modifier("chunk_a", ("A0", "A1", "A2", "A3")),
                 Modifier("chunk_b", ("B0", "B1")), _capacity("a", VALUE_REGISTERS, 4),
                 _capacity("b", VALUE_REGISTERS, 4)), features=_DUAL),
    Instruction("ACLR", 0x63, Unit.TENSOR, (_ACC,), "acc tile = 0", features=_DUAL),
    Instruction("ARD", 0x64, Unit.TENSOR, (_d(8), _ACC),
                "d = rows 8p..8p+7 of the acc tile, register r row 8p+r, lane = column; with T, "
                "columns 8p..8p+7, lane = row",
                (_PART, _TRANSPOSE), features=_DUAL),
    Instruction("AWR", 0x65, Unit.TENSOR, (_ACC, _r("a", 8)),
                "the converse of ARD: acc tile part = a", (_PART, _TRANSPOSE), features=_DUAL),
    Instruction("SPWMMA64", 0x66, Unit.TENSOR,
                (Operand("acc", Kind.ACC, "acc", 4), _values("a"), _values("b"), _r("c"),
                 _r("e", at="rd")),
                "SPWMMA for one 64x64x16 warp tile: each vector condenses over 64 rows or columns. "
                "acc names four tiles: rows 0..31 and columns 0..31, rows 0..31 and columns "
                "32..63, rows 32..63 and columns 0..31, rows 32..63 and columns 32..63. Lane k of "
                "a bitmap holds the low 32 vectors of depth k, lane 16 + k the high 32",
                (Modifier("shape", ("646416",)), _capacity("a", 2 * VALUE_REGISTERS, 4, 8),
                 _capacity("b", 2 * VALUE_REGISTERS, 4, 8)), features=(*_SEQUENCED, "window_64")),
)  # fmt: skip

INSTRUCTIONS: dict[str, Instruction] = {row.mnemonic: row for row in _ROWS}
"""Every instruction by mnemonic, in opcode order."""
BY_OPCODE: dict[int, Instruction] = {row.opcode: row for row in _ROWS}
"""Every instruction by opcode."""
