"""Loads, stores and atomics: values in every width, and their cost.

In: addresses and data. Out: LDG, STG, LDS, STS, RED and ATOM equal to numpy; wavefronts, sectors.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.runtime.device import Device

from .sim_kernels import kernel, lanes, stall_sum, timed

U = np.uint32
MODES = ("functional", "cycle")
WIDTHS = {"U8": 1, "U16": 2, "32": 4, "64": 8, "128": 16}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("mode", MODES)
def test_global_and_shared_widths(width, mode):
    """Through global, shared and back, lanes permuted, upper half of the warp masked."""
    size = WIDTHS[width]
    rng = np.random.default_rng(size)
    data = rng.integers(0, 256, 32 * size, dtype=np.uint8)
    order = rng.permutation(32).astype(U)
    k = kernel(f"""
    .kernel widths
    .shared 1024
    .param IN
    .param ORDER
    .param OUT
    S2R R0, SR_LANE ;
    SHL R1, R0, 2 ;
    IADD3 R1, R1, c[ORDER], RZ ;
    LDG.32 R2, [R1] ;
    IMAD.LO R2, R2, {size}, RZ ;
    IMAD.LO R3, R0, {size}, RZ ;
    IADD3 R4, R2, c[IN], RZ ;
    LDG.{width} R8, [R4] ;
    STS.{width} [R3], R8 ;
    LDS.{width} R12, [R2] ;
    ISETP.LT.U32 P0, R0, 16 ;
    IADD3 R5, R3, c[OUT], RZ ;
    @P0 STG.{width} [R5], R12 ;
    EXIT ;
    .end""")
    device = Device(mode=mode)
    source, places = device.upload(data), device.upload(order)
    out = device.allocate(32 * size)
    device.launch(k, (1, 1, 1), [source, places, out])
    items = data.reshape(32, size)
    want = items[order][order]
    want[16:] = 0
    assert np.array_equal(device.read(out, 32 * size).reshape(32, size), want)


def test_prefetch_brings_a_sector_into_l1_and_nobody_waits_for_it():
    device = Device()
    at = device.allocate(4096)
    device.write(at, np.zeros(1024, U))

    def run(first: str, wait: int = 600) -> int:
        device.invalidate_caches()
        spin = "IADD3 R5, R5, 1, RZ ;\n" * (wait // 4)
        body = f"MOV R4, c[X] ;\nMOV R5, 0 ;\n{first}\n{spin}LDG.32 R8, [R4] ;\nMOV R9, R8 ;"
        return timed(body, header=".param X", args=(at,), device=device).cycles

    slow = run("NOP ;")
    assert run("@!PT PREFETCH.L1 [R4] ;") == slow
    assert run("PREFETCH.L1 [R4+2048] ;") == slow  # another line
    fast = run("PREFETCH.L1 [R4] ;")
    machine = device.machine
    assert slow - fast == machine["dram.latency"] - machine["l1.latency"]
    # too late to be there, still no second fetch
    short = run("NOP ;", 40), run("PREFETCH.L1 [R4] ;", 40)
    assert 0 < short[0] - short[1] <= 40


def test_prefetch_traps_outside_every_allocation():
    with pytest.raises(DstcError, match=r"global access outside every allocation.*PREFETCH"):
        timed("MOV R4, 64 ;\nPREFETCH.L1 [R4] ;")


@pytest.mark.parametrize("mode", MODES)
def test_highest_lane_wins(mode):
    body = "MOV R9, c[OUT] ;\nSTG.32 [R9], R4 ;\nLDG.32 R8, [R9] ;\nIADD3 R3, R3, 0, RZ ;"
    assert (lanes(body, np.arange(32, dtype=U), device=Device(mode=mode)) == 31).all()


@pytest.mark.parametrize("mode", MODES)
def test_atomics(mode):
    k = kernel("""
    .kernel atomics
    .warps 4
    .param COUNT
    .param SUM
    .param TICKETS
    S2R R0, SR_TID ;
    S2R R1, SR_LANE ;
    MOV R2, c[COUNT] ;
    MOV R3, 1 ;
    ISETP.LT.U32 P0, R1, 20 ;
    @P0 ATOM.ADD.U32 R4, [R2], R3 ;
    MOV R5, c[SUM] ;
    I2F.U32 R6, R0 ;
    @P0 RED.ADD.F32 [R5], R6 ;
    @P0 RED.ADD.U32 [R5+4], R0 ;
    @P0 RED.OR.U32 [R5+8], R0 ;
    @P0 SHL R7, R4, 2 ;
    @P0 IADD3 R7, R7, c[TICKETS], RZ ;
    @P0 STG.32 [R7], R3 ;
    EXIT ;
    .end""")
    device = Device(mode=mode)
    count, total, tickets = (device.allocate(n) for n in (4, 12, 4 * 80 * 6))
    device.launch(k, (6, 1, 1), [count, total, tickets])
    active = [t for t in range(128) if t % 32 < 20]
    assert device.read(count, 4).view(U)[0] == 80 * 6
    assert device.read(total, 8).view(np.float32)[0] == 6 * sum(active)
    assert device.read(total, 8).view(U)[1] == 6 * sum(active)
    assert device.read(total, 12).view(U)[2] == np.bitwise_or.reduce(active)
    assert (device.read(tickets, 4 * 80 * 6).view(U) == 1).all()


ORDER = {
    # body; what the word at OUT and the word of warp 0 at OUT + 4 end up as
    "load after RED": ("RED.ADD.U32 [R3], R5 ;\nLDG.32 R6, [R3] ;\nSTG.32 [R3+4], R6 ;", 5, 5),
    "store after RED": ("RED.ADD.U32 [R3], R5 ;\nSTG.32 [R3], R7 ;", 100, 0),
    "store after ATOM": ("ATOM.ADD.U32 R6, [R3], R5 ;\nSTG.32 [R3], R7 ;", 100, 0),
    "RED after RED": ("RED.ADD.U32 [R3], R5 ;\nRED.OR.U32 [R3], R8 ;\nRED.ADD.U32 [R3], R5 ;",
                      (5 | 2) + 5, 0),
    "RED after store": ("STG.32 [R3], R7 ;\nRED.ADD.U32 [R3], R5 ;", 105, 0),
    "load after store, RED": ("STG.32 [R3], R7 ;\nRED.ADD.U32 [R3], R5 ;\nLDG.32 R6, [R3] ;\n"
                              "STG.32 [R3+4], R6 ;", 105, 105),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDER)
@pytest.mark.parametrize("mode", MODES)
def test_a_warp_sees_its_atomics_in_program_order(case, mode):
    body, first, second = ORDER[case]
    device = Device(mode=mode)
    out = device.allocate(8)
    start = "S2R R0, SR_LANE ;\nISETP.EQ.U32 P0, R0, 0 ;\nMOV R3, c[OUT] ;\n"
    start += "MOV R5, 5 ;\nMOV R7, 100 ;\nMOV R8, 2 ;\n"
    body = "\n".join(f"@P0 {line}" for line in body.split("\n"))
    text = f".kernel order\n.param OUT\n{start}{body}\nEXIT ;\n.end"
    device.launch(kernel(text), (1, 1, 1), [out])
    assert device.read(out, 8).view(U).tolist() == [first, second]


@pytest.mark.parametrize("leave", ["BAR.SYNC ;", "EXIT ;"])
@pytest.mark.parametrize("mode", MODES)
def test_a_barrier_orders_atomics(leave, mode):
    """Warp 0 stores 5 and adds 5; warp 1 reads after the barrier, or after warp 0's exit."""
    k = kernel(f"""
    .kernel order
    .warps 2
    .param OUT
    S2R R0, SR_TID ;
    S2R R1, SR_WARP ;
    ISETP.EQ.U32 P0, R0, 0 ;
    ISETP.EQ.U32 P1, R1, 0 ;
    MOV R3, c[OUT] ;
    MOV R5, 5 ;
    @P0 STG.32 [R3], R5 ;
    @P0 RED.ADD.U32 [R3], R5 ;
    @P1 {leave}
    @P1 EXIT ;
    BAR.SYNC ;
    LDG.32 R6, [R3] ;
    STG.32 [R3+4], R6 ;
    EXIT ;
    .end""")
    device = Device(mode=mode)
    out = device.allocate(8)
    device.launch(k, (1, 1, 1), [out])
    assert device.read(out, 8).view(U).tolist() == [10, 10]


