"""HMMA, BOHMMA, OHMMA, SPWMMA, ACLR, ARD, AWR: bit for bit against rank-1 numpy updates.

In: random f16 tiles, with NaN, infinities, -0 and subnormals. Out: equal bits, in both modes.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dstc.backend.isa.layout import (
    hmma_a_position,
    hmma_b_position,
    hmma_d_position,
    value_position,
)
from dstc.runtime.device import Device

from .sim_kernels import kernel, lanes, timed

U, H, F = np.uint32, np.float16, np.float32
MODES = ("functional", "cycle")


def equal(got: np.ndarray, want: np.ndarray) -> bool:
    nan = np.isnan(want)
    return bool(
        np.array_equal(np.isnan(got), nan) and np.array_equal(got.view(U)[~nan], want.view(U)[~nan])
    )


@np.errstate(all="ignore")
def rank_ones(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c + a @ b as f32 rank-1 updates in ascending k, only where both are non-zero bits."""
    for k in range(a.shape[1]):
        c = (c + (a[:, k, None].astype(F) * b[None, k, :].astype(F))).astype(F)
    return c


def values(rng: np.random.Generator, shape: tuple[int, ...], special: bool) -> np.ndarray:
    x = rng.standard_normal(shape).astype(H)
    if special:
        odd = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0, 6e-8, -3e-5, 65504, 1e-4], H)
        x = np.where(rng.random(shape) < 0.2, rng.choice(odd, shape), x)
    return x


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("layout_b", ["BROW", "BCOL"])
@pytest.mark.parametrize("layout_a", ["AROW", "ACOL"])
@pytest.mark.parametrize("mode", MODES)
def test_hmma_equals_rank_one_updates(mode, layout_a, layout_b, special):
    rng = np.random.default_rng(3)
    a, b = values(rng, (16, 4), special), values(rng, (4, 16), special)
    c = rng.standard_normal((16, 16)).astype(F)
    image = np.zeros((10, 32), U)
    halves = image.view(np.uint16).reshape(10, 32, 2)
    for row in range(16):
        for k in range(4):
            lane, half = hmma_a_position(layout_a, row, k)
            halves[0, lane, half] = a.view(np.uint16)[row, k]
            lane, half = hmma_b_position(layout_b, k, row)
            halves[1, lane, half] = b.view(np.uint16)[k, row]
    for step in range(4):
        for row in range(8):
            for column in range(8):
                lane, register = hmma_d_position(step, row, column)
                at = 8 * (step // 2) + row, 8 * (step % 2) + column
                image[2 + 2 * step + register, lane] = c.view(U)[at]
    lines = [".kernel h", ".param IN", "S2R R0, SR_LANE ;", "SHL R0, R0, 2 ;",
             "IADD3 R0, R0, c[IN], RZ ;"]  # fmt: skip
    lines += [f"LDG.32 R{4 + i}, [R0+{128 * i}] ;" for i in range(10)]
    for step in range(4):
        d = 6 + 2 * step
        lines.append(f"HMMA.884.{layout_a}.{layout_b}.STEP{step} R{d}, R4, R5, R{d} ;")
    lines += [f"STG.32 [R0+{128 * i}], R{4 + i} ;" for i in range(10)] + ["EXIT ;", ".end"]
    device = Device(mode=mode)
    at = device.upload(image)
    device.launch(kernel("\n".join(lines)), (1, 1, 1), [at])
    out = device.read(at, image.nbytes).view(U).reshape(10, 32)
    got = np.zeros((16, 16), F)
    for step in range(4):
        for row in range(8):
            for column in range(8):
                lane, register = hmma_d_position(step, row, column)
                bits = out[2 + 2 * step + register, lane]
                got.view(U)[8 * (step // 2) + row, 8 * (step % 2) + column] = bits
    assert equal(got, rank_ones(c, a, b))


def condensed(dense: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The 8 value registers (8, 32) of a tile given as (k, vector)."""
    registers = np.zeros((8, 32, 2), np.uint16)
    stream = dense.view(np.uint16)[bits]  # k by k, ascending vector
    for i, value in enumerate(stream):
        registers[value_position(i)] = value
    return registers.reshape(8, 64).view(U)


def words(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, axis=1, bitorder="little").view(U).ravel()


@np.errstate(all="ignore")
def masked(c, a, b, bits_a, bits_b):
    """Rank-1 updates at the positions whose two bits are set; a, b are (k, vector)."""
    for k in range(16):
        update = (c + a[k][:, None].astype(F) * b[k][None, :].astype(F)).astype(F)
        c = np.where(bits_a[k][:, None] & bits_b[k][None, :], update, c)
    return c


LOAD = [
    ".kernel sp", ".acc 2", ".param IN", "S2R R0, SR_LANE ;", "SHL R1, R0, 2 ;",
    "IADD3 R1, R1, c[IN], RZ ;",
    *[f"LDG.32 R{8 + i}, [R1+{128 * i}] ;" for i in range(16)],
    "LDG.32 R24, [R1+2048] ;", "LDG.32 R25, [R1+2176] ;",
    *[line for part in range(4) for line in (
        *[f"LDG.32 R{32 + i}, [R1+{2304 + 1024 * part + 128 * i}] ;" for i in range(8)],
        f"AWR.P{part} ACC1, R32 ;")],
]  # fmt: skip
STORE = [
    *[line for part in range(4) for line in (
        f"ARD.P{part} R32, ACC1 ;",
        *[f"STG.32 [R1+{2304 + 1024 * part + 128 * i}], R{32 + i} ;" for i in range(8)])],
    "EXIT ;", ".end",
]  # fmt: skip


def expansion(high_a: bool, high_b: bool) -> list[str]:
    """SPWMMA as POPC, a scan over the lanes of each half, BOHMMA and OHMMA."""
    halves = f"{'AHI' if high_a else 'ALO'}.{'BHI' if high_b else 'BLO'}"
    lines = ["POPC R28, R24 ;", "POPC R29, R25 ;", "IMAD.LO R28, R29, 65536, R28 ;",
             "MOV R29, R28 ;", "LOP.AND R30, R0, 15 ;"]  # fmt: skip
    for distance in (1, 2, 4, 8):
        lines += [f"SHFL.UP R31, R29, {distance} ;", f"ISETP.GE.U32 P0, R30, {distance} ;",
                  "@P0 IADD3 R29, R29, R31, RZ ;"]  # fmt: skip
    lines.append("ISUB R29, R29, R28 ;")
    for k in range(16):
        lines.append(f"BOHMMA.32321.K{k}.{halves} R40, R24, R25 ;")
        for chunk_a in range(4):
            for chunk_b in range(2):
                chunk = f"K{k}.{halves}.A{chunk_a}.B{chunk_b}"
                lines.append(f"OHMMA.8161.{chunk} ACC1, R8, R16, R40, R29 ;")
    return lines


DENSITIES = [(1.0, 1.0), (0.5, 0.4), (0.1, 0.1), (0.0, 0.5), (0.03, 1.0)]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_spwmma_its_expansion_and_numpy_agree(mode, special, density):
    rng = np.random.default_rng(int(100 * sum(density)) + special)
    bits_a, bits_b = rng.random((16, 32)) < density[0], rng.random((16, 32)) < density[1]
    a, b = values(rng, (16, 32), special), values(rng, (16, 32), special)
    c = rng.standard_normal((32, 32)).astype(F)
    c[::5] = -0.0
    issued = int((-(-bits_a.sum(1) // 8) * -(-bits_b.sum(1) // 16)).sum())
    want = masked(c, a, b, bits_a, bits_b)
    for high_a, high_b in itertools.product((False, True), repeat=2):
        maps = rng.integers(0, 1 << 32, (2, 32), dtype=np.uint64).astype(U)
        maps[0, 16 * high_a : 16 * high_a + 16] = words(bits_a)
        maps[1, 16 * high_b : 16 * high_b + 16] = words(bits_b)
        image = np.concatenate([condensed(a, bits_a).ravel(), condensed(b, bits_b).ravel(),
                                maps.ravel(), c.view(U).ravel()])  # fmt: skip
        halves = f"{'AHI' if high_a else 'ALO'}.{'BHI' if high_b else 'BLO'}"
        for body in ([f"SPWMMA.323216.{halves} ACC1, R8, R16, R24, R25 ;"],
                     expansion(high_a, high_b)):  # fmt: skip
            device = Device(mode=mode)
            at = device.upload(image)
            result = device.launch(kernel("\n".join([*LOAD, *body, *STORE])), (1, 1, 1), [at])
            got = device.read(at + 2304, 4096).view(F).reshape(32, 32)
            assert equal(got, want)
            assert result.counters["ohmma_issued"] == issued
            assert result.counters["ohmma_skipped"] == 128 - issued


@pytest.mark.parametrize("mode", MODES)
def test_accumulator_moves_transpose_and_clear(mode):
    tile = np.random.default_rng(5).standard_normal((32, 32)).astype(F)
    lines = [".kernel t", ".acc 2", ".param IN", "S2R R0, SR_LANE ;", "SHL R1, R0, 2 ;",
             "IADD3 R1, R1, c[IN], RZ ;", "ACLR ACC0 ;"]  # fmt: skip
    for part in range(4):
        lines += [f"LDG.32 R{8 + i}, [R1+{1024 * part + 128 * i}] ;" for i in range(8)]
        lines += [f"AWR.P{part} ACC1, R8 ;", f"AWR.P{part}.T ACC0, R8 ;"]
    for part in range(4):
        lines += [f"ARD.P{part}.T R8, ACC1 ;"]
        lines += [f"STG.32 [R1+{4096 + 1024 * part + 128 * i}], R{8 + i} ;" for i in range(8)]
        lines += [f"ARD.P{part} R8, ACC0 ;"]
        lines += [f"STG.32 [R1+{8192 + 1024 * part + 128 * i}], R{8 + i} ;" for i in range(8)]
    lines += ["ACLR ACC1 ;", "AWR.P1 ACC1, RZ ;", "ARD.P2 R8, ACC1 ;",
              *[f"STG.32 [R1+{128 * i}], R{8 + i} ;" for i in range(8)]]  # fmt: skip
    device = Device(mode=mode)
    at = device.upload(np.concatenate([tile.ravel(), np.zeros(2048, F)]))
    device.launch(kernel("\n".join([*lines, "EXIT ;", ".end"])), (1, 1, 1), [at])
    got = device.read(at, 12288).view(F).reshape(3, 32, 32)
    assert np.array_equal(got[1], tile.T) and np.array_equal(got[2], tile.T)
    assert not got[0, :8].any() and np.array_equal(got[0, 8:], tile[8:])


def test_bohmma():
    rng = np.random.default_rng(2)
    a, b = (rng.integers(0, 1 << 32, 32, dtype=np.uint64).astype(U) for _ in range(2))
    for k, high_a, high_b in ((0, 0, 0), (9, 1, 0), (15, 1, 1), (3, 0, 1)):
        want = np.where(a[16 * high_a + k] >> np.arange(32, dtype=U) & 1, b[16 * high_b + k], 0)
        step = f"K{k}.{'AHI' if high_a else 'ALO'}.{'BHI' if high_b else 'BLO'}"
        assert np.array_equal(lanes(f"BOHMMA.32321.{step} R8, R4, R5 ;", a, b), want)


def bank_of() -> np.ndarray:
    """(32, 32): the bank of each position of a tile, as docs/machine.md states it."""
    i, j = np.mgrid[0:32, 0:32]
    return 16 * (i % 8 ^ 4 * (j // 16)) + (j % 16 ^ 4 * (i // 8))


def bank_cycles(steps, collector: int) -> tuple[int, int]:
    """Busy cycles of consecutive SPWMMAs (bitmaps (16, 32) of A and B), and their OHMMAs."""
    lag, busy, ohmmas = np.zeros(128, int), 0, 0
    for bits_a, bits_b in steps:
        own = max(1, int((-(-bits_a.sum(1) // 8) * -(-bits_b.sum(1) // 16)).sum()))
        hits = (bits_a[:, :, None] & bits_b[:, None, :]).sum(0)
        lag += np.bincount(bank_of().ravel(), hits.ravel(), 128).astype(int)
        taken = max(own, int(lag.max()) - collector)
        lag = np.maximum(lag - taken, 0)
        busy, ohmmas = busy + taken, ohmmas + own
    return busy, ohmmas


SCATTER = {
    "dense": lambda rng: np.ones((16, 32), bool),
    "even": lambda rng: rng.random((16, 32)) < 0.5,
    "sparse": lambda rng: rng.random((16, 32)) < 0.1,
    "few rows": lambda rng: rng.random((16, 32)) < rng.beta(0.5, 1.5, 32),
    "one class of rows": lambda rng: np.tile(np.arange(32) % 8 == 3, (16, 1)),
}


@pytest.mark.parametrize("collector", [0, 8])
@pytest.mark.parametrize("case", SCATTER)
def test_accumulator_banks_cost_what_the_positions_say(case, collector):
    rng = np.random.default_rng(7)
    steps = [(SCATTER[case](rng), SCATTER[case](rng)) for _ in range(6)]
    maps = np.stack([np.r_[words(a), words(b)] for a, b in steps])
    lines = [".kernel sp", ".acc 1", ".param IN", "S2R R0, SR_LANE ;", "SHL R1, R0, 2 ;",
             "IADD3 R1, R1, c[IN], RZ ;", "ACLR ACC0 ;", *[f"MOV R{8 + i}, 0 ;" for i in range(16)],
             *[f"LDG.32 R{24 + i}, [R1+{128 * i}] ;" for i in range(6)],
             *[f"IADD3 R{30 + i}, R{24 + i}, 0, RZ ;" for i in range(6)],
             *[f"SPWMMA.323216.ALO.BHI ACC0, R8, R16, R{30 + i}, R{30 + i} ;" for i in range(6)],
             "EXIT ;", ".end"]  # fmt: skip
    device = Device(overrides={"accumulator.collector": collector})
    at = device.upload(maps)
    counters = device.launch(kernel("\n".join(lines)), (1, 1, 1), [at]).counters
    busy, ohmmas = bank_cycles(steps, collector)
    assert counters["tensor_busy"] == busy
    assert counters["accumulator_conflicts"] == busy - ohmmas
    assert (busy > ohmmas) == (case in ("few rows", "one class of rows"))


def test_an_ohmma_waits_for_its_banks():
    """Four rows and columns of one class: two products in each of eight banks."""

    def cycles(word: int, collector: int) -> tuple[int, int]:
        lines = ["S2R R0, SR_LANE ;", *[f"MOV R{i}, 0 ;" for i in range(8, 32)],
                 f"MOV R4, {word} ;", "BOHMMA.32321.K0.ALO.BLO R5, R4, R4 ;", "ACLR ACC0 ;",
                 *["OHMMA.8161.K0.ALO.BLO.A0.B0 ACC0, R8, R16, R5, R30 ;"] * 20]  # fmt: skip
        result = timed("\n".join(lines), "dstc", header=".acc 1",
                       **{"accumulator__collector": collector})  # fmt: skip
        return result.cycles, result.counters["accumulator_conflicts"]

    free, none = cycles(0x0000FFFF, 0)
    held, conflicts = cycles(0x08080808, 0)
    assert none == 0 and conflicts == 20 and held - free in (19, 20)
    assert cycles(0x08080808, 64) == (free, 0)
