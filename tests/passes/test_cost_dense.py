"""The dense engine's cost model: what it prefers, and that it is near the simulator."""

import pytest
from dstc.compiler.bench import Gemm, run_gemm
from dstc.passes.cost_dense import Chip, Product, Tiling, occupancy, predict
from dstc.passes.select_schedule import fastest_dense
from dstc.runtime.machine import Machine

V100 = Machine.load("v100")
CHIP = Chip.of(V100)


def test_large_products_take_the_largest_tiles_and_skinny_ones_split() -> None:
    large, cycles = fastest_dense(Product((24000, 6144, 2048)), CHIP)
    assert (large.cta_tile, large.parts, cycles.limit) == ((128, 128), 1, "tensor")
    skinny, cycles = fastest_dense(Product((16, 1760, 1760)), CHIP)
    assert skinny.cta_tile[0] == 16 and skinny.parts > 1 and cycles.limit == "dram"


def test_more_of_anything_takes_longer() -> None:
    tiling = Tiling((128, 128), (64, 64))
    base = predict(Product((2048, 2048, 2048)), tiling, CHIP).cycles
    for sizes in [(4096, 2048, 2048), (2048, 4096, 2048), (2048, 2048, 4096)]:
        assert predict(Product(sizes), tiling, CHIP).cycles > 1.5 * base


def test_a_faster_machine_takes_less() -> None:
    product = Product((32, 4096, 4096))
    slow = Chip.of(Machine.load("v100", {"dram.peak_gb_s": 300.0}))
    assert fastest_dense(product, slow)[1].cycles > 2 * fastest_dense(product, CHIP)[1].cycles


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
    product = Product((gemm.m, gemm.n, gemm.k), (gemm.trans_a, gemm.trans_b))
    schedule, predicted = fastest_dense(product, CHIP)
    row = run_gemm(gemm, machine=V100, engine="dense", schedule=schedule, check=False)
    assert predicted.cycles == pytest.approx(row["cycles"], rel=0.25)
