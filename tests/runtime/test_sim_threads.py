"""Any number of host threads gives the same values, cycles, counters, stalls and traps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import Trap
from dstc.compiler.bench import Gemm, compile_gemm
from dstc.runtime import device as device_module
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine

from .sim_kernels import kernel, timed

COUNTS = (1, 2, 3)

ATOMICS_AND_BARRIERS = """
    S2R R0, SR_TID ;
    S2R R1, SR_CTAID_X ;
    IMAD.LO R1, R1, 1664, RZ ;
    SHL R2, R0, 2 ;
    IADD3 R3, R2, R1, RZ ;
    IADD3 R3, R3, c[X], RZ ;
    MOV R6, 0 ;
    again:
    LDG.32 R4, [R3] ;
    STS.32 [R2], R4 ;
    BAR.SYNC ;
    LDS.128 R8, [RZ] ;
    FADD R4, R4, R8 ;
    STG.32 [R3+128], R4 ;
    MOV R12, c[X] ;
    RED.ADD.U32 [R12], R6 ;
    ATOM.ADD.U32 R14, [R12+4], R6 ;
    IADD3 R6, R6, 1, RZ ;
    ISETP.LT.U32 P0, R6, 5 ;
    @P0 BRA again ;
    STG.32 [R3+256], R14 ;
"""
RACE = """
    S2R R0, SR_LANE ;
    S2R R1, SR_CTAID_X ;
    SHL R2, R0, 2 ;
    IADD3 R3, R2, c[X], RZ ;
    MOV R6, 0 ;
    MOV R7, 0 ;
    again:
    LDG.32 R4, [R3] ;
    IMAD.LO R7, R7, 3, R4 ;
    IADD3 R5, R4, R1, RZ ;
    STG.32 [R3], R5 ;
    IADD3 R6, R6, 1, RZ ;
    ISETP.LT.U32 P0, R6, 40 ;
    @P0 BRA again ;
    IMAD.LO R1, R1, 128, R3 ;
    STG.32 [R1+128], R7 ;
"""
"""CTAs of all SMs read and write the same words; what each of them sees is fixed all the same."""


def launched(body: str, header: str, threads: int, ctas: int) -> tuple[Any, ...]:
    device = Device("v100", threads=threads)
    at = device.upload(np.arange(1 << 17, dtype=np.uint32))
    result = timed(body, header=header, grid=(ctas,), args=(at,), device=device)
    return (*facts(result), device.read(at, 1 << 19).tobytes())


def facts(result: Any) -> tuple[Any, ...]:
    return (result.cycles, result.counters, result.stalls, result.pc_issued.tolist(),
            result.pc_stalled.tolist())  # fmt: skip


def product(engine: str, machine: str, threads: int) -> tuple[Any, ...]:
    gemm = Gemm(384, 256, 160, *((1, 1) if engine == "dense" else (0.3, 0.2)))
    compiled, _ = compile_gemm(gemm, Machine.load(machine), engine)
    a, b = gemm.operands()
    device = Device(machine, threads=threads)
    run = compiled.run({"arg0": a, "arg1": b}, device=device, statistics=False)
    (output,) = run.outputs.values()
    return (*(f for k in run.kernels for f in facts(k.result)), output.tobytes())


CASES = {
    "dense": lambda n: product("dense", "v100", n),
    "dual": lambda n: product("dual", "dstc", n),
    "atomics and barriers": lambda n: launched(
        ATOMICS_AND_BARRIERS, ".warps 6\n.shared 1024\n.param X", n, 300
    ),
    "race": lambda n: launched(RACE, ".param X", n, 160),
}


@pytest.mark.parametrize("case", CASES)
def test_results_do_not_depend_on_threads(case):
    first, *others = (CASES[case](n) for n in COUNTS)
    for other in others:
        assert other == first


def trapped(body: str, threads: int, **settings: Any) -> str:
    device = Device("v100", threads=threads, **settings)
    text = f".kernel test\n.param X\n{body}\nEXIT ;\n.end"
    with pytest.raises(Trap) as caught:
        device.launch(kernel(text), (80,), [device.allocate(1 << 12)])
    return str(caught.value)


COUNT_DOWN = """
    S2R R1, SR_CTAID_X ;
    MOV R2, 90 ;
    ISUB R2, R2, R1 ;
    again:
    IADD3 R2, R2, -1, RZ ;
    ISETP.GT.S32 P0, R2, 0 ;
    @P0 BRA again ;
"""
"""CTA 79 is the first to get past it."""
TRAPS = {
    "first in time, not in SM order": COUNT_DOWN + "MOV R9, 0 ;\nLDG.32 R4, [R9] ;",
    "far ahead of the others": COUNT_DOWN + "IADD3 R4, R30, 1, RZ ;",
}


@pytest.mark.parametrize("case", TRAPS)
def test_the_trap_reported_does_not_depend_on_threads(case):
    first, *others = (trapped(TRAPS[case], n) for n in COUNTS)
    assert "CTA (79,0,0)" in first
    assert others == [first] * len(others)


def test_a_runaway_ends_on_any_number_of_threads():
    body = "again:\nIADD3 R2, RZ, 1, RZ ;\nBRA again ;"
    first, *others = (trapped(body, n, max_instructions=20000) for n in COUNTS)
    assert "runaway" in first and others == [first] * len(others)


def test_by_default_there_is_a_thread_a_cpu(monkeypatch):
    monkeypatch.setattr(device_module, "available_cpus", lambda: 5)
    assert Device().threads == 5
    assert Device(threads=2).threads == 2


LOADS_AFTER_STORES = {
    "a byte into a word": ("STG.U8 [R3+1], R8 ;\nLDG.32 R9, [R3] ;", 0x11223344, 0x1122AB44),
    "a word over two halves": ("STG.U16 [R3], R8 ;\nSTG.U16 [R3+2], R8 ;\nLDG.32 R9, [R3] ;",
                               0x11223344, 0xCDABCDAB),
    "the later of two": ("STG.32 [R3], R8 ;\nSTG.U8 [R3], RZ ;\nLDG.32 R9, [R3] ;",
                         0, 0x0000CD00),
    "a byte of a word": ("STG.32 [R3], R8 ;\nLDG.U8 R9, [R3+1] ;", 0, 0xCD),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADS_AFTER_STORES)
@pytest.mark.parametrize("mode", ("cycle", "functional"))
def test_a_warp_sees_its_stores_at_once(case, mode):
    access, before, after = LOADS_AFTER_STORES[case]
    device = Device("v100", mode=mode)
    at = device.upload(np.full(64, before, np.uint32))
    body = f"""
    S2R R0, SR_LANE ;
    SHL R2, R0, 2 ;
    IADD3 R3, R2, c[X], RZ ;
    MOV R8, 0xcdab ;
    {access}
    STG.32 [R3+128], R9 ;
    """
    timed(body, header=".param X", args=(at,), device=device)
    assert (device.read(at + 128, 128).view(np.uint32) == after).all()
