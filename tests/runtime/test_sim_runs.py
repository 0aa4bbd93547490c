"""LDV: runs of condensed values from slots of 64 bytes.

In: random runs. Out: registers as numpy puts them together, in both modes; traps; what it costs.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import value_position
from dstc.runtime.device import Device

from .sim_kernels import kernel, stall_sum, timed

U = np.uint32
REGISTERS = {"LO": 8, "HI": 8, "ALL": 16}
LANES = {
    "LO": list(range(16)),
    "HI": list(range(16, 32)),
    "ALL": [half + k for k in range(16) for half in (0, 16)],
}


def program(which: str, guard: str = "") -> str:
    """Load runs told by two words a lane; store all registers."""
    count = REGISTERS[which]
    stores = "\n".join(f"STG.32 [R3+{128 * i}], R{16 + i} ;" for i in range(count))
    return f"""
    .kernel runs
    .param FROM
    .param WORDS
    .param OUT
    S2R R0, SR_LANE ;
    SHL R1, R0, 2 ;
    IADD3 R2, R1, c[WORDS], RZ ;
    IADD3 R3, R1, c[OUT], RZ ;
    LDG.32 R4, [R2] ;
    LDG.32 R5, [R2+128] ;
    IADD3 R4, R4, c[FROM], RZ ;
    ISETP.LT.U32 P0, R0, 20 ;
    {guard}LDV.{which} R16, [R4-64], R5 ;
    {stores}
    EXIT ;
    .end"""


def expected(which: str, data: np.ndarray, starts: np.ndarray, words: np.ndarray) -> np.ndarray:
    """The registers (count, 32)."""
    values: list[int] = []
    for lane in LANES[which]:
        first, total = int(words[lane]) & 0xFF, int(words[lane]) >> 8 & 0xFF
        at = int(starts[lane])
        values += data[at // 2 : at // 2 + first].tolist()
        following = (at // 64 + 1) * 32
        values += data[following : following + total - first].tolist()
    registers = np.zeros((REGISTERS[which], 32), U)
    for i, value in enumerate(values):
        register, lane, half = value_position(i)
        registers[register, lane] |= U(value << 16 * half)
    return registers


@pytest.mark.parametrize("which", LANES)
@pytest.mark.parametrize("mode", ["functional", "cycle"])
def test_runs_are_put_together(which, mode):
    rng = np.random.default_rng(5)
    data = rng.integers(0, 1 << 16, 64 * 32, dtype=np.uint16)
    slot, rank = rng.integers(0, 62, 32), rng.integers(0, 32, 32)
    first = np.minimum(rng.integers(0, 33, 32), 32 - rank)
    # the two parts of a window hold no more than 32 values
    total = first + np.minimum(rng.integers(0, 33, 32), 32 - first)
    starts = (64 * slot + 2 * rank).astype(U)
    words = (first + 256 * total).astype(U)
    for off in (False, True):
        device = Device("dstc", mode=mode, checks="full")
        source = device.upload(data)
        told = device.upload(np.stack([starts + U(64), words]))
        out = device.allocate(128 * REGISTERS[which])
        guard = "@P0 " if off else ""
        device.launch(kernel(program(which, guard)), (1, 1, 1), [source, told, out])
        got = device.read(out, 128 * REGISTERS[which]).view(U).reshape(-1, 32)
        seen = np.where(np.arange(32) < 20, words, 0) if off else words
        assert np.array_equal(got, expected(which, data, starts, seen.astype(U)))


def test_own_stores_are_seen():
    device = Device("dstc")
    out = device.allocate(128)
    text = f"""
    S2R R0, SR_LANE ;
    SHL R1, R0, 2 ;
    IADD3 R1, R1, {out}, RZ ;
    IADD3 R2, R0, 7, RZ ;
    STG.32 [R1], R2 ;
    MOV R3, {out + 4} ;
    MOV R4, {2 + 256 * 2} ;
    ISETP.EQ.U32 P0, R0, 0 ;
    @P0 LDV.LO R8, [R3], R4 ;
    @P0 STG.32 [R1], R8 ;
    """
    timed(text, device=device)
    assert device.read(out, 4).view(U)[0] == 8


@pytest.mark.parametrize(
    ("address", "word", "message"),
    [
        ("{out}+1", 0x0101, "misaligned"),
        ("{out}+62", 0x0202, "a run of more values than its slots"),
        ("{out}", 0x2100, "a run of more values than its slots"),
        ("{out}", 0x0102, "a run of more values than its slots"),
        ("{out}+4096", 0x0101, "outside every allocation"),
        ("{out}+64", 0x0200, "outside every allocation"),
    ],
)
def test_traps(address, word, message):
    device = Device("dstc", mode="functional")
    out = device.upload(np.zeros(128, np.uint8))
    at = eval(address.format(out=out))
    with pytest.raises(DstcError, match=message):
        timed(f"MOV R0, {at} ;\nMOV R1, {word} ;\nLDV.LO R8, [R0], R1 ;", device=device)


def test_a_machine_without_runs_refuses():
    with pytest.raises(DstcError, match=r"LDV belongs to the loads of runs"):
        timed("MOV R0, 0 ;\nLDV.LO R8, [R0], RZ ;", machine="dstc", features__runs="off")


def test_cost_by_parts_and_sectors():
    """128 bytes of the result a cycle, four sectors a cycle, sectors that lanes share once."""

    def sectors(values: int, apart: int) -> tuple[int, int]:
        device = Device("dstc")
        source = device.allocate(64 * 64 + 64)
        text = f"""
        S2R R0, SR_LANE ;
        IMAD.LO R1, R0, {apart}, RZ ;
        IADD3 R1, R1, {source}, RZ ;
        MOV R2, {values * 257} ;
        LDV.LO R8, [R1], R2 ;
        LDV.LO R16, [R1], R2 ;
        IADD3 R24, R8, R16, RZ ;
        """
        found = timed(text, device=device)
        assert stall_sum(device, found)
        return found.counters["l1_sectors"], found.cycles

    assert sectors(0, 64)[0] == 0
    assert sectors(1, 64)[0] == 2 * 16  # a sector each
    assert sectors(4, 64)[0] == 2 * 16
    assert sectors(4, 0)[0] == 2 * 1  # all lanes the same one
    assert sectors(32, 0)[0] == 2 * 8 * 2  # eight parts of two sectors
    assert sectors(32, 64)[0] == 2 * 32
    assert sectors(32, 64)[1] > sectors(1, 64)[1]
