"""Executed instructions as an Accel-Sim trace, for checking our timing against that simulator.

In: launches of kernels without sparse instructions, recorded on all SMs. Out: a folder with
`kernelslist.g` and a `kernel-N.traceg` a launch, as NVBit's tracer and its post-processing leave
them for SASS of compute capability 7.0 (github.com/accel-sim/accel-sim-framework, tracer version
4: trace_parser.cc reads it, volta_opcode.h lists the opcodes).

What that format cannot say: predicates, and registers of an operand beyond its first. Instructions
that Volta lacks stand for the nearest it has (`SASS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..backend.isa.encoding import Inst, Reg, decode
from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic
from ..backend.isa.program import Kernel, Launch, Program
from ..backend.isa.table import RZ, WARP_SIZE, WIDTH_BYTES, Kind, Unit
from ..runtime.executor import KernelRun
from ..runtime.sim.constants import E, Event
from ..runtime.sim.timeline import Recording, Timeline

MOST_INSTRUCTIONS = 3_000_000
"""Warp instructions of a launch that is recorded: some 200 MB of text."""
BINARY_VERSION = 70
INSTRUCTION_BYTES = 16
_SHARED_BASE, _LOCAL_BASE = 0x7F0000000000, 0x7F1000000000
_MOST_SOURCES = 4

SASS = {
    "MOV": "MOV", "S2R": "S2R", "SEL": "SEL", "PRMT": "PRMT", "SHFL": "SHFL", "VOTE": "VOTE.ANY",
    "VOTEP": "VOTE.ALL", "IADD3": "IADD3", "ISUB": "IADD3", "IMAD": "IMAD", "IMNMX": "IMNMX",
    "LOP": "LOP3.LUT", "SHL": "SHF.L.U32", "SHR": "SHF.R.U32", "SHF": "SHF", "POPC": "POPC",
    "FLO": "FLO.U32", "BREV": "BREV", "ISETP": "ISETP", "PLOP": "PLOP3.LUT", "FADD": "FADD",
    "FMUL": "FMUL", "FFMA": "FFMA", "FMNMX": "FMNMX", "FSETP": "FSETP", "MUFU": "MUFU",
    "I2F": "I2F", "F2I": "F2I", "F2F": "F2F.F32.F16", "PACK": "F2F.F16.F32", "LDG": "LDG.E",
    "STG": "STG.E", "LDS": "LDS.U", "STS": "STS", "RED": "RED.E.ADD.STRONG.GPU",
    "ATOM": "ATOMG.E.ADD.STRONG.GPU", "PREFETCH": "CCTL.E.PF1", "NOP": "NOP", "BRA": "BRA",
    "BSSY": "BSSY", "BSYNC": "BSYNC", "EXIT": "EXIT", "BAR": "BAR.SYNC",
    "HMMA": "HMMA.884.F32.F32",
}  # fmt: skip
"""Our mnemonic -> Volta's."""


@dataclass
class AccelSimWriter:
    """Watches a run (`run_program(observer=...)`) and writes its traces into `folder`.

    `kernels`: names of the launches or kernels to trace (default: all that have only instructions
    that Volta has). `skipped`: launches that have others.
    """

    folder: Path
    program: Program
    kernels: Sequence[str] = ()
    written: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])

    def before(self, launch: Launch) -> Recording | None:
        """What to record of a launch. Raises `DstcError` if it was asked for and cannot be."""
        asked = launch.name in self.kernels or launch.kernel in self.kernels
        if self.kernels and not asked:
            return None
        strange = _strange(self.program.kernels[launch.kernel])
        if strange and asked:
            raise DstcError(
                f"kernel {launch.name}: Accel-Sim has no {', '.join(strange)}; trace kernels of "
                "the dense engine (--engine dense)"
            )
        if strange:
            self.skipped.append(launch.name)
            return None
        return Recording(None, addresses=True, most=MOST_INSTRUCTIONS)

    def after(self, run: KernelRun) -> None:
        """Write the trace of a launch."""
        timeline = run.result.timeline
        if timeline is not None:
            number = len(self.written) + 1
            name = f"kernel-{number}.traceg"
            kernel = self.program.kernels[run.launch.kernel]
            text = trace_text(kernel, run.launch, timeline, number)
            write_atomic(self.folder / name, text.encode())
            self.written.append(name)

    def finish(self) -> None:
        """Write the list of kernels. Raises `DstcError` if there is none."""
        if not self.written:
            raise DstcError(
                "nothing to trace for Accel-Sim: no launch has Volta's instructions alone; try "
                "--engine dense"
            )
        write_atomic(self.folder / "kernelslist.g", ("\n".join(self.written) + "\n").encode())


def _strange(kernel: Kernel) -> list[str]:
    """Instructions of a kernel that Volta lacks."""
    found = {decode(*words).mnemonic for words in kernel.code.tolist()}
    return sorted(found - SASS.keys())


