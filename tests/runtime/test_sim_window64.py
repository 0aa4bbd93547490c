"""SPWMMA64 and the capacities of SPWMMA's values: bits, time, banks, scoreboard, traps.

In: random tiles of 64 (or 32) vectors by 16 depths. Out: the bits of numpy's rank-1 updates, busy
cycles as counted by hand, and traps where a tile has more values than registers.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError, Trap
from dstc.backend.isa.layout import value_position
from dstc.runtime.device import Device

from .sim_kernels import kernel, timed
from .test_sim_tensor import MODES, SCATTER, bank_of, equal, masked, values

U, F = np.uint32, np.float32
MACHINE = "dstc-plus"
REGISTERS = {"": 16, "256": 4, "512": 8}


def condensed(dense: np.ndarray, bits: np.ndarray, registers: int) -> np.ndarray:
    """The value registers (registers, 32) of a tile given as (k, vector)."""
    image = np.zeros((registers, 32, 2), np.uint16)
    for i, value in enumerate(dense.view(np.uint16)[bits]):
        image[value_position(i)] = value
    return image.reshape(registers, 64).view(U)


def words(bits: np.ndarray) -> np.ndarray:
    """Lanes of the bitmap of (16, 64) bits: the low halves of the depths, then the high ones."""
    packed = np.packbits(bits, axis=1, bitorder="little").view(U)
    return packed.T.ravel()


def blocks(c: np.ndarray) -> np.ndarray:
    """(64, 64) as the four tiles of the accumulator: (2, 2, 32, 32)."""
    return c.reshape(2, 32, 2, 32).swapaxes(1, 2)


def program(a: str, b: str, first: int = 4) -> str:
    """ACC`first`.. += A * B; the sides' values are read from R32 and R48 on."""
    lines = [".kernel sp", f".acc {first + 4}", ".param IN", "S2R R0, SR_LANE ;",
             "SHL R1, R0, 2 ;", "IADD3 R1, R1, c[IN], RZ ;",
             "LDG.32 R24, [R1] ;", "LDG.32 R25, [R1+128] ;"]  # fmt: skip
    at = 256
    for start, capacity in ((32, a), (48, b)):
        for i in range(REGISTERS[capacity]):
            lines.append(f"LDG.32 R{start + i}, [R1+{at}] ;")
            at += 128
    for tile in range(4):
        for part in range(4):
            for i in range(8):
                lines.append(f"LDG.32 R{8 + i}, [R1+{at + 128 * i}] ;")
            lines.append(f"AWR.P{part} ACC{first + tile}, R8 ;")
            at += 1024
    suffix = f"{'.A' + a if a else ''}{'.B' + b if b else ''}"
    lines.append(f"SPWMMA64.646416{suffix} ACC{first}, R32, R48, R24, R25 ;")
    at -= 16 * 1024
    for tile in range(4):
        for part in range(4):
            lines.append(f"ARD.P{part} R8, ACC{first + tile} ;")
            lines += [f"STG.32 [R1+{at + 128 * i}], R{8 + i} ;" for i in range(8)]
            at += 1024
    return "\n".join([*lines, "EXIT ;", ".end"])


def run(mode, a, b, bits_a, bits_b, c, capacities=("", "")):
    """Launch result, and the accumulator as (64, 64)."""
    image = np.concatenate([
        words(bits_a), words(bits_b),
        condensed(a, bits_a, REGISTERS[capacities[0]]).ravel(),
        condensed(b, bits_b, REGISTERS[capacities[1]]).ravel(),
        blocks(c).ravel().view(U),
    ])  # fmt: skip
    device = Device(MACHINE, mode=mode)
    at = device.upload(image)
    result = device.launch(kernel(program(*capacities)), (1, 1, 1), [at])
    got = device.read(at + image.nbytes - 4 * 64 * 64, 4 * 64 * 64).view(F)
    return result, got.reshape(2, 2, 32, 32).swapaxes(1, 2).reshape(64, 64)


