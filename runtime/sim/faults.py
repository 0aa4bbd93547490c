"""Trap messages.

In: a fault code and where it happened. Out: one line: what, kernel, pc, instruction, source, CTA,
warp, lane, address.
"""

from __future__ import annotations

from typing import Any

from .constants import C, Fault, M, W, WarpState

_MEMORY_FAULTS = (
    Fault.GLOBAL_BOUNDS,
    Fault.SHARED_BOUNDS,
    Fault.MISALIGNED,
    Fault.GLOBAL_UNINITIALISED,
    Fault.SHARED_UNINITIALISED,
    Fault.SHARED_RACE,
    Fault.RUN_SLOT,
)
_RUNAWAYS = (Fault.RUNAWAY, Fault.RUNAWAY_LAUNCH)
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
    Fault.CAPACITY: "a tile has more values than the SPWMMA names registers for",
    Fault.RUN_SLOT: "a run of more values than its slots of 64 bytes hold",
    Fault.STUCK: "no warp can ever go on; this is a fault of the simulator, please report it",
    Fault.GLOBAL_UNINITIALISED: "global memory is read that was never written",
    Fault.SHARED_UNINITIALISED: "shared memory is read that was never written",
    Fault.SHARED_RACE: "shared-memory race with warp {other}, no barrier in between",
}
"""What each `Fault` means."""


def describe(kernel: Any, sm: Any, warps: Any, ctas: Any) -> str:
    """The message for the fault recorded in the SM row `sm`.

    A fault of no particular lane names the first one that is active.
    """
    fault, pc, w = int(sm[M.FAULT]), int(sm[M.FAULT_PC]), int(sm[M.FAULT_WARP])
    warp, active = int(warps[w, W.ID]), int(warps[w, W.ACTIVE])
    what = MESSAGES[fault].format(
        shared_bytes=kernel.shared_bytes, acc_tiles=kernel.acc_tiles, other=sm[M.FAULT_OTHER] - 1
    )
    siblings = warps[w - warp : w - warp + kernel.warps]
    waiting = [s for s in siblings if s[W.STATE] == WarpState.AT_BARRIER]
    if fault in _RUNAWAYS and waiting and warps[w, W.STATE] == WarpState.RUNNING:
        held = int(waiting[0][W.PC]) - 1
        what = (
            f"deadlock: {len(waiting)} of the CTA's {kernel.warps} warps wait at the barrier at pc "
            f"{held}, which this warp does not reach; {what}"
        )
    cta = ctas[int(warps[w, W.CTA])]
    where = f"kernel {kernel.name}, pc {pc}"
    if 0 <= pc < len(kernel.code):
        where += f" `{_text(kernel, pc)}`"
        if kernel.sources and kernel.sources[pc]:
            where += f" (from {' '.join(kernel.sources[pc].split())})"
    where += f", CTA ({cta[C.X]},{cta[C.Y]},{cta[C.Z]}), warp {warp}"
    if fault in _MEMORY_FAULTS:
        where += f", lane {sm[M.FAULT_LANE]}, address {int(sm[M.FAULT_ADDRESS]):#x}"
    else:
        where += f", lane {max(0, (active & -active).bit_length() - 1)}"
    return f"trap: {what}: {where}"


def _text(kernel: Any, pc: int) -> str:
    """The instruction as assembly."""
    from ...backend.isa.disassembler import render_at

    return render_at(kernel, pc).strip().rstrip(";").rstrip()