def test_results_of_an_exited_warp_do_not_reach_the_next_in_its_slot():
    """Each CTA leaves with an ATOM and a load under way; the next must find R4 unwritten."""
    body = "MOV R2, c[X] ;\nS2R R9, SR_CTAID_X ;\nISETP.EQ.U32 P0, R9, 1 ;\n"
    late = "NOP ;\n" * 30 + "@P0 IADD3 R4, R4, R5, RZ ;\n"
    text = body + "@!P0 ATOM.ADD.U32 R4, [R2], R9 ;\n@!P0 LDG.32 R5, [R2+128] ;\n@!P0 EXIT ;\n"
    device = Device("v100", checks="off", overrides={"sm.count": 1, "sm.max_ctas": 1})
    at = device.upload(np.full(64, 7, U))
    end = "MOV R8, c[X] ;\n@P0 STG.32 [R8+64], R4 ;"
    timed(text + late + end, header=".param X", grid=(2,), args=(at,), device=device)
    assert device.read(at + 64, 4).view(U)[0] == 0


SHARED_ACCESS = {
    # address of a lane, as assembly on R0 = lane; width; wavefronts
    "consecutive": ("SHL R1, R0, 2 ;", "32", 1),
    "broadcast": ("MOV R1, 0 ;", "32", 1),
    "stride 2": ("SHL R1, R0, 3 ;", "32", 2),
    "stride 32": ("SHL R1, R0, 7 ;", "32", 32),
    "64-bit": ("SHL R1, R0, 3 ;", "64", 2),
    "128-bit": ("SHL R1, R0, 4 ;", "128", 4),
    "128-bit broadcast": ("MOV R1, 16 ;", "128", 4),
    "bytes": ("MOV R1, R0 ;", "U8", 1),
    "odd stride": ("IMAD.LO R1, R0, 132, RZ ;", "32", 1),
}


