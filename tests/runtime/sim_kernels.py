"""Helpers of the simulator's tests: assemble, launch, and a lane-wise harness.

In: assembly text and numpy arrays. Out: launch results and result registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dstc.backend.isa.assembler import assemble
from dstc.runtime.device import Device

HEADER = """
.kernel test
.param IN
.param OUT
S2R R0, SR_LANE ;
SHL R1, R0, 2 ;
IADD3 R2, R1, c[IN], RZ ;
IADD3 R3, R1, c[OUT], RZ ;
LDG.32 R4, [R2] ;
LDG.32 R5, [R2+128] ;
LDG.32 R6, [R2+256] ;
LDG.32 R7, [R2+384] ;
ISETP.NE.U32 P1, R7, 0 ;
MOV R8, 0 ;
"""
FOOTER = """
STG.32 [R3], R8 ;
EXIT ;
.end
"""


def kernel(text: str) -> Any:
    """The only kernel of an assembly text."""
    return next(iter(assemble(text).kernels.values()))


def lanes(
    body: str,
    a: Any,
    b: Any = None,
    c: Any = None,
    p: Any = None,
    device: Device | None = None,
) -> np.ndarray:
    """Run `body` with R4, R5, R6 = a, b, c and P1 = p != 0; returns R8 (uint32, 32 lanes)."""
    device = device or Device(mode="functional")
    zero = np.zeros(32, np.uint32)
    rows = [zero if x is None else np.asarray(x).view(np.uint32) for x in (a, b, c, p)]
    source = device.upload(np.stack(rows))
    target = device.allocate(128)
    device.launch(kernel(HEADER + body + FOOTER), (1, 1, 1), [source, target])
    return device.read(target, 128).view(np.uint32)


def timed(
    body: str,
    machine: str = "v100",
    grid: tuple[int, ...] = (1, 1, 1),
    args: tuple[int, ...] = (),
    header: str = "",
    device: Device | None = None,
    **overrides: object,
) -> Any:
    """Launch result of `body` in cycle mode; overrides `sm__count=1` stand for sm.count."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    device = device or Device(machine, overrides=changes)
    return device.launch(kernel(f".kernel test\n{header}\n{body}\nEXIT ;\n.end"), grid, args)


def stall_sum(device: Device, result: Any) -> bool:
    """Whether every sub-core cycle has one cause and, where a warp is there, one instruction."""
    machine, stalls = device.machine, result.stalls
    total = sum(stalls.values())
    waits = total - stalls["issued"] - stalls["no_warp"]
    whole = total == result.cycles * machine["sm.sub_cores"] * machine["sm.count"]
    return whole and (result.pc_issued.sum(), result.pc_stalled.sum()) == (stalls["issued"], waits)
