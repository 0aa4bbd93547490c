"""Garbage given as a program: the process lives, and says in a line what is wrong.

In: a real program with bits of its code or its file changed, and random bytes. Out: a result or a
one-line `DstcError`; in both modes, at every level of checks, the same twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from dstc.backend.isa.assembler import assemble
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.program import Program
from dstc.runtime.device import CHECKS, MODES, Device
from hypothesis import given, settings
from hypothesis import strategies as st

from ..backend.isa_strategies import instructions
from .sim_kernels import stall_sum

SEED = assemble("""
.kernel seed
.warps 3
.shared 512
.acc 2
.param X
S2R R0, SR_LANE ;
SHL R1, R0, 4 ;
IADD3 R2, R1, c[X], RZ ;
LDG.128 R4, [R2] ;
LDG.128 R8, [R2+512] ;
STS.128 [R1], R4 ;
BAR.SYNC ;
LDS.64 R12, [R1+8] ;
ISETP.LT.U32 P0, R0, 7 ;
BSSY ;
@P0 BRA skip ;
FFMA R13, R4, R5, R6 ;
HMMA.884.AROW.BCOL.STEP1 R14, R4, R8, R12 ;
skip:
BSYNC ;
ACLR ACC0 ;
SPWMMA.323216.ALO.BLO ACC0, R4, R8, R12, R13 ;
BOHMMA.32321.K3.ALO.BLO R3, R12, R13 ;
OHMMA.8161.K0.ALO.BLO.A0.B1 ACC0, R4, R8, R3, R12 ;
ARD.P1 R16, ACC0 ;
AWR.P2.T ACC1, R16 ;
RED.ADD.F32 [R2], R16 ;
ATOM.ADD.U32 R17, [R2], R0 ;
SHFL.BFLY R18, R17, 3 ;
MUFU.RCP R19, R18 ;
STG.64 [R2+1024], R18 ;
EXIT ;
.end
""")
KERNEL = SEED.kernels["seed"]
LENGTH = len(KERNEL.code)

FLIPS = st.lists(st.tuples(st.integers(0, LENGTH - 1), st.integers(0, 127)), max_size=4)


def words(flips) -> np.ndarray:
    """The code with bits flipped: (instruction, bit of 128)."""
    code = KERNEL.code.copy()
    for at, bit in flips:
        code[at, bit // 64] ^= np.uint64(1 << bit % 64)
    return code


def outcome(kernel, mode: str, checks: str):
    """What running a kernel of whatever code gives: an error's text, or cycles and memory."""
    device = Device(mode=mode, checks=checks, max_instructions=200, overrides={"sm.count": 2})
    base = device.allocate(2048)
    device.write(base, np.arange(512, dtype=np.uint32) * 0x01030507)
    try:
        result = device.launch(kernel, (2, 2, 1), [base] * len(kernel.params))
    except DstcError as error:
        assert "\n" not in str(error)
        return str(error)
    assert mode == "functional" or stall_sum(device, result)
    return result.cycles, result.stalls, bytes(device.read(base, 2048))


def run_everywhere(kernel) -> None:
    """At every level of checks, in both modes, twice each."""
    for mode in MODES:
        for checks in CHECKS:
            assert outcome(kernel, mode, checks) == outcome(kernel, mode, checks)


def test_the_seed_runs():
    assert not isinstance(outcome(KERNEL, "cycle", "basic"), str)


@settings(max_examples=150)
@given(FLIPS)
def test_flipped_bits_of_code(flips):
    run_everywhere(replace(KERNEL, code=words(flips)))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, LENGTH - 2), instructions(1, LENGTH)), max_size=6))
def test_foreign_instructions_in_the_code(changes):
    from dstc.backend.isa.encoding import encode

    code = KERNEL.code.copy()
    for at, inst in changes:
        code[at] = encode(inst)
    run_everywhere(replace(KERNEL, code=code, registers=255, acc_tiles=4))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, LENGTH - 1), st.integers(0, 2**64 - 1),
                          st.integers(0, 2**64 - 1)), min_size=1, max_size=2))  # fmt: skip
def test_random_words_in_the_code(changes):
    code = KERNEL.code.copy()
    for at, low, high in changes:
        code[at] = low, high
    run_everywhere(replace(KERNEL, code=code))


IMAGE = replace(SEED, kernels={"seed": KERNEL}).to_bytes()


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(IMAGE) - 1), st.integers(0, 255)), max_size=4),
       st.integers(0, len(IMAGE)))  # fmt: skip
def test_altered_files(changes, end):
    data = bytearray(IMAGE)
    for at, value in changes:
        data[at] = value
    data = data[: max(end, 16)] if end % 3 == 0 else data
    load_and_run(bytes(data))


@given(st.binary(max_size=300))
def test_random_bytes(data):
    load_and_run(data)
    load_and_run(IMAGE[:16] + data)


def load_and_run(data: bytes) -> None:
    """Run the file's kernels if it loads."""
    try:
        program = Program.from_bytes(data, "f.bin")
    except DstcError as error:
        assert "\n" not in str(error)
        return
    for kernel in program.kernels.values():
        outcome(kernel, "cycle", "basic")