@pytest.mark.parametrize("density", [(1.0, 1.0), (0.5, 0.4), (0.1, 0.1), (0.0, 0.5), (0.02, 1.0)])
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_spwmma64_and_numpy_agree(mode, special, density):
    rng = np.random.default_rng(int(100 * sum(density)) + special)
    bits_a, bits_b = rng.random((16, 64)) < density[0], rng.random((16, 64)) < density[1]
    a, b = values(rng, (16, 64), special), values(rng, (16, 64), special)
    c = rng.standard_normal((64, 64)).astype(F)
    c[::5] = -0.0
    capacities = [
        [text for text, count in REGISTERS.items() if bits.sum() <= 64 * count]
        for bits in (bits_a, bits_b)
    ]
    issued = int((-(-bits_a.sum(1) // 8) * -(-bits_b.sum(1) // 16)).sum())
    want = masked(c, a, b, bits_a, bits_b)
    for pair in {(capacities[0][0], capacities[1][0]), (capacities[0][-1], capacities[1][-1])}:
        result, got = run(mode, a, b, bits_a, bits_b, c, pair)
        assert equal(got, want)
        assert result.counters["ohmma_issued"] == issued
        assert result.counters["ohmma_skipped"] == 512 - issued


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["a", "b"])
def test_more_values_than_registers_trap(mode, side):
    full = np.zeros((16, 64), bool)
    full.ravel()[:256] = True
    x, c = np.ones((16, 64), np.float16), np.zeros((64, 64), F)
    one = np.eye(16, 64, dtype=bool)
    pair = ("256", "") if side == "a" else ("", "256")

    sides = (full, one) if side == "a" else (one, full)
    assert run(mode, x, x, *sides, c, pair)[0].counters["ohmma_issued"] > 0
    wide = [".kernel k", ".acc 4", *[f"MOV R{i}, 0 ;" for i in range(64)],
            *[f"ACLR ACC{i} ;" for i in range(4)], "MOV R24, 0xfffff ;",
            f"SPWMMA64.646416.{side.upper()}256 ACC0, R32, R40, R24, R24 ;",
            "EXIT ;", ".end"]  # fmt: skip
    with pytest.raises(Trap, match="more values than the SPWMMA names registers for"):
        Device(MACHINE, mode=mode).launch(kernel("\n".join(wide)), (1, 1, 1), [])


@pytest.mark.parametrize("mode", MODES)
def test_capacity_of_the_window_of_32(mode):
    """With A256, four registers are enough (R12 to R15 are never written), and 257 values trap."""

    def launch(word):
        lines = [".kernel k", ".acc 1", *[f"MOV R{i}, 0 ;" for i in range(8, 12)],
                 *[f"MOV R{i}, 0 ;" for i in range(16, 24)], "ACLR ACC0 ;", f"MOV R24, {word} ;",
                 "SPWMMA.323216.ALO.BLO.A256 ACC0, R8, R16, R24, R24 ;",
                 "EXIT ;", ".end"]  # fmt: skip
        return Device(MACHINE, mode=mode).launch(kernel("\n".join(lines)), (1, 1, 1), [])

    assert launch(0xFFFF).counters["ohmma_issued"] == 2 * 16
    with pytest.raises(Trap, match="more values"):
        launch(0x1FFFF)


def test_a_machine_without_the_window_refuses():
    with pytest.raises(DstcError, match=r"SPWMMA64 belongs to .* 64, .*use --machine dstc-plus"):
        timed("SPWMMA64.646416 ACC0, RZ, RZ, RZ, RZ ;", "dstc", header=".acc 4")


def test_rz_and_bounds():
    result = timed("ACLR ACC0 ;\nACLR ACC1 ;\nACLR ACC2 ;\nACLR ACC3 ;\nMOV R9, 3 ;\n"
                   "SPWMMA64.646416 ACC0, RZ, RZ, R9, R9 ;", MACHINE, header=".acc 4")  # fmt: skip
    assert result.counters["ohmma_issued"] == 16
    with pytest.raises(Trap, match="an accumulation tile is used before ACLR"):
        timed("ACLR ACC0 ;\nACLR ACC1 ;\nACLR ACC2 ;\nSPWMMA64.646416 ACC0, RZ, RZ, RZ, RZ ;",
              MACHINE, header=".acc 4")  # fmt: skip
    with pytest.raises(DstcError, match="ACC"):
        timed("SPWMMA64.646416 ACC0, RZ, RZ, RZ, RZ ;", MACHINE, header=".acc 3")


SETUP = "\n".join(f"MOV R{i}, 0 ;" for i in range(64)) + "\n"
SETUP += "\n".join(f"ACLR ACC{i} ;" for i in range(4)) + "\n"
STEP = "SPWMMA64.646416 ACC0, R8, R24, R40, R41 ;\n"


@pytest.mark.parametrize(
    ("low", "high", "busy"),
    [(0xFFFFFFFF, 0xFFFFFFFF, 512), (0xF, 0xF0000, 16), (0x1F, 0x1F0000, 32), (1, 0x10000, 16),
     (0xF, 0xF, 64)],
)  # fmt: skip
def test_it_is_busy_for_its_ohmmas(low, high, busy):
    """n ones in each half: ceil(2n / 8) * ceil(2n / 16) a depth; or what the busiest bank has.

    In the last case the same positions of all four tiles are hit: four products a bank and depth.
    """

    def cycles(n: int) -> int:
        head = SETUP + "S2R R0, SR_LANE ;\nISETP.LT.U32 P0, R0, 16 ;\nMOV R43, " + f"{low} ;\n"
        head += f"SEL R40, R43, {high}, P0 ;\nMOV R41, R40 ;\n"
        return timed(head + STEP * n, MACHINE, header=".acc 4").cycles

    assert (cycles(14) - cycles(6)) / 8 == busy


def test_its_registers_are_held_and_its_tiles_waited_for():
    head = SETUP + "MOV R40, -1 ;\nMOV R41, -1 ;\n" + STEP

    def cycles(line: str) -> int:
        return timed(head + line, MACHINE, header=".acc 8").cycles

    assert cycles("MOV R23, 1 ;") - cycles("MOV R50, 1 ;") >= 500
    assert cycles("MOV R39, 1 ;") - cycles("MOV R50, 1 ;") >= 500
    for tile in range(4):
        result = timed(head + f"ARD.P0 R48, ACC{tile} ;\nIADD3 R50, R48, R49, RZ ;", MACHINE,
                       header=".acc 8")  # fmt: skip
        assert result.stalls["accumulator"] > 500
    assert cycles("ACLR ACC4 ;\nARD.P0 R48, ACC4 ;") < 100 + cycles("")


@pytest.mark.parametrize("collector", [0, 8])
@pytest.mark.parametrize("case", SCATTER)
def test_its_banks_cost_what_the_positions_say(case, collector):
    rng = np.random.default_rng(7)

    def tile() -> np.ndarray:
        return np.concatenate([SCATTER[case](rng), SCATTER[case](rng)], axis=1)

    steps = [(tile(), tile()) for _ in range(4)]
    maps = np.stack([np.r_[words(a), words(b)] for a, b in steps])
    lines = [".kernel sp", ".acc 4", ".param IN", "S2R R0, SR_LANE ;", "SHL R1, R0, 2 ;",
             "IADD3 R1, R1, c[IN], RZ ;", *[f"ACLR ACC{i} ;" for i in range(4)],
             *[f"LDG.32 R{24 + i}, [R1+{128 * i}] ;" for i in range(8)],
             *[f"IADD3 R{32 + i}, R{24 + i}, 0, RZ ;" for i in range(8)],
             *[f"SPWMMA64.646416 ACC0, RZ, RZ, R{32 + 2 * i}, R{33 + 2 * i} ;" for i in range(4)],
             "EXIT ;", ".end"]  # fmt: skip
    device = Device(MACHINE, overrides={"accumulator.collector": collector})
    at = device.upload(maps)
    counters = device.launch(kernel("\n".join(lines)), (1, 1, 1), [at]).counters
    bank = np.tile(bank_of(), (2, 2)).ravel()
    lag, busy, ohmmas = np.zeros(128, int), 0, 0
    for bits_a, bits_b in steps:
        own = max(1, int((-(-bits_a.sum(1) // 8) * -(-bits_b.sum(1) // 16)).sum()))
        hits = (bits_a[:, :, None] & bits_b[:, None, :]).sum(0)
        lag += np.bincount(bank, hits.ravel(), 128).astype(int)
        taken = max(own, int(lag.max()) - collector)
        lag = np.maximum(lag - taken, 0)
        busy, ohmmas = busy + taken, ohmmas + own
    assert counters["tensor_busy"] == busy
    assert counters["accumulator_conflicts"] == busy - ohmmas
