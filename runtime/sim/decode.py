"""Decoding: instruction words to the rows of numbers that compiled code runs on.

In: a kernel's 128-bit words, the machine, the parameter words. Out: `Decoded`: one row of columns
`D` an instruction, and the constant rows (zeros, immediates, parameters) of the register file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.encoding import FIELDS, modifier_fields
from ...backend.isa.errors import DstcError
from ...backend.isa.table import (
    BY_OPCODE,
    FEATURES,
    PT,
    REGISTER_VALUES,
    RZ,
    TILE_K,
    WARP_SIZE,
    WIDTH_BYTES,
    Instruction,
    Kind,
    Operand,
    Unit,
)
from ..machine import MACHINE_OF, Machine
from .aligned import aligned
from .alu import FORM_NUMBER
from .constants import (
    CAUSE_OF_UNIT,
    DECODED_COLUMNS,
    DUMP_PREDICATE,
    DUMP_ROWS,
    FULL_MASK,
    PIPE_OF_UNIT,
    SLOTS,
    SOURCE_GROUPS,
    ZERO_ROWS,
    Cause,
    D,
    Pipe,
)
from .intrinsics import hmma_form

_FLEX_PARAMETER = 2
_REGISTER_COLUMN = {"re": D.RE, "rd": D.RE, "ra": D.RA, "rb": D.RB, "rc": D.RC}
_TIMING = {
    "HMMA": "hmma", "HMMA.SP": "hmma_sp", "BOHMMA": "bohmma", "OHMMA": "ohmma", "SPWMMA": "ohmma",
    "SPWMMA64": "ohmma", "ACLR": "", "ARD": "", "AWR": "", "SHFL": "lsu",
}  # fmt: skip
"""Section of the machine file for instructions that their unit does not time."""
_ACCUMULATE = ("HMMA", "HMMA.SP")
"""Those that add to registers: c is needed later than the other operands."""
_HALVES = {"SPWMMA": 1, "SPWMMA64": 2}
"""Bitmap words of a depth: windows of 32 or 64 vectors."""
_MODIFIERS = 5
"""Columns M0, M1, ... of modifiers; OHMMA's hold its chunks of A and B in M1 and M2."""
_ROOM = {"values_a": D.ROOM_A, "values_b": D.ROOM_B}
_OWN_LATENCY = ("", "lsu")
"""Sections without `latency`: the timing model finds out what the instruction takes."""
_LANE_PIPES = (Pipe.ALU, Pipe.FMA, Pipe.MUFU)
"""Pipes whose operands are read in one cycle; others collect them over their interval."""
_UNIT_SECTION = {
    Unit.ALU: "alu", Unit.FMA: "fma", Unit.MUFU: "mufu", Unit.BRANCH: "", Unit.BARRIER: "",
    Unit.SHARED: "lsu", Unit.GLOBAL: "lsu", Unit.TENSOR: "",
}  # fmt: skip


def _field(words: int, name: str) -> int:
    field = FIELDS[name]
    return words >> (field.shift + 64 * field.word) & (1 << field.bits) - 1


@dataclass(frozen=True)
class Decoded:
    """`rows`: uint32 (instructions, columns D), each of whole cache lines, as a warp reads a row
    at every issue; `constants`: uint32 (rows, 32)."""

    rows: NDArray[np.uint32]
    constants: NDArray[np.uint32]
    frame: int
    """Elements of a warp's frame: its registers and the rows that RZ writes go to."""


def decode(kernel: Any, machine: Machine, parameters: NDArray[np.uint32]) -> Decoded:
    """Decode `kernel` (its code has been validated).

    Raises `DstcError` for an instruction that the machine lacks or a parameter that is not there.
    """
    return _Decoder(kernel, machine, parameters).run()


