"""The dual engine's closed form: its popcounts, what it says of more work and other machines."""

import time
from dataclasses import replace

import numpy as np
import pytest
from dstc.compiler.bench import Gemm, compile_gemm
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.cost_chip import Chip, Round, chain_up, mean_of_larger, rounds, smooth_max
from dstc.passes.cost_dual import REGISTERS, DualPlan, occupancy, predict
from dstc.passes.cost_operands import Operands
from dstc.runtime.formats import encode, statistics
from dstc.runtime.machine import Machine

CHIP = Chip.of(Machine.load("dstc"))
PLAN = DualPlan((1024, 1024, 1024), (128, 128), (64, 64), 4)


def counted(gemm: Gemm, empty: float = 1.0, window: int = 32) -> Operands:
    a, b = gemm.operands()
    encoded = encode(a, "a", window=window), encode(b, "b", window=window)
    return Operands.counted(*encoded, empty)


@pytest.mark.parametrize("pattern", ["random", "block"])
def test_counted_products_are_those_of_the_format(pattern: str) -> None:
    gemm = Gemm(100, 70, 90, 0.3, 0.2, pattern)
    a, b = gemm.operands()
    straight = statistics(encode(a, "a"), encode(b, "b"))
    swapped = statistics(encode(b.T, "a"), encode(a.T, "b"))
    operands = counted(gemm, empty=0.0)
    assert operands.busy[0].sum() == pytest.approx(straight.ohmma_issued)
    assert operands.busy[1].sum() == pytest.approx(swapped.ohmma_issued)
    assert operands.both.sum() == straight.steps_issued


@pytest.mark.parametrize("window", [32, 64])
@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_expected_popcounts_are_near_counted_ones(density: float, window: int) -> None:
    gemm = Gemm(300, 200, 500, density, 0.4)
    expected = Operands.expected((300, 200, 500), (density, 0.4), window=window)
    found = counted(gemm, window=window)
    for one, other in ((expected.busy[i], found.busy[i]) for i in range(2)):
        assert one.shape == other.shape
        assert one.sum() == pytest.approx(other.sum(), rel=0.05)
    for one, other in zip(expected.sides, found.sides, strict=True):
        assert one.sectors == pytest.approx(other.sectors, rel=0.1)
        assert one.occupied == pytest.approx(other.occupied, abs=0.05)


def test_a_window_of_64_saves_tensor_cycles() -> None:
    """At densities of 0.5 what the tensor core takes decides, and the window leaves less of it."""
    of = {w: Operands.expected(PLAN.sizes, (0.5, 0.5), CHIP.empty_step, w) for w in (32, 64)}
    share = of[64].busy[0].sum() / of[32].busy[0].sum()
    assert 0.7 < share < 0.85
    times = {w: predict(replace(PLAN, window=w), of[w], CHIP).cycles for w in (32, 64)}
    assert share < times[64] / times[32] < 1


def test_nothing_but_zeros_is_no_trouble() -> None:
    zeros = np.zeros((64, 64), np.float16)
    operands = Operands.counted(encode(zeros, "a"), encode(zeros, "b"))
    small = predict(DualPlan((64, 64, 64), (32, 32), (32, 32), 8), operands, CHIP)
    expected = Operands.expected((64, 64, 64), (0, 0))
    also = predict(DualPlan((64, 64, 64), (32, 32), (32, 32), 8), expected, CHIP)
    assert 300 < small.cycles == pytest.approx(also.cycles)


def test_more_of_anything_takes_longer() -> None:
    def cycles(sizes: tuple[int, int, int], density: float = 0.3) -> float:
        operands = Operands.expected(sizes, (density, density))
        return predict(replace(PLAN, sizes=sizes), operands, CHIP).cycles

    base = cycles((2048, 2048, 2048))
    for sizes in [(4096, 2048, 2048), (2048, 4096, 2048), (2048, 2048, 4096)]:
        assert cycles(sizes) > 1.5 * base
    assert cycles((2048, 2048, 2048), 0.6) > 1.3 * base


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"sm.count": 20}, 2.0),
        ({"l2.slices": 8}, 1.5),
        ({"dram.latency": 2000}, 1.4),
        ({"spwmma.min_busy": 400}, 2.0),
        ({"noc.read_bytes_per_sm_cycle": 4}, 2.0),
        ({"dram.peak_gb_s": 20.0}, 2.0),
    ],
)
def test_every_part_of_the_machine_counts(changes: dict[str, float], least: float) -> None:
    chip = Chip.of(Machine.load("dstc", changes))
    operands = Operands.expected(PLAN.sizes, (0.1, 0.1), chip.empty_step)
    assert (
        predict(PLAN, operands, chip).cycles
        > least * predict(PLAN, Operands.expected(PLAN.sizes, (0.1, 0.1)), CHIP).cycles
    )


