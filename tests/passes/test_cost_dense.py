"""The dense engine's closed form: what it prefers, and that it is near the simulator."""

import pytest
from dstc.compiler.bench import Gemm, run_gemm
from dstc.passes.candidates import candidates
from dstc.passes.choose import Candidate, choose
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Chip
from dstc.passes.cost_dense import Product, Tiling, occupancy, predict
from dstc.runtime.machine import Machine

V100 = Machine.load("v100")
CHIP = Chip.of(V100)


def fastest(gemm: Gemm, machine: Machine = V100) -> Candidate:
    sizes = gemm.m, gemm.n, gemm.k
    transposed, bytes_ = (gemm.trans_a, gemm.trans_b), 2 if gemm.out == "f16" else 4
    first = next(candidates(sizes, machine, "dense"))
    return choose(ScheduledProduct(sizes, first, transposed, bytes_), machine, "dense").best


def test_large_products_take_large_tiles_and_skinny_ones_split() -> None:
    large = fastest(Gemm(24000, 6144, 2048, out="f16"))
    assert min(large.schedule.cta_tile) >= 64 and max(large.schedule.cta_tile) == 128
    assert (large.schedule.parts, large.prediction.limit) == (1, "tensor")
    skinny = fastest(Gemm(16, 1760, 1760, out="f16"))
    assert skinny.schedule.cta_tile[0] == 16 and skinny.schedule.parts > 1


def test_more_of_anything_takes_longer() -> None:
    tiling = Tiling((128, 128), (64, 64))
    base = predict(Product((2048, 2048, 2048)), tiling, CHIP).cycles
    for sizes in [(4096, 2048, 2048), (2048, 4096, 2048), (2048, 2048, 4096)]:
        assert predict(Product(sizes), tiling, CHIP).cycles > 1.5 * base


def test_a_faster_machine_takes_less() -> None:
    gemm = Gemm(32, 4096, 4096)
    slow = Machine.load("v100", {"dram.peak_gb_s": 300.0})
    assert fastest(gemm, slow).cycles > 2 * fastest(gemm).cycles


def test_a_tile_that_does_not_fit_takes_forever() -> None:
    tiling = Tiling((256, 256), (128, 128))
    assert occupancy(tiling, CHIP) == 0
    assert predict(Product((256, 256, 256)), tiling, CHIP).cycles == float("inf")


@pytest.mark.parametrize(
    "gemm",
    [
        Gemm(16, 1760, 1760, out="f16"),
        Gemm(64, 1280, 1280, out="f16", trans_b=True),
        Gemm(128, 2048, 512, out="f16"),
        Gemm(700, 512, 512, out="f16", trans_a=True),
    ],
    ids=lambda g: f"{g.m}x{g.n}x{g.k}",
)
def test_predictions_are_near_the_simulator(gemm: Gemm) -> None:
    best = fastest(gemm)
    row = run_gemm(gemm, machine=V100, engine="dense", schedule=best.schedule, check=False)
    assert best.prediction.cycles == pytest.approx(row["cycles"], rel=0.25)