@pytest.mark.parametrize("case", SHARED_ACCESS)
def test_bank_conflicts(case):
    place, width, expected = SHARED_ACCESS[case]
    body = f"S2R R0, SR_LANE ;\n{place}\nLDS.{width} R4, [R1] ;"
    result = timed(body, header=".shared 8192")
    assert result.counters["shared_wavefronts"] == expected


def test_sectors_and_l1():
    device = Device("v100")
    base = device.upload(np.zeros(4096, U))
    body = """
    S2R R0, SR_LANE ;
    SHL R1, R0, 2 ;
    IADD3 R1, R1, c[X], RZ ;
    LDG.32 R2, [R1] ;
    LDG.32 R3, [R1] ;
    IADD3 R4, R2, R3, RZ ;
    LDG.32 R5, [R1] ;
    SHL R6, R0, 7 ;
    IADD3 R6, R6, c[X], RZ ;
    LDG.32 R7, [R6+32] ;
    """
    counters = timed(body, header=".param X", args=(base,), device=device).counters
    assert counters["l1_sectors"] == 3 * 4 + 32
    # the second load merges with the first, the third hits, the last has one sector in common
    assert counters["l1_hits"] == 4 + 4 + 1
    assert counters["dram_read"] == (4 + 31) * 32


def copy_kernel(loads: int) -> str:
    """A streaming copy: each thread moves `loads` times 16 bytes."""
    lines = ["S2R R0, SR_TID ;", "S2R R1, SR_CTAID_X ;", f"IMAD.LO R1, R1, {256 * loads}, RZ ;"]
    lines += ["IADD3 R0, R0, R1, RZ ;", "SHL R0, R0, 4 ;", "IADD3 R2, R0, c[X], RZ ;"]
    lines += [f"LDG.128 R{8 + 4 * i}, [R2+{4096 * i}] ;" for i in range(loads)]
    lines += ["MOV R4, 0 ;"]
    lines += [f"IADD3 R4, R4, R{8 + 4 * i}, RZ ;" for i in range(loads)]
    return "\n".join(lines)


