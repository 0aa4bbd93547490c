"""`--trace` of `dstc run` and `dstc sim`: who watches the launches, and what is written.

In: parsed options, a program. Out: an observer of the run; a file or folder at its end.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...backend.isa.errors import DstcError
from .common import write_text

if TYPE_CHECKING:
    from ...backend.isa.program import Program
    from ...runtime.machine import Machine
    from ..accelsim import AccelSimWriter
    from ..trace import TraceWriter

OPTIONS = ("trace", "format", "trace-kernel", "trace-sm", "trace-window")


def tracer(
    args: argparse.Namespace, program: Program, machine: Machine
) -> TraceWriter | AccelSimWriter | None:
    """The observer that `--trace` asks for. Raises `DstcError` for options that say nothing."""
    if not args.trace:
        for option, default in (("format", "perfetto"), ("trace_kernel", ""), ("trace_sm", "0"),
                                ("trace_window", "")):  # fmt: skip
            if getattr(args, option) != default:
                raise DstcError(f"--{option.replace('_', '-')} bears on --trace; give it, too")
        return None
    if args.mode != "cycle":
        raise DstcError(f"--trace needs time; --mode {args.mode} has none: use cycle")
    kernels = [name for name in args.trace_kernel.split(",") if name]
    steps = [] if program.plan is None else program.plan.steps
    known = {*program.kernels, *(step.name for step in steps)}
    for name in kernels:
        if name not in known:
            raise DstcError(f"--trace-kernel {name}: no such kernel; there are {', '.join(known)}")
    if args.format == "accelsim":
        from ..accelsim import AccelSimWriter

        if Path(args.trace).is_file():
            raise DstcError(f"--trace {args.trace}: is a file; --format accelsim writes a folder")
        return AccelSimWriter(Path(args.trace), program, kernels)
    from ..trace import TraceWriter

    sms = tuple(_number(part, "--trace-sm") for part in args.trace_sm.split(","))
    count = machine["sm.count"]
    if max(sms) >= count:
        raise DstcError(f"--trace-sm {max(sms)}: {machine.name} has SMs 0 to {count - 1}")
    return TraceWriter(program, machine, sms, _window(args.trace_window), kernels)


def write_trace(
    args: argparse.Namespace,
    writer: TraceWriter | AccelSimWriter | None,
    notes: list[str],
    *,
    partial: bool = False,
) -> None:
    """Write what was recorded; `notes` gets what was left out. `partial`: the run was stopped."""
    from ..accelsim import AccelSimWriter

    if isinstance(writer, AccelSimWriter):
        if writer.written or not partial:
            writer.finish()
        if writer.skipped:
            notes.append(
                f"not traced: {', '.join(writer.skipped)} have instructions that Accel-Sim lacks"
            )
    elif writer is not None:
        write_text(args.trace, writer.text())


def _number(text: str, what: str) -> int:
    if not text.isdigit():
        raise DstcError(f"{what} {text}: not a number from 0 on")
    return int(text)


def _window(text: str) -> tuple[int, int]:
    if not text:
        return 0, 1 << 40
    first, _, last = text.partition(":")
    window = _number(first or "0", "--trace-window"), _number(last, "--trace-window")
    if window[0] >= window[1]:
        raise DstcError(f"--trace-window {text}: it ends before it begins; give FROM:TO")
    return window
