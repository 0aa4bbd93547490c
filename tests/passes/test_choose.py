"""The chooser: which engine it takes, that it is quick, what it says."""

import time

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.driver import new_context, run_pipeline
from dstc.dialects.constants import ConstantPool, attach, constants_of
from dstc.dialects.dstc import Engine, MatmulOp, ScheduleAttr
from dstc.passes.candidates import KERNELS, candidates
from dstc.passes.choose import Choice, Chooser, attach_chooser, choose
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Chip
from dstc.passes.known_counts import KnownCounts
from dstc.runtime.machine import Machine
from dstc.runtime.nm_format import Pattern
from xdsl.parser import Parser

DSTC, V100 = Machine.load("dstc"), Machine.load("v100")
SQUARE = 1024, 1024, 1024


def chosen(
    sizes: tuple[int, int, int],
    densities: tuple[float, float] = (1, 1),
    machine: Machine = DSTC,
    engine: str = "auto",
    encoding: float = 0,
) -> Choice:
    some = next(candidates(sizes, machine, engine))
    product = ScheduledProduct(sizes, some, densities=densities)
    return choose(product, machine, engine, encoding=encoding)


@pytest.mark.parametrize(
    ("sizes", "densities", "engine"),
    [
        ((512, 512, 64), (1, 1), "dense"),
        (SQUARE, (0.1, 0.1), "dual"),
        (SQUARE, (0.5, 0.5), "dual"),
        (SQUARE, (0, 1), "dual"),
    ],
)
def test_the_engine_fits_sizes_and_densities(
    sizes: tuple[int, int, int], densities: tuple[float, float], engine: str
) -> None:
    assert chosen(sizes, densities).best.engine == engine


def test_machines_without_the_unit_do_without() -> None:
    assert {c.engine for c in chosen(SQUARE, (0.1, 0.1), V100).candidates} == {Engine.DENSE}
    with pytest.raises(DstcError, match="v100 has no dual-side"):
        chosen(SQUARE, machine=V100, engine="dual")


def test_the_sparser_operand_takes_the_8_side() -> None:
    assert not chosen(SQUARE, (0.1, 1)).best.schedule.swapped
    assert chosen(SQUARE, (1, 0.1)).best.schedule.swapped


@pytest.mark.parametrize(
    ("densities", "cta", "swap"),
    [((1, 0.1), (64, 256), True), ((0.1, 1), (256, 64), False), ((0.1, 0.1), (128, 128), False)],
)
def test_tiles_are_long_along_the_sparser_operand(
    densities: tuple[float, float], cta: tuple[int, int], swap: bool
) -> None:
    """Tiles of the dense operand take most of the traffic, so that a CTA has few of them."""
    best = chosen((4096, 4096, 4096), densities).best.schedule
    assert (best.cta_tile, best.swapped) == (cta, swap)


def test_more_accumulators_and_windows_of_64_are_used() -> None:
    best = chosen((4096, 4096, 4096), (0.1, 0.1), Machine.load("dstc-plus")).best.schedule
    assert best.vectors == 64
    assert best.cta_tile[0] * best.cta_tile[1] > 128 * 128
    without = Machine.load("dstc-plus", {"features.window_64": "off"})
    assert all(c.schedule.vectors == 32 for c in chosen(SQUARE, (0.1, 0.1), without).candidates)


@pytest.mark.parametrize(
    ("sizes", "densities", "pattern", "engine"),
    [
        ((4096, 4096, 4096), (0.5, 0.82), "2:4", "nm"),
        ((2048, 2048, 2048), (0.25, 0.82), "4:16", "nm"),
        ((2048, 2048, 2048), (0.5, 0.1), "2:4", "dual"),
        ((2048, 2048, 2048), (0.5, 0.82), None, "dual"),
        ((128, 1024, 1152), (0.25, 0.44), "4:16", "dual"),
    ],
)
def test_patterns_bring_the_nm_engine_in(
    sizes: tuple[int, int, int], densities: tuple[float, float], pattern: str | None, engine: str
) -> None:
    machine = Machine.load("dstc-nm")
    known = None if pattern is None else Pattern.parse(pattern)
    some = next(candidates(sizes, machine))
    for left in (True, False):
        pair = densities if left else (densities[1], densities[0])
        patterns = (known, None) if left else (None, known)
        product = ScheduledProduct(sizes, some, densities=pair, out_bytes=2, patterns=patterns)
        choice = choose(product, machine)
        assert choice.best.engine == engine
        taken = [c.schedule.swapped for c in choice.candidates if c.engine == Engine.NM]
        assert set(taken) == (set() if known is None else {not left})


def test_encoding_counts() -> None:
    sizes = 256, 256, 256
    free, dear = chosen(sizes, (0.2, 0.2)), chosen(sizes, (0.2, 0.2), encoding=20000)
    assert (free.best.engine, dear.best.engine) == ("dual", "dense")
    assert "20,000 of them to encode operands" in dear.why()


def test_why_names_the_best_of_each_engine() -> None:
    choice = chosen(SQUARE, (0.1, 0.1))
    assert choice.why().startswith("dual ") and "the best of dense" in choice.why()
    shown = choice.to_json(3)["candidates"]
    assert [c["engine"] for c in shown][:3] == ["dual"] * 3 and shown[-1]["engine"] == "dense"