def trace_text(kernel: Kernel, launch: Launch, timeline: Timeline, number: int) -> str:
    """The `.traceg` file of a launch: CTA by CTA, warp by warp, each in its order of issue."""
    out = StringIO()
    x, y, z = launch.grid
    out.write(
        f"-kernel name = {launch.name}\n-kernel id = {number}\n-grid dim = ({x},{y},{z})\n"
        f"-block dim = ({WARP_SIZE * kernel.warps},1,1)\n-shmem = {kernel.shared_bytes}\n"
        f"-nregs = {max(1, kernel.registers)}\n-binary version = {BINARY_VERSION}\n"
        f"-cuda stream id = 0\n-shmem base_addr = {_SHARED_BASE:#018x}\n"
        f"-local mem base_addr = {_LOCAL_BASE:#018x}\n-nvbit version = 1.5.5\n"
        "-accelsim tracer version = 4\n\n"
        "#traces format = PC mask dest_num [reg_dests] opcode src_num [reg_srcs] mem_width "
        "[adrrescompress?] [mem_addresses] immediate\n"
    )
    lines: list[_Line] = [_Line.of(decode(*words)) for words in kernel.code.tolist()]
    for cta, warps in _by_cta(timeline):
        out.write(f"\n#BEGIN_TB\n\nthread block = {cta % x},{cta // x % y},{cta // (x * y)}\n")
        for warp, rows in enumerate(warps):
            out.write(f"\nwarp = {warp}\ninsts = {len(rows)}\n")
            for row in rows.tolist():
                line, mask = lines[int(row[E.PC])], row[E.VALUE]
                at = INSTRUCTION_BYTES * row[E.PC]
                places = _addresses(mask, row[E.ADDRESS :]) if line.width else ""
                out.write(f"{at:04x} {mask:08x} {line.text} {line.width}{places} 0\n")
        out.write("\n#END_TB\n")
    return out.getvalue()


@dataclass(frozen=True)
class _Line:
    """An instruction's part of a line that is always the same; bytes a lane that it moves, or 0."""

    text: str
    width: int

    @staticmethod
    def of(inst: Inst) -> _Line:
        row = inst.row
        memory = row.unit in (Unit.GLOBAL, Unit.SHARED) and row.mnemonic not in ("SHFL", "PREFETCH")
        width = WIDTH_BYTES.get(inst.modifiers.get("width", "32"), 4) if memory else 0
        name = SASS[row.mnemonic]
        if memory and width != 4:
            name += f".{8 * width}" if width > 4 else f".U{8 * width}"
        if row.mnemonic == "HMMA":
            name += "." + inst.modifiers["step"]
        dests: list[str] = []
        sources: list[str] = []
        for operand in row.operands:
            register = _register(operand.kind, inst.operands.get(operand.role))
            if register is not None:
                (dests if operand.write else sources).append(f"R{register}")
        sources = sources[:_MOST_SOURCES]
        words = [str(len(dests)), *dests, name, str(len(sources)), *sources]
        return _Line(" ".join(words), width)


def _register(kind: Kind, value: Any) -> int | None:
    """The register of an operand, if it has one that is not always zero."""
    if kind is Kind.ADDR:
        value = value[0]
    elif isinstance(value, Reg):
        value = value.index
    elif kind is not Kind.REG:
        return None
    return value if isinstance(value, int) and value != RZ else None


def _by_cta(timeline: Timeline) -> Iterator[tuple[int, list[Any]]]:
    """Number and warps of each CTA; of a warp its events."""
    rows = np.concatenate([e[e[:, E.KIND] == Event.ISSUE] for e in timeline.events.values()])
    warp = rows[:, E.WARP] % timeline.warps
    order = np.lexsort((rows[:, E.TIME], warp, rows[:, E.CTA]))
    rows, warp = rows[order], warp[order]
    ctas, begins = np.unique(rows[:, E.CTA], return_index=True)
    ends = [*begins[1:].tolist(), len(rows)]
    for cta, begin, end in zip(ctas.tolist(), begins.tolist(), ends, strict=True):
        own, of = rows[begin:end], warp[begin:end]
        yield cta, [own[of == i] for i in range(timeline.warps)]


def _addresses(mask: int, addresses: Sequence[int]) -> str:
    """Base and stride where lanes without a gap go in steps, else the active lanes' addresses."""
    lanes = [i for i in range(WARP_SIZE) if mask >> i & 1]
    found = [addresses[i] for i in lanes]
    if len(found) > 1 and lanes[-1] - lanes[0] + 1 == len(lanes):
        stride = found[1] - found[0]
        if all(b - a == stride for a, b in pairwise(found)):
            return f" 1 {found[0]:#x} {stride}"
    return "".join([" 0", *(f" {a:#x}" for a in found)])