class _Decoder:
    def __init__(self, kernel: Any, machine: Machine, parameters: NDArray[np.uint32]) -> None:
        self.kernel, self.machine, self.parameters = kernel, machine, parameters
        self.constant_rows: dict[int, int] = {}
        self.registers = int(kernel.registers)
        self.seen: dict[tuple[int, int], list[int]] = {}

    def run(self) -> Decoded:
        rows = [self.row(int(w0), int(w1), pc) for pc, (w0, w1) in enumerate(self.kernel.code)]
        constants = np.zeros((ZERO_ROWS + len(self.constant_rows), WARP_SIZE), np.uint32)
        for value, row in self.constant_rows.items():
            constants[row] = value
        frame = (self.registers + DUMP_ROWS) * WARP_SIZE
        # modulo 2^32: what masks and addresses are taken by anyway
        table = aligned(len(rows) * DECODED_COLUMNS).reshape(len(rows), DECODED_COLUMNS)
        table[:] = np.array(rows, np.int64).reshape(table.shape).astype(np.uint32)
        return Decoded(table, constants, frame)

    def row(self, w0: int, w1: int, pc: int) -> list[int]:
        known = self.seen.get((w0, w1))
        if known is None:
            known = self.seen[w0, w1] = self.decoded(w0, w1, pc)
        return known

    def decoded(self, w0: int, w1: int, pc: int) -> list[int]:
        words = w0 | w1 << 64
        spec = BY_OPCODE[_field(words, "opcode")]
        for feature in spec.features:
            if feature not in self.machine.features:
                raise DstcError(
                    f"kernel {self.kernel.name}, instruction {pc}: {spec.mnemonic} belongs to the "
                    f"{FEATURES[feature]}, which machine {self.machine.name} lacks; use --machine "
                    f"{MACHINE_OF[feature]}"
                )
        row = [0] * DECODED_COLUMNS
        row[D.OP] = spec.opcode
        row[D.OUTSIDE] = spec.unit is Unit.GLOBAL or spec.mnemonic == "EXIT"
        modifiers = self.modifiers(spec, w1, row)
        self.timing(spec, row)
        row[D.GUARD] = _field(words, "guard")
        row[D.GUARD_NOT] = FULL_MASK * _field(words, "guard_negate")
        row[D.NREG] = 1
        row[D.PD] = DUMP_PREDICATE
        row[D.PA] = row[D.PB] = PT
        dump = self.registers * WARP_SIZE
        row[D.RD] = dump
        word = w1 & 0xFFFFFFFF
        row[D.IMM] = word
        groups: list[tuple[int, int]] = []
        for operand in spec.operands:
            self.operand(spec, operand, modifiers, words, word, row, groups, pc)
        groups += [(0, 0)] * (SOURCE_GROUPS - len(groups))
        row[D.NSRC] = sum(1 for _, count in groups if count)
        row[D.SRC : D.SRC + 2 * SOURCE_GROUPS] = [number for group in groups for number in group]
        self.slots(spec, row, groups)
        row[D.EXTRA] = self.bank_cycles(groups) if row[D.PIPE] in _LANE_PIPES else 0
        row[D.INTERVAL] += row[D.EXTRA]
        row[D.LATENCY] += row[D.EXTRA]
        return row

    def slots(self, spec: Instruction, row: list[int], groups: list[tuple[int, int]]) -> None:
        """PLAIN and SLOT: what a short look at the scoreboard must find ready."""
        touched = (*groups, (row[D.FWD], row[D.NFWD]), (row[D.DEST], row[D.NDEST]))
        registers = sorted({r for first, n in touched for r in range(first, first + n)})
        special = row[D.OUTSIDE] or spec.unit is Unit.BARRIER or row[D.TILES]
        row[D.PLAIN] = not special and len(registers) <= SLOTS
        if row[D.PLAIN]:
            # the register after the kernel's last is never written, and ready from the start
            registers += [self.registers] * (SLOTS - len(registers))
            row[D.SLOT : D.SLOT + SLOTS] = registers

    def bank_cycles(self, groups: list[tuple[int, int]]) -> int:
        """Cycles beyond the first that reading the registers in `groups` takes."""
        banks, reads = self.machine["register_file.banks"], self.machine["register_file.reads"]
        used = {first + i for first, count in groups for i in range(count)}
        most = max(sum(r % banks == bank for r in used) for bank in range(banks))
        return max(0, -(-most // reads) - 1)

    def modifiers(self, spec: Instruction, w1: int, row: list[int]) -> dict[str, str]:
        chosen: dict[str, str] = {}
        for i, (modifier, shift) in enumerate(modifier_fields(spec)):
            index = w1 >> shift & (1 << modifier.bits) - 1
            if i < _MODIFIERS:
                row[D.M0 + i] = index
            chosen[modifier.name] = modifier.choices[index]
        if spec.mnemonic in _HALVES:
            halves = row[D.HALVES] = _HALVES[spec.mnemonic]
            row[D.MAP_A] = row[D.M0 + 1] * TILE_K if halves == 1 else 0
            row[D.MAP_B] = row[D.M0 + 2] * TILE_K if halves == 1 else 0
        if spec.mnemonic == "OHMMA":
            step, a, b = (row[D.M0 + i] for i in (1, 2, 3))
            row[D.MAP_A], row[D.MAP_B] = step + TILE_K * a, step + TILE_K * b
            row[D.M0 + 1], row[D.M0 + 2] = int(chosen["chunk_a"][1:]), int(chosen["chunk_b"][1:])
        row[D.WIDTH] = WIDTH_BYTES[chosen["width"]] if "width" in chosen else 4
        row[D.FORM] = FORM_NUMBER.get((spec.mnemonic, *chosen.values()), 0)
        return chosen

    def timing(self, spec: Instruction, row: list[int]) -> None:
        section = _TIMING.get(spec.mnemonic, _UNIT_SECTION[spec.unit])
        row[D.PIPE] = PIPE_OF_UNIT[spec.unit]
        row[D.CAUSE] = CAUSE_OF_UNIT[spec.unit]
        row[D.INTERVAL] = self.machine[f"{section}.interval"] if section else 0
        row[D.LATENCY] = self.machine[f"{section}.latency"] if section not in _OWN_LATENCY else 0
        if spec.mnemonic == "HMMA":
            row[D.FORM] = hmma_form(row[D.M0 + 1], row[D.M0 + 2], row[D.M0 + 3])
        if spec.mnemonic in _ACCUMULATE:
            early = self.machine[f"{section}.accumulate_latency"]
            row[D.CREDIT] = self.machine[f"{section}.latency"] - early
        if spec.mnemonic in ("ARD", "AWR", "ACLR"):
            row[D.PIPE] = Pipe.NONE if spec.mnemonic == "ACLR" else Pipe.ACC
            row[D.CAUSE] = Cause.ACCUMULATOR

    def constant(self, value: int) -> int:
        """Element offset of a row of `value`."""
        if value == 0:
            return 0
        row = self.constant_rows.setdefault(value, ZERO_ROWS + len(self.constant_rows))
        return row * WARP_SIZE

    def operand(
        self, spec: Instruction, operand: Operand, modifiers: dict[str, str], words: int, word: int,
        row: list[int], groups: list[tuple[int, int]], pc: int,
    ) -> None:  # fmt: skip
        match operand.kind:
            case Kind.PRED:
                index = _field(words, operand.field)
                column = {"pd": D.PD, "pa": D.PA, "pb": D.PB}[operand.field]
                if operand.write:
                    row[column] = DUMP_PREDICATE if index == PT else index
                else:
                    negate = _field(words, f"{operand.field}_negate")
                    row[column], row[column + 1] = index, FULL_MASK * negate
            case Kind.ACC:
                row[D.ACC], row[D.TILES] = _field(words, "acc"), operand.regs
            case Kind.FLEX if _field(words, "form"):
                value = word
                if _field(words, "form") == _FLEX_PARAMETER:
                    if word % 4 or word // 4 >= len(self.parameters):
                        raise DstcError(
                            f"kernel {self.kernel.name}, instruction {pc}: parameter c[{word:#x}] "
                            f"is not there; the launch passes {len(self.parameters)} words"
                        )
                    value = int(self.parameters[word // 4])
                row[D.RB], row[D.RB_REL] = self.constant(value), 0
            case Kind.REG | Kind.FLEX | Kind.ADDR:
                self.register(spec, operand, modifiers, words, row, groups)
            case Kind.IMM | Kind.LABEL | Kind.SREG:
                row[D.IMM] = word

    def register(
        self, spec: Instruction, operand: Operand, modifiers: dict[str, str], words: int,
        row: list[int], groups: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        index = _field(words, operand.field)
        count = 1 if operand.kind is not Kind.REG else spec.registers(operand, modifiers)
        if operand.role in ("d", "b") and "width" in modifiers:
            row[D.NREG] = count
        if operand.sized_by in _ROOM:
            row[_ROOM[operand.sized_by]] = count * REGISTER_VALUES
        if operand.write:
            row[D.DEST], row[D.NDEST] = (0, 0) if index == RZ else (index, count)
            row[D.RD] = (self.registers if index == RZ else index) * WARP_SIZE
            return
        column = _REGISTER_COLUMN[operand.field]
        if index == RZ:
            row[column], row[column + 1] = 0, 0
            return
        row[column], row[column + 1] = index * WARP_SIZE, 1
        if spec.mnemonic in _ACCUMULATE and operand.role == "c":
            row[D.FWD], row[D.NFWD] = index, count
        else:
            groups.append((index, count))
