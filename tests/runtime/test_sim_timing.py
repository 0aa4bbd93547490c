"""Timing sanity: latencies, intervals, queues, occupancy, stall sums, determinism.

In: loops on one SM. Out: cycles that the machine file explains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import Trap
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine

from .sim_kernels import kernel, stall_sum, timed

V100 = Machine.load("v100")


def delta(make, machine: str = "v100", header: str = "", **overrides: object) -> float:
    """Cycles an instruction, from bodies of 40 and 140."""
    short = timed(make(40), machine, header=header, **overrides).cycles
    long = timed(make(140), machine, header=header, **overrides).cycles
    return (long - short) / 100


def lines(*text: str):
    return lambda n: (
        "MOV R4, 0 ;\nMOV R5, 0 ;\nMOV R6, 0 ;\n" + "\n".join(text[i % len(text)] for i in range(n))
    )


CHAINS = {
    "IADD3 R4, R4, 1, RZ ;": "alu.latency",
    "FFMA R4, R4, R4, R4 ;": "fma.latency",
    "MUFU.RCP R4, R4 ;": "mufu.latency",
    "LDS.32 R4, [R4] ;": "shared.latency",
    "SHFL.IDX R4, R4, R4 ;": "shared.shuffle_latency",
}


@pytest.mark.parametrize("text", CHAINS)
def test_dependent_chain_takes_the_latency(text):
    assert delta(lines(text), header=".shared 64") == V100[CHAINS[text]]


INDEPENDENT = {
    "IADD3 R8, R4, 1, RZ ;": "alu.interval",
    "FADD R8, R4, R4 ;": "fma.interval",
    "MUFU.RCP R8, R4 ;": "mufu.interval",
    "LDS.32 R8, [R4] ;": "lsu.interval",
    "NOP ;": "branch.latency",
}


@pytest.mark.parametrize("text", INDEPENDENT)
def test_independent_instructions_take_the_interval(text):
    rotation = [text, *(text.replace("R8", f"R{n}") for n in range(9, 40))]
    assert delta(lines(*rotation), header=".shared 64") == V100[INDEPENDENT[text]]


def test_an_access_that_is_off_leaves_the_pipe_at_once():
    assert delta(lines("@!PT LDS.32 R8, [R4] ;"), header=".shared 64") == V100["lsu.off_interval"]


def test_a_pointer_chase_takes_the_l1_latency():
    device = Device("v100")
    at = device.allocate(128)
    device.write(at, np.full(32, at, np.uint32))

    def run(n: int) -> int:
        body = "MOV R4, c[X] ;\n" + "LDG.32 R4, [R4] ;\n" * n
        return timed(body, header=".param X", args=(at,), device=device).cycles

    run(1)  # L2 has it from here on
    assert (run(140) - run(40)) / 100 == V100["l1.latency"]


def test_an_l2_hit_takes_its_latency():
    device = Device("v100")
    at = device.allocate(1 << 16)
    chain = at + 512 * np.arange(1, 129, dtype=np.uint32)
    image = np.zeros((1 << 16) // 4, np.uint32)
    image[0::128] = chain
    device.write(at, image)

    def run(n: int) -> int:
        body = "MOV R4, c[X] ;\n" + "LDG.32 R4, [R4] ;\n" * n
        return timed(body, header=".param X", args=(at,), device=device).cycles

    run(100)
    assert abs((run(90) - run(10)) / 80 - V100["l2.latency"]) <= 1


STRIDES = {"rows not open": 65536 + 256, "an open row": 32}


@pytest.mark.parametrize("case", STRIDES)
def test_a_dram_access_takes_its_latency(case):
    """Each load's sector in a row of its own, or all in one row."""
    stride, loads = STRIDES[case], 50
    device = Device("v100")
    at = device.allocate(stride * (loads + 1))
    image = np.zeros(stride * loads // 4 + 1, np.uint32)
    image[:: stride // 4] = at + stride * np.arange(1, loads + 2, dtype=np.uint32)[: loads + 1]
    device.write(at, image)

    def run(n: int) -> Any:
        device.invalidate_caches()
        body = "MOV R4, c[X] ;\n" + "LDG.32 R4, [R4] ;\n" * n + "IADD3 R4, R4, R4, RZ ;"
        return timed(body, header=".param X", args=(at,), device=device)

    short, long = run(10), run(50)
    want = V100["dram.latency"] - (V100["dram.open_cycles"] if stride == 32 else 0)
    assert abs((long.cycles - short.cycles) / 40 - want) <= 2
    activates = long.counters["dram_activates"]
    assert activates == 50 if stride != 32 else activates <= 1 + 50 * 32 // 1024


def hmmas(n: int) -> str:
    zero = "\n".join(f"MOV R{i}, 0 ;" for i in range(40))
    steps = [f"HMMA.884.AROW.BCOL.STEP{i % 4} R{8 + 2 * (i % 16)}, R4, R5, R{8 + 2 * (i % 16)} ;"
             for i in range(n)]  # fmt: skip
    return zero + "\n" + "\n".join(steps)


def test_hmma_issues_every_two_cycles():
    assert delta(hmmas) == V100["hmma.interval"]


def test_wmma_takes_the_measured_latency():
    """16x16x16 as 16 HMMA on four accumulators: 54 cycles to the result (ISPASS 2019)."""
    setup = "\n".join(f"MOV R{i}, 0 ;" for i in range(20))
    sets = "\n".join(
        f"HMMA.884.AROW.BCOL.STEP{s} R{8 + 2 * s}, R4, R5, R{8 + 2 * s} ;"
        for _ in range(4) for s in range(4)
    )  # fmt: skip
    wait = "\nIADD3 R18, R14, R15, RZ ;"
    start = "MOV R18, R8 ;\nMOV R19, R18 ;\nMOV R4, R19 ;\n"  # settle
    one = timed(f"{setup}\n{start}{sets}{wait}").cycles
    none = timed(f"{setup}\n{start}MOV R14, R4 ;{wait}").cycles
    assert one - none + V100["alu.latency"] == 54


SP_HEADER = ".acc 1"
SP_SETUP = "\n".join(f"MOV R{i}, 0 ;" for i in range(64)) + "\nACLR ACC0 ;\n"


def test_ohmma_issues_every_cycle():
    def make(n: int) -> str:
        ones = "MOV R30, 0xffffffff ;\n"
        return SP_SETUP + ones + "OHMMA.8161.K0.ALO.BLO.A0.B0 ACC0, R8, R16, R30, R29 ;\n" * n

    assert delta(make, "dstc", SP_HEADER) == 1


def test_squashed_ohmma_cost_a_slot_unless_dropped():
    def make(n: int) -> str:
        return SP_SETUP + "OHMMA.8161.K0.ALO.BLO.A0.B0 ACC0, R8, R16, R30, R29 ;\n" * n

    assert delta(make, "dstc", SP_HEADER) == 1
    assert delta(make, "dstc", SP_HEADER, ohmma__squash_per_cycle=4) == 1 / 5  # and one issues


@pytest.mark.parametrize(("word", "busy"), [(0xFFFFFFFF, 128), (0xFF, 16), (0x1FF, 32), (1, 16)])
def test_spwmma_is_busy_for_its_ohmmas(word, busy):
    def make(n: int) -> str:
        return (
            SP_SETUP
            + f"MOV R24, {word} ;\nMOV R25, {word} ;\n"
            + ("SPWMMA.323216.ALO.BLO ACC0, R8, R16, R24, R25 ;\n" * n)
        )

    assert delta(make, "dstc", SP_HEADER) == busy


def test_empty_spwmma_takes_the_minimum():
    def make(n: int) -> str:
        return SP_SETUP + "SPWMMA.323216.ALO.BLO ACC0, R8, R16, R24, R25 ;\n" * n

    assert delta(make, "dstc", SP_HEADER, spwmma__min_busy=20) == 20


def test_sources_of_a_running_spwmma_are_held():
    body = SP_SETUP + "MOV R24, 0xffffffff ;\nMOV R25, 0xffffffff ;\n"
    body += "SPWMMA.323216.ALO.BLO ACC0, R8, R16, R24, R25 ;\n"
    free, held = "MOV R40, 1 ;", "MOV R8, 1 ;"
    short = timed(body + free, "dstc", header=SP_HEADER)
    long = timed(body + held, "dstc", header=SP_HEADER)
    assert long.cycles - short.cycles >= 120
    assert long.stalls["scoreboard_tensor"] > short.stalls["scoreboard_tensor"]


def test_accumulator_is_read_after_the_products():
    body = SP_SETUP + "MOV R24, 0xffffffff ;\nMOV R25, 0xffffffff ;\n"
    body += "SPWMMA.323216.ALO.BLO ACC0, R8, R16, R24, R25 ;\nARD.P0 R40, ACC0 ;\n"
    result = timed(body + "IADD3 R50, R40, R41, RZ ;", "dstc", header=SP_HEADER)
    assert result.stalls["accumulator"] > 128


MIX = """
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
    MUFU.EX2 R4, R4 ;
    STG.32 [R3+128], R4 ;
    MOV R12, c[X] ;
    RED.ADD.U32 [R12], R6 ;
    IADD3 R6, R6, 1, RZ ;
    ISETP.LT.U32 P0, R6, 5 ;
    @P0 BRA again ;
"""


@pytest.mark.parametrize("overrides", [{}, {"sm__count": 3}, {"simulation__quantum": 17}])
def test_stall_sums_are_exact_and_runs_repeat(overrides):
    def run():
        device = Device(overrides={k.replace("__", "."): v for k, v in overrides.items()})
        at = device.allocate(1 << 20)
        result = timed(MIX, header=".warps 6\n.shared 1024\n.param X", grid=(200, 1, 1),
                       args=(at,), device=device)  # fmt: skip
        assert stall_sum(device, result)
        assert result.warp_instructions == sum(result.opcodes.values())
        assert result.pc_issued.sum() == result.warp_instructions
        assert result.stalls["issued"] == result.warp_instructions
        return result, device.read(at, 1 << 20)

    (first, memory), (second, again) = run(), run()
    assert first.cycles == second.cycles and first.stalls == second.stalls
    assert first.counters == second.counters and np.array_equal(memory, again)


def test_functional_and_cycle_mode_give_the_same_values():
    def run(mode: str):
        device = Device(mode=mode)
        at = device.upload(np.random.default_rng(0).random(1 << 12).astype(np.float32))
        body = MIX.replace("STG.32 [R3+128], R4 ;", "STG.32 [R3], R4 ;").replace(
            "RED.ADD.U32 [R12], R6 ;", ""
        ).replace("1664", "768")  # fmt: skip
        timed(body, header=".warps 6\n.shared 1024\n.param X", grid=(20, 1, 1), args=(at,),
              device=device)  # fmt: skip
        return device.read(at, 1 << 14)

    assert np.array_equal(run("cycle"), run("functional"))


def test_occupancy_fills_an_sm_and_hides_latency():
    body = "MOV R4, 0 ;\n" + "IADD3 R4, R4, 1, RZ ;\n" * 200
    few = timed(body, grid=(1, 1, 1), header=".warps 4", sm__count=1)
    many = timed(body, grid=(4, 1, 1), header=".warps 4", sm__count=1)
    assert few.occupancy == 1 and many.occupancy == 4
    assert many.cycles < 2.2 * few.cycles  # 4 warps a sub-core: limited by the interval


def test_ctas_wait_for_a_free_sm():
    body = "MOV R4, 0 ;\n" + "IADD3 R4, R4, 1, RZ ;\n" * 200
    header = ".warps 4\n.shared 98304"
    one = timed(body, grid=(1, 1, 1), header=header, sm__count=1).cycles
    five = timed(body, grid=(5, 1, 1), header=header, sm__count=1).cycles
    assert 5 * one <= five <= 5 * (one + V100["simulation.quantum"])


SHORT = {
    "MOV, EXIT": ("MOV R4, 0 ;", ".warps 1", 4000, 1),
    "full SM": ("MOV R4, 0 ;\nIADD3 R4, R4, 1, RZ ;\nMUFU.RCP R4, R4 ;", ".warps 4", 4000, 3),
    "one CTA a time": ("MOV R4, 0 ;\nMUFU.RCP R4, R4 ;", ".shared 98304", 300, 1),
    "loads": ("MOV R4, c[X] ;\nLDG.32 R5, [R4] ;\nIADD3 R5, R5, R5, RZ ;", ".param X", 3000, 2),
}


@pytest.mark.parametrize("case", SHORT)
def test_short_ctas_do_not_wait_for_the_quantum(case):
    body, header, ctas, sms = SHORT[case]

    def run(quantum: int) -> int:
        device = Device("v100", overrides={"sm.count": sms, "simulation.quantum": quantum})
        at = device.allocate(128)
        args = (at,) if "X" in header else ()
        result = timed(body, header=header, grid=(ctas,), args=args, device=device)
        assert stall_sum(device, result)
        return result.cycles

    cycles = [run(quantum) for quantum in (1, 16, 64, 128)]
    assert max(cycles) <= 1.04 * min(cycles), cycles


def test_a_cta_starts_when_its_slot_is_free():
    """On its own, each CTA takes its MOV and EXIT and the dispatch."""
    few, many = (
        timed("MOV R4, 0 ;", header=".shared 98304", grid=(n,), sm__count=1).cycles
        for n in (10, 110)
    )
    assert (many - few) / 100 == V100["dispatch.latency"] + 1


@pytest.mark.parametrize("sms", [1, 3, 80])
def test_every_cta_runs_once(sms):
    """CTAs of very different length over SMs that start them on their own."""
    device = Device("v100", overrides={"sm.count": sms})
    count = 2500
    at = device.allocate(4 * count)
    body = """
    S2R R0, SR_CTAID_X ;
    SHL R1, R0, 2 ;
    IADD3 R1, R1, c[X], RZ ;
    MOV R2, 1 ;
    LOP.AND R3, R0, 15 ;
    again:
    ISETP.EQ.U32 P0, R3, 0 ;
    @P0 BRA out ;
    ISUB R3, R3, 1 ;
    BRA again ;
    out:
    S2R R4, SR_LANE ;
    ISETP.EQ.U32 P0, R4, 0 ;
    @P0 RED.ADD.U32 [R1], R2 ;
    """
    result = timed(body, header=".param X", grid=(count,), args=(at,), device=device)
    assert (device.read(at, 4 * count).view(np.uint32) == 1).all()
    assert stall_sum(device, result)


def test_a_switched_off_spwmma_does_not_free_the_tensor_core():
    """A later OHMMA waits for the running SPWMMA, whether or not a void one is in between."""
    setup = SP_SETUP + "MOV R24, 0xffffffff ;\nMOV R25, 0xffffffff ;\nISETP.NE.U32 P0, R0, R0 ;\n"
    first = "SPWMMA.323216.ALO.BLO ACC0, R8, R16, R24, R25 ;\n"
    last = "OHMMA.8161.K0.ALO.BLO.A0.B0 ACC1, R8, R16, R30, R29 ;\n"
    void = "@P0 " + first.replace("ACC0", "ACC1")
    plain = timed(f"{setup}ACLR ACC1 ;\n{first}{last}", "dstc", header=".acc 2").cycles
    with_void = timed(f"{setup}ACLR ACC1 ;\n{first}{void}{last}", "dstc", header=".acc 2").cycles
    assert plain > 128 and with_void >= plain


def test_launch_overhead_is_in_the_time_only():
    result = timed("NOP ;")
    assert result.time_us == pytest.approx(8 + result.cycles / 1447)


@pytest.mark.parametrize("mode", ["cycle", "functional"])
def test_many_spinning_warps_stop_soon(mode):
    """The launch has a bound of its own: 16 warps do not take 16 times as long as one."""
    device = Device(mode=mode, max_instructions=1 << 21)
    k = kernel(".kernel k\n.warps 8\nhere:\nNOP ;\nBAR.SYNC ;\nBRA here ;\n.end")
    message = r"4 \* max_instructions.*kernel k, pc \d `.*CTA \(\d,0,0\), warp \d"
    with pytest.raises(Trap, match=message):
        device.launch(k, (2, 1, 1))


def test_the_launch_bound_counts_from_the_last_exit():
    device = Device("v100", max_instructions=100, overrides={"sm.count": 2})
    timed("NOP ;\n" * 90, header=".warps 2", grid=(100,), device=device)


def test_infinite_work_is_interrupted_by_the_budget():
    device = Device(mode="functional", max_instructions=1000)
    with pytest.raises(Exception, match="runaway"):
        device.launch(kernel(".kernel k\nhere:\nBRA here ;\n.end"))


REGISTER_BANKS = {"FFMA R{d}, R4, R6, R10 ;": 1, "FFMA R{d}, R4, R6, R5 ;": 0,
                  "FFMA R{d}, R4, R4, R6 ;": 0, "IADD3 R{d}, R5, R7, R9 ;": 1,
                  "IADD3 R{d}, R5, 3, R9 ;": 0, "SEL R{d}, R4, R6, PT ;": 0}  # fmt: skip


@pytest.mark.parametrize("text", REGISTER_BANKS)
def test_three_sources_in_one_bank_take_a_cycle_more(text):
    setup = "\n".join(f"MOV R{i}, 0 ;" for i in range(4, 11)) + "\n"

    def run(n: int):
        body = setup + "\n".join(text.format(d=20 + i % 20) for i in range(n))
        return timed(body)

    few, many = run(40), run(140)
    section = "fma" if text.startswith("FFMA") else "alu"
    extra = REGISTER_BANKS[text]
    assert (many.cycles - few.cycles) / 100 == V100[f"{section}.interval"] + extra
    assert many.counters["register_conflicts"] == 140 * extra
    assert many.stalls["unit"] - few.stalls["unit"] == 100 * (1 + extra)
