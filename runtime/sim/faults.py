"""Trap messages.

In: a fault code and where it happened. Out: one line: what, kernel, pc, instruction, source, CTA,
warp, lane, address.
"""

from __future__ import annotations

from typing import Any

from .constants import C, Fault, M, W

_LANE_FAULTS = (Fault.GLOBAL_BOUNDS, Fault.SHARED_BOUNDS, Fault.MISALIGNED)
MESSAGES: dict[int, str] = {
    Fault.GLOBAL_BOUNDS: "global access outside every allocation",
    Fault.SHARED_BOUNDS: "access beyond the CTA's {shared_bytes} bytes of shared memory",
    Fault.MISALIGNED: "misaligned access",
    Fault.REGISTER_UNINITIALISED: "a register is read that was never written",
    Fault.PREDICATE_UNINITIALISED: "a predicate is read that was never written",
    Fault.ACC_UNINITIALISED: "an accumulation tile is used before ACLR or AWR",
    Fault.ACC_BOUNDS: "an accumulation tile beyond the kernel's {acc_tiles}",
    Fault.NO_REGION: "a divergent branch outside any BSSY region",
    Fault.STACK_OVERFLOW: "the reconvergence stack is full; BSSY without BSYNC in a loop?",
    Fault.BSYNC_WITHOUT_BSSY: "BSYNC without an open BSSY region",
    Fault.DIVERGENT_CONTROL: "a guard that not all active lanes share, on BSSY or BSYNC",
    Fault.DIVERGENT_BARRIER: "barrier reached by only some of the warp's lanes",
    Fault.DIVERGENT_TENSOR: "a warp-wide accumulator instruction with lanes switched off",
    Fault.RUNAWAY: "runaway: the warp exceeded max_instructions",
    Fault.RUNAWAY_LAUNCH: "runaway: the launch exceeded 4 * max_instructions and no warp ended",
    Fault.BAD_PC: "the program counter left the kernel",
    Fault.STREAM_END: "OHMMA reads past the 512 condensed values of a tile",
    Fault.DEADLOCK: "deadlock: no warp can ever go on",
}
"""What each `Fault` means."""


def describe(kernel: Any, sm: Any, warps: Any, ctas: Any) -> str:
    """The message for the fault recorded in the SM row `sm`."""
    fault, pc, w = int(sm[M.FAULT]), int(sm[M.FAULT_PC]), int(sm[M.FAULT_WARP])
    what = MESSAGES[fault].format(shared_bytes=kernel.shared_bytes, acc_tiles=kernel.acc_tiles)
    cta = ctas[int(warps[w, W.CTA])]
    where = f"kernel {kernel.name}, pc {pc}"
    if 0 <= pc < len(kernel.code):
        where += f" `{_text(kernel, pc)}`"
        if kernel.sources and kernel.sources[pc]:
            where += f" (from {' '.join(kernel.sources[pc].split())})"
    where += f", CTA ({cta[C.X]},{cta[C.Y]},{cta[C.Z]}), warp {warps[w, W.ID]}"
    if fault in _LANE_FAULTS:
        where += f", lane {sm[M.FAULT_LANE]}, address {int(sm[M.FAULT_ADDRESS]):#x}"
    return f"trap: {what}: {where}"


def _text(kernel: Any, pc: int) -> str:
    """The instruction as assembly."""
    from ...backend.isa.disassembler import render_at

    return render_at(kernel, pc).strip().rstrip(";").rstrip()