def test_streaming_reaches_most_of_dram_bandwidth():
    device = Device("v100")
    size = 32 << 20
    base = device.allocate(size)
    grid = size // (16 * 256 * 8)
    result = timed(copy_kernel(8), header=".warps 8\n.param X", grid=(grid, 1, 1), args=(base,),
                   device=device)  # fmt: skip
    assert result.counters["dram_read"] == size
    seconds = result.cycles / (device.machine["clock.core_mhz"] * 1e6)
    fraction = size / seconds / (device.machine["dram.peak_gb_s"] * 1e9)
    assert 0.80 <= fraction <= 0.95
    assert stall_sum(device, result)


def bandwidth(text: str, grid: int, size: int, **overrides: object) -> float:
    """GB/s at which DRAM is read by a kernel that reads `size` bytes once."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    device = Device("v100", overrides=changes)
    base = device.allocate(size)
    result = timed(text, header=".warps 8\n.param X", grid=(grid,), args=(base,), device=device)
    assert stall_sum(device, result)
    assert result.counters["dram_read"] == size
    return size * device.machine["clock.core_mhz"] / result.cycles / 1000


def rows_kernel(piece: int, stride: int) -> str:
    """A CTA reads 128 rows of `stride` bytes side by side, `piece` bytes of each at a time."""
    lanes = piece // 16
    row = f"SHR.U32 R2, R0, {lanes.bit_length() - 1} ;\nLOP.AND R3, R0, {lanes - 1} ;"
    body = "\n".join(
        f"IADD3 R7, R2, {i * 256 // lanes * stride}, RZ ;\nLDG.128 R{8 + 4 * i}, [R7] ;"
        for i in range(128 * lanes // 256)
    )
    return f"""
    S2R R0, SR_TID ;
    S2R R1, SR_CTAID_X ;
    {row}
    SHL R3, R3, 4 ;
    IMAD.LO R2, R2, {stride}, R3 ;
    IMAD.LO R1, R1, {128 * stride}, R2 ;
    IADD3 R2, R1, c[X], RZ ;
    MOV R5, 0 ;
    again:
    {body}
    IADD3 R2, R2, {piece}, RZ ;
    IADD3 R5, R5, {piece}, RZ ;
    ISETP.LT.U32 P0, R5, {stride} ;
    @P0 BRA again ;
    """


def test_short_pieces_of_many_rows_are_slower_than_long_ones():
    """64 bytes of a DRAM row at a time cost an activation each; 256 bytes hide it."""
    short, long = (bandwidth(rows_kernel(piece, 4096), 80, 80 * 128 * 4096) for piece in (64, 256))
    assert 330 <= short <= 520 and 750 <= long <= 855


LIMITS = {"l1__miss_sectors": 64, "dram__queue": 1, "dram__banks": 1}


@pytest.mark.parametrize("key", LIMITS)
def test_what_can_be_under_way_bounds_bandwidth(key):
    size = 4 << 20
    few = bandwidth(copy_kernel(8), size // 32768, size, **{key: LIMITS[key]})
    assert few < 0.8 * bandwidth(copy_kernel(8), size // 32768, size)


def test_stores_wait_for_room_on_the_way_to_l2():
    body = "\n".join(["S2R R0, SR_LANE ;", "SHL R0, R0, 5 ;", "IADD3 R0, R0, c[X], RZ ;"]
                     + [f"STG.32 [R0+{1024 * i}], R0 ;" for i in range(64)])  # fmt: skip

    def run(limit: int):
        device = Device("v100", overrides={"l1.store_sectors": limit})
        base = device.allocate(1 << 16)
        result = timed(body, header=".param X", args=(base,), device=device)
        assert stall_sum(device, result)
        return result

    tight, roomy = run(64), run(4096)
    assert tight.cycles > 1.2 * roomy.cycles
    assert tight.stalls["global_queue"] > roomy.stalls["global_queue"]


LEVELS = {"scoreboard_l1": 0, "scoreboard_l2": 1, "scoreboard_dram": 2}


@pytest.mark.parametrize("cause", LEVELS)
def test_a_wait_counts_under_the_level_that_served_it(cause):
    """A chase whose words L1, L2 or DRAM has: the wait is all under one cause, by pc too."""
    device = Device("v100")
    base = device.allocate(1 << 20)
    hops = np.arange(1, 65, dtype=U) * (0 if cause == "scoreboard_l1" else 8192)
    image = np.zeros(1 << 18, U)
    image[0 : 64 * 2048 : 2048] = base + hops
    image[0] = base + (0 if cause == "scoreboard_l1" else 8192)
    device.write(base, image)
    body = "MOV R4, c[X] ;\n" + "LDG.32 R4, [R4] ;\n" * 60 + "IADD3 R4, R4, R4, RZ ;"
    header = ".param X"
    if cause != "scoreboard_dram":
        timed(body, header=header, args=(base,), device=device)
    result = timed(body, header=header, args=(base,), device=device)
    assert stall_sum(device, result)
    waits = {name: result.stalls[name] for name in LEVELS}
    assert waits[cause] > 0.8 * sum(waits.values())
    own = result.cycles - result.stalls["issued"] - 3 * device.machine["alu.latency"]
    assert sum(waits.values()) >= 0.95 * own
    assert result.pc_stalled.sum() >= sum(waits.values())


def test_second_pass_hits_l2():
    device = Device("v100")
    base = device.allocate(1 << 20)
    run = lambda: timed(copy_kernel(8), header=".warps 8\n.param X", grid=(32, 1, 1),  # noqa: E731
                        args=(base,), device=device)  # fmt: skip
    assert run().counters["dram_read"] == 1 << 20
    assert run().counters["dram_read"] == 0
    device.invalidate_caches()
    assert run().counters["dram_read"] == 1 << 20


@pytest.mark.parametrize(
    ("stores", "read"),
    [("STG.64 [R0], R4 ;", 32 * 32), ("STG.128 [R0], R4 ;\nSTG.128 [R0+16], R4 ;", 0)],
    ids=["part of a sector", "both halves"],
)
def test_a_sector_written_in_part_is_fetched_when_it_is_read(stores: str, read: int) -> None:
    """Lazy fetch on read: a lane writes a sector of its own, then another SM's reads it."""
    device = Device("v100")
    base = device.allocate(32 * 32)
    head = "S2R R0, SR_LANE ;\nSHL R0, R0, 5 ;\nIADD3 R0, R0, c[X], RZ ;\n"
    values = "".join(f"MOV R{r}, 1 ;\n" for r in range(4, 8))
    written = timed(head + values + stores, header=".param X", args=(base,), device=device)
    assert written.counters["dram_read"] == 0
    device_read = timed(head + "LDG.32 R2, [R0] ;\nIADD3 R3, R2, 0, RZ ;", header=".param X",
                        args=(base,), device=device)  # fmt: skip
    assert device_read.counters["dram_read"] == read


def test_written_sectors_reach_dram_when_evicted():
    device = Device("v100")
    size = 16 << 20
    base = device.allocate(size)
    body = """
    S2R R0, SR_TID ;
    S2R R1, SR_CTAID_X ;
    IMAD.LO R1, R1, 256, RZ ;
    IADD3 R0, R0, R1, RZ ;
    SHL R0, R0, 4 ;
    IADD3 R0, R0, c[X], RZ ;
    MOV R4, 1 ;
    MOV R5, 1 ;
    MOV R6, 1 ;
    MOV R7, 1 ;
    STG.128 [R0], R4 ;
    """
    result = timed(body, header=".warps 8\n.param X", grid=(size // 4096, 1, 1), args=(base,),
                   device=device)  # fmt: skip
    assert result.counters["dram_read"] == 0
    left = device.machine["l2.capacity_bytes"]
    assert size - left <= result.counters["dram_written"] <= size
