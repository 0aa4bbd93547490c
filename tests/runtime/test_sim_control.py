"""Branches, divergence, barriers, special registers, and the traps with their messages.

In: small programs. Out: what each lane ends up with, or the trap's one line.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError, Trap
from dstc.runtime.device import Device

from .sim_kernels import kernel, lanes

U = np.uint32
LANE = np.arange(32, dtype=U)
MODES = ("functional", "cycle")


@pytest.mark.parametrize("mode", MODES)
def test_uniform_loop(mode):
    body = "again:\nIADD3 R8, R8, 3, RZ ;\nISETP.LT.U32 P0, R8, 30 ;\n@P0 BRA again ;"
    assert (lanes(body, LANE, device=Device(mode=mode)) == 30).all()


@pytest.mark.parametrize("mode", MODES)
def test_divergent_if_else(mode):
    body = """
    ISETP.LT.U32 P0, R4, 10 ;
    BSSY ;
    @P0 BRA then ;
    IADD3 R8, R4, 100, RZ ;
    BRA join ;
    then:
    IADD3 R8, R4, 1000, RZ ;
    join:
    BSYNC ;
    IADD3 R8, R8, 1, RZ ;
    """
    got = lanes(body, LANE, device=Device(mode=mode))
    assert np.array_equal(got, np.where(LANE < 10, LANE + 1001, LANE + 101))


@pytest.mark.parametrize("mode", MODES)
def test_nested_divergence_and_data_dependent_loop(mode):
    """Each lane loops its own number of times, with an inner if that differs by lane."""
    body = """
    MOV R9, 0 ;
    BSSY ;
    again:
    ISETP.GE.U32 P0, R9, R4 ;
    @P0 BRA out ;
    LOP.AND R10, R9, 1 ;
    LOP.AND R11, R4, 1 ;
    ISETP.EQ.U32 P2, R10, R11 ;
    BSSY ;
    @P2 BRA even ;
    IADD3 R8, R8, 1, RZ ;
    BRA joined ;
    even:
    IADD3 R8, R8, 100, RZ ;
    joined:
    BSYNC ;
    IADD3 R9, R9, 1, RZ ;
    BRA again ;
    out:
    BSYNC ;
    """
    times = np.random.default_rng(1).integers(0, 20, 32).astype(U)
    want = [sum(100 if i % 2 == n % 2 else 1 for i in range(n)) for n in times.tolist()]
    assert lanes(body, times, device=Device(mode=mode)).tolist() == want


@pytest.mark.parametrize("mode", MODES)
def test_exit_under_divergence(mode):
    """Lanes that exit inside a region do not hold up the others."""
    body = """
    ISETP.LT.U32 P0, R4, 5 ;
    BSSY ;
    @P0 BRA leave ;
    MOV R8, 1 ;
    BRA join ;
    leave:
    MOV R8, 2 ;
    STG.32 [R3], R8 ;
    EXIT ;
    join:
    BSYNC ;
    IADD3 R8, R8, 10, RZ ;
    """
    got = lanes(body, LANE, device=Device(mode=mode))
    assert np.array_equal(got, np.where(LANE < 5, 2, 11))


@pytest.mark.parametrize("mode", MODES)
def test_barrier_orders_shared_memory(mode):
    """Each of 8 warps reads what the next one wrote, three times; the last warp exits early."""
    k = kernel("""
    .kernel ring
    .warps 8
    .shared 2048
    .param OUT
    S2R R0, SR_TID ;
    S2R R1, SR_WARP ;
    SHL R2, R0, 2 ;
    MOV R8, R0 ;
    ISETP.EQ.U32 P0, R1, 7 ;
    @P0 STS.32 [R2], R0 ;
    @P0 STS.32 [R2+1024], R0 ;
    @P0 EXIT ;
    MOV R5, 0 ;
    again:
    STS.32 [R2], R8 ;
    BAR.SYNC ;
    LDS.32 R6, [R2+128] ;
    BAR.SYNC ;
    IADD3 R8, R6, 1, RZ ;
    IADD3 R5, R5, 1, RZ ;
    ISETP.LT.U32 P1, R5, 3 ;
    @P1 BRA again ;
    S2R R7, SR_CTAID_X ;
    SHL R7, R7, 10 ;
    IADD3 R7, R7, c[OUT], R2 ;
    STG.32 [R7], R8 ;
    EXIT ;
    .end
    """)
    device = Device(mode=mode)
    out = device.allocate(3 * 1024)
    device.launch(k, (3, 1, 1), [out])
    got = device.read(out, 3 * 1024).view(U).reshape(3, 256)
    state = np.arange(256)
    for _ in range(3):
        state[:224] = state[32:256] + 1
    assert (got[:, :224] == state[:224]).all() and not got[:, 224:].any()


@pytest.mark.parametrize("mode", MODES)
def test_special_registers(mode):
    names = ["SR_TID", "SR_WARP", "SR_LANE", "SR_CTAID_X", "SR_CTAID_Y", "SR_CTAID_Z",
             "SR_NCTAID_X", "SR_NCTAID_Y", "SR_NCTAID_Z"]  # fmt: skip
    lines = [".kernel sr", ".warps 2", ".param OUT"]
    lines += ["S2R R0, SR_CTAID_Z ;", "IMAD.LO R0, R0, 3, RZ ;", "S2R R1, SR_CTAID_Y ;"]
    lines += ["IADD3 R0, R0, R1, RZ ;", "IMAD.LO R0, R0, 5, RZ ;", "S2R R1, SR_CTAID_X ;"]
    lines += ["IADD3 R0, R0, R1, RZ ;", "SHL R0, R0, 6 ;", "S2R R1, SR_TID ;"]
    lines += ["IADD3 R0, R0, R1, RZ ;", f"IMAD.LO R0, R0, {4 * len(names)}, RZ ;"]
    lines += ["IADD3 R0, R0, c[OUT], RZ ;"]
    for i, name in enumerate(names):
        lines += [f"S2R R2, {name} ;", f"STG.32 [R0+{4 * i}], R2 ;"]
    k = kernel("\n".join([*lines, "S2R R3, SR_CLOCK ;", "S2R R4, SR_SM ;", "EXIT ;", ".end"]))
    device = Device(mode=mode)
    size = 2 * 3 * 5 * 64 * len(names) * 4
    out = device.allocate(size)
    device.launch(k, (5, 3, 2), [out])
    got = device.read(out, size).view(U).reshape(2, 3, 5, 64, len(names))
    z, y, x, t = np.meshgrid(*map(np.arange, (2, 3, 5, 64)), indexing="ij")
    five, three, two = np.full_like(t, 5), np.full_like(t, 3), np.full_like(t, 2)
    want = np.stack([t, t // 32, t % 32, x, y, z, five, three, two], -1)
    assert np.array_equal(got, want)


TRAPS = {
    "MOV R4, 0x100 ;\nLDG.32 R5, [R4] ;": "outside every allocation.*LDG.32 R5.*lane 0, address 0x",
    "MOV R4, 4 ;\nSTS.32 [R4+60], R4 ;": "beyond the CTA's 64 bytes.*lane 0, address 0x40",
    "MOV R4, 2 ;\nLDS.32 R5, [R4] ;": "misaligned.*lane 0, address 0x2",
    "IADD3 R5, R6, R6, RZ ;": "register is read that was never written.*pc 0",
    "@P3 MOV R5, 0 ;": "predicate is read that was never written",
    "ARD.P0 R8, ACC0 ;": "before ACLR or AWR",
    "S2R R0, SR_LANE ;\nISETP.LT.U32 P0, R0, 3 ;\nhere:\n@P0 BRA here ;": "divergent branch",
    "BSYNC ;": "BSYNC without",
    "S2R R0, SR_LANE ;\nISETP.LT.U32 P0, R0, 3 ;\n@P0 BAR.SYNC ;": "only some of the warp",
    "S2R R0, SR_LANE ;\nISETP.LT.U32 P0, R0, 3 ;\n@P0 BSSY ;": "guard that not all",
    "S2R R0, SR_LANE ;\nISETP.LT.U32 P0, R0, 3 ;\n@P0 ACLR ACC0 ;": "lanes switched off",
    "here:\nBRA here ;": "runaway",
    "here:\nBSSY ;\nBRA here ;": "reconvergence stack",
    "MOV R0, 510 ;\nMOV R1, 0xffff ;\nACLR ACC0 ;\n"
    "OHMMA.8161.K0.ALO.BLO.A0.B0 ACC0, RZ, RZ, R1, R0 ;": "past the 512",
}


@pytest.mark.parametrize("body", TRAPS)
@pytest.mark.parametrize("mode", MODES)
def test_traps_name_everything(body, mode):
    text = f'.kernel bad\n.shared 64\n.acc 1\n.source "line 7"\n{body}\nEXIT ;\n.end'
    device = Device(mode=mode, max_instructions=10_000)
    with pytest.raises(Trap, match=TRAPS[body]) as caught:
        device.launch(kernel(text), (1, 1, 1))
    message = str(caught.value)
    assert "kernel bad, pc " in message and "`" in message and "line 7" in message
    assert "CTA (0,0,0), warp 0, lane " in message and "\n" not in message


SECOND_WARP = "S2R R1, SR_WARP ;\nISETP.EQ.U32 P0, R1, 1 ;\n"
LANES = "S2R R0, SR_LANE ;\nSHL R2, R0, 2 ;\n"
FULL_TRAPS = {
    "global read": (
        LANES + "IADD3 R3, R2, c[X], RZ ;\nISETP.LT.U32 P0, R0, 5 ;\n@P0 STG.32 [R3], R0 ;\n"
        "LDG.32 R4, [R3] ;",
        r"global memory is read.*never written.*pc 5 `LDG.*warp 0, lane 5, address 0x",
    ),
    "half of a word": (
        "MOV R3, c[X] ;\nSTG.U16 [R3+2], R3 ;\nLDG.U16 R4, [R3+2] ;\nLDG.U8 R4, [R3+1] ;",
        r"global memory is read.*pc 3 `LDG.U8.*lane 0",
    ),
    "atomic": ("MOV R3, c[X] ;\nRED.ADD.U32 [R3], R3 ;", r"global memory is read.*RED"),
    "shared read": (
        LANES + "S2R R1, SR_WARP ;\nSHL R1, R1, 8 ;\nIADD3 R2, R2, R1, RZ ;\nSTS.32 [R2], R0 ;\n"
        "LDS.64 R4, [R1+120] ;\nLDS.64 R4, [R1+128] ;",
        r"shared memory is read.*never written.*pc 7 `LDS.*warp 0, lane 0, address 0x80",
    ),
    "two warps write": (
        LANES + "IADD3 R2, R2, 60, RZ ;\nSTS.32 [R2], R0 ;",
        r"race with warp 0, no barrier.*pc 3 `STS.*warp 1, lane 0, address 0x3c",
    ),
    "written by another warp": (
        LANES + SECOND_WARP + "@!P0 STS.32 [R2], R0 ;\n"
        + "NOP ;\n" * 40 + "@P0 LDS.32 R4, [R2] ;",
        r"race with warp 0.*`@P0 LDS.*warp 1, lane 0",
    ),
    "read by another warp": (
        LANES + SECOND_WARP + "@P0 STS.32 [R2], R0 ;\nBAR.SYNC ;\n@!P0 LDS.32 R4, [R2] ;\n"
        + "NOP ;\n" * 40 + "@P0 STS.U8 [RZ+4], R0 ;",
        r"race with warp 0.*`@P0 STS.U8.*warp 1, lane 0, address 0x4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FULL_TRAPS)
@pytest.mark.parametrize("mode", MODES)
def test_full_checks_trap(case, mode):
    body, message = FULL_TRAPS[case]
    text = f'.kernel bad\n.warps 2\n.shared 512\n.param X\n.source "line 7"\n{body}\nEXIT ;\n.end'
    for checks in ("full", "basic"):
        device = Device(mode=mode, checks=checks)
        at = device.allocate(512)
        if checks == "full":
            with pytest.raises(Trap, match=message) as caught:
                device.launch(kernel(text), (1, 1, 1), [at])
            assert "line 7" in str(caught.value) and "CTA (0,0,0)" in str(caught.value)
        else:
            device.launch(kernel(text), (1, 1, 1), [at])


@pytest.mark.parametrize("mode", MODES)
def test_full_checks_pass_what_is_right(mode):
    """Own bytes, bytes of other warps after a barrier, uploads, zeros on purpose, several CTAs."""
    body = (
        LANES
        + """
    S2R R1, SR_WARP ;
    IMAD.LO R3, R0, 4, R1 ;
    STS.U8 [R3], R1 ;
    LDS.U8 R4, [R3] ;
    BAR.SYNC ;
    LDS.32 R5, [R2] ;
    BAR.SYNC ;
    STS.U8 [R3], R5 ;
    BAR.SYNC ;
    LDS.32 R6, [R2] ;
    IADD3 R7, R2, c[X], RZ ;
    LDG.32 R8, [R7] ;
    MOV R9, c[Y] ;
    RED.ADD.U32 [R9], R8 ;
    """
    )
    device = Device(mode=mode, checks="full", overrides={"sm.count": 2, "sm.max_ctas": 1})
    x, y = device.upload(np.ones(32, U)), device.allocate(4, zeroed=True)
    text = f".kernel good\n.warps 4\n.shared 128\n.param X\n.param Y\n{body}\nEXIT ;\n.end"
    device.launch(kernel(text), (5, 1, 1), [x, y])
    assert device.read(y, 4).view(U)[0] == 5 * 4 * 32
    device.free(x)
    again = device.allocate(128)
    with pytest.raises(Trap, match="global memory is read"):
        device.launch(kernel(text), (1, 1, 1), [again, y])


def test_a_barrier_that_one_warp_never_reaches_is_named():
    body = "S2R R1, SR_WARP ;\nISETP.EQ.U32 P0, R1, 2 ;\nhere:\n@P0 BRA here ;\nBAR.SYNC ;"
    for mode in MODES:
        device = Device(mode=mode, max_instructions=1000)
        with pytest.raises(Trap, match=r"deadlock: 3 of the CTA's 4 warps wait.*at pc 3.*warp 2"):
            device.launch(kernel(f".kernel bad\n.warps 4\n{body}\nEXIT ;\n.end"))


def test_trap_names_the_offending_lane():
    body = ("S2R R0, SR_LANE ;\nISETP.EQ.U32 P0, R0, 13 ;\nMOV R4, 0 ;\n@P0 MOV R4, 0x1000 ;\n"
            "LDS.32 R5, [R4] ;\nEXIT ;\n.end")  # fmt: skip
    with pytest.raises(Trap, match="lane 13, address 0x1000"):
        Device().launch(kernel(".kernel bad\n.shared 64\n" + body))


def test_unchecked_mode_reads_zero():
    device = Device(checks="off")
    device.launch(kernel(".kernel k\nIADD3 R5, R6, R6, RZ ;\nEXIT ;\n.end"))


FITS = {
    ".warps 32\n.registers 255": "registers",
    ".shared 200000": "shared memory",
    ".warps 8\n.acc 32": "accumulation tiles",
}


@pytest.mark.parametrize("header", FITS)
def test_a_kernel_that_cannot_fit_names_the_resource(header):
    with pytest.raises(DstcError, match=FITS[header]):
        Device().launch(kernel(f".kernel big\n{header}\nEXIT ;\n.end"))


def test_extension_needs_its_machine():
    with pytest.raises(DstcError, match="machine v100 lacks"):
        Device("v100").launch(kernel(".kernel k\n.acc 1\nACLR ACC0 ;\nEXIT ;\n.end"))


def test_wrong_arguments():
    with pytest.raises(DstcError, match="takes 1 arguments"):
        Device().launch(kernel(".kernel k\n.param A\nEXIT ;\n.end"))
    with pytest.raises(DstcError, match="grid"):
        Device().launch(kernel(".kernel k\nEXIT ;\n.end"), (0, 1, 1))