def test_every_row_of_the_tables_is_a_valid_schedule() -> None:
    for engine, kernels in KERNELS.items():
        for tiles in kernels.tiles:
            for stages in tiles.stages:
                ScheduleAttr.of(engine, tiles.cta, tiles.warp, stages, window=tiles.window).verify()


def test_nothing_fits_a_machine_without_registers() -> None:
    tiny = Machine.load("v100", {"sm.shared_memory_bytes": 1024})
    with pytest.raises(DstcError, match="no tile of engine auto fits"):
        chosen(SQUARE, machine=tiny)


def test_choosing_is_quick() -> None:
    times: list[float] = []
    for sizes in [(40, 2000, 4000), (4096, 4096, 4096), (48000, 512, 64)]:
        for _ in range(3):
            started = time.process_time()
            chosen(sizes, (0.3, 0.4))
            times.append(time.process_time() - started)
    assert sorted(times)[len(times) // 2] < 0.05


def test_windows_of_64_need_the_sequencer() -> None:
    plus = Machine.load("dstc-plus")
    without = Machine.load("dstc-plus", {"features.sequencer": "off"})
    found = [{s.vectors for s in candidates(SQUARE, machine)} for machine in (plus, without)]
    assert found == [{32, 64}, {32}]


def test_only_the_taken_schedule_becomes_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_values: object) -> ScheduleAttr:
        raise AssertionError

    monkeypatch.setattr(ScheduleAttr, "of", fail)
    choice = chosen(SQUARE, (0.3, 0.4))
    monkeypatch.undo()
    assert choice.best.schedule.engine.data == Engine.DUAL


def test_ctas_take_sparse_tiles_in_turn() -> None:
    machine, of_a_round = Machine.load("dstc"), 80
    some = next(candidates((2048, 2048, 2048), machine))

    def best(m: int, densities: tuple[float, float]) -> ScheduleAttr:
        product = ScheduledProduct((m, 2048, 2048), some, densities=densities, out_bytes=2)
        return choose(product, machine, "dual").best.schedule

    few = best(2048, (0.1, 0.1))  # 256 tiles of 128x128: 16 beyond three rounds
    assert few.persistent == of_a_round and few.cut_tiles == 16
    assert best(2048 + 3 * 128, (0.1, 0.1)).cut_tiles == 0
    assert best(1024, (0.6, 0.6)).persistent == 0


@pytest.mark.parametrize("chance", [False, True])
def test_constants_are_counted_where_their_zeros_are_not_by_chance(chance: bool) -> None:
    """Every other row of the weights is zero: OHMMAs are full, fewer than their density says."""
    rng = np.random.default_rng(3)
    weights = rng.random((512, 512)) + 1
    weights *= rng.random(weights.shape) < 0.5 if chance else (np.arange(512) % 2)[:, None]
    ctx = new_context()
    attach(ctx, ConstantPool({"w": weights.astype(np.float16)}))
    module = Parser(
        ctx,
        """func.func @main(%a: tensor<512x512xf16>) -> tensor<512x512xf32> {
          %w = dstc.constant "w" {density = 0.5 : f64} : tensor<512x512xf16>
          %c = dstc.matmul %a, %w {a_density = 0.5 : f64, b_density = 0.5 : f64}
            : tensor<512x512xf16>, tensor<512x512xf16> -> tensor<512x512xf32>
          func.return %c : tensor<512x512xf32> }""",
    ).parse_module()
    (op,) = (op for op in module.walk() if isinstance(op, MatmulOp))
    known = KnownCounts.of(op, constants_of(ctx))
    if chance:
        assert known is None
        return
    assert known is not None
    product = ScheduledProduct.of(op, next(candidates(SQUARE, DSTC, "dual")))
    counted, expected = known.operands(product, Chip.of(DSTC)), product.operands(Chip.of(DSTC))
    assert counted.busy[0].mean() < 0.85 * expected.busy[0].mean()


@pytest.mark.parametrize("turned", [False, True])
def test_a_transposed_result_is_encoded_by_a_kernel_of_its_own(turned: bool) -> None:
    """No product writes the next one's operand encoded if that takes the transpose."""
    ctx, chooser = new_context(), Chooser()
    attach_chooser(ctx, chooser)
    sparse = "a_density = 0.1 : f64, b_density = 0.1 : f64"
    module = Parser(
        ctx,
        f"""func.func @main(%a: tensor<512x512xf16>) -> tensor<512x512xf32> {{
          %w = dstc.matmul %a, %a {{{sparse}}}
            : tensor<512x512xf16>, tensor<512x512xf16> -> tensor<512x512xf16>
          %c = dstc.matmul %a, %w {{{"trans_b, " * turned}{sparse}}}
            : tensor<512x512xf16>, tensor<512x512xf16> -> tensor<512x512xf32>
          func.return %c : tensor<512x512xf32> }}""",
    ).parse_module()
    spec = "select-schedule{machine=dstc engine=dual encoded-inputs=true}"
    run_pipeline(ctx, module, [spec], machine=DSTC)
    launch = DSTC["launch.overhead_us"] * DSTC["clock.core_mhz"]
    assert (chooser.choices[1].best.encoding > launch) == turned