def test_accumulators_and_registers_bound_the_ctas() -> None:
    assert occupancy(PLAN, CHIP) == 1
    assert occupancy(replace(PLAN, cta=(64, 64), warp=(32, 32), stages=8), CHIP) == 2
    short = replace(PLAN, sizes=(64, 64, 32), cta=(64, 64), warp=(32, 32), stages=8)
    assert occupancy(short, CHIP) == 4
    none = Chip.of(Machine.load("dstc", {"accumulator.tiles": 3}))
    assert predict(PLAN, Operands.expected(PLAN.sizes, (1, 1)), none).cycles == float("inf")


def test_short_products_fetch_nothing_beyond_k() -> None:
    """928 x 480 x 16 with a dense operand: 1,511 cycles, 2,681 when chunks were whole."""
    plan = DualPlan((928, 480, 16), (32, 32), (32, 32), 8, swap=True, out_bytes=2)
    operands = Operands.expected(plan.sizes, (0.024, 1.0), CHIP.empty_step)
    assert predict(plan, operands, CHIP).cycles == pytest.approx(1511, rel=0.15)


def test_an_estimate_takes_less_than_a_millisecond() -> None:
    operands = Operands.expected((4096, 4096, 4096), (0.1, 0.1))
    plan = replace(PLAN, sizes=(4096, 4096, 4096))
    times: list[float] = []
    for _ in range(20):
        started = time.process_time()
        predict(plan, operands, CHIP)
        times.append(time.process_time() - started)
    assert min(times) < 1e-3


def test_rounds_cover_the_ctas() -> None:
    for ctas in (1, 79, 80, 161, 320, 1000):
        found = list(rounds(ctas, held=2, sms=80, pack=0.5))
        assert sum(r.count * r.times for r in found) == ctas
        assert all(r.most <= r.packed <= 2 for r in found)


def test_times_add_up() -> None:
    assert smooth_max(4, 0, 0) == 0 and smooth_max(4, 5) == 5
    assert 10 < smooth_max(4, 10, 10) < 20
    assert mean_of_larger(5, 0, 7) == 7
    assert mean_of_larger(5, 1, 5) == pytest.approx(5.4, abs=0.01)
    alone = [(Round(0, 80, 1, 1, 1), 100.0, 20.0)]
    assert chain_up(alone, 0.5, 8, 0.0) == (120, 20)
    twice = [(Round(0, 80, 2, 1, 1), 100.0, 20.0)]
    assert 220 <= chain_up(twice, 0.5, 8, 0.0)[0] < 240
    many = [(Round(0, 160, 1, 2, 2), 100.0, 20.0)]
    lone = [*many, (Round(160, 1, 1, 1, 1), 100.0, 10.0)]
    both = [*many, (Round(160, 160, 1, 2, 2), 100.0, 20.0)]
    delay = [chain_up(c, 1.0, 8, 0.0, 1.0)[0] - chain_up(c, 1.0, 8, 0.0)[0] for c in (lone, both)]
    assert 0 < delay[0] < 1 < delay[1] == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(
    ("cta", "warp", "stages", "window"),
    [
        ((64, 64), (32, 32), 8, 32),
        ((128, 128), (64, 64), 4, 32),
        ((256, 128), (128, 64), 2, 32),
        ((256, 256), (128, 128), 3, 64),
    ],
)
def test_registers_are_those_of_compiled_kernels(
    cta: tuple[int, int], warp: tuple[int, int], stages: int, window: int
) -> None:
    """No kernel needs more than the table says."""
    schedule = ScheduleAttr.of(Engine.DUAL, cta, warp, stages, window=window)
    machine = Machine.load("dstc-plus")
    compiled, _ = compile_gemm(Gemm(512, 512, 1024, 0.1, 0.1), machine, "dual", schedule)
    (kernel,) = compiled.program.kernels.values()
    vectors = sum(extent // window for extent in warp)
    assert kernel.registers <= REGISTERS[window, vectors][stages]
